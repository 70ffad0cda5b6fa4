"""What a report states: its sentences that tell something, each with what bears it out.

A heading, a question, code, a row of words without grammar and an unborne repetition of the
question tell nothing. What denies or doubts is counted, for a judge to hold against
what it looks for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.look_alikes import as_seen
from oresearch_graph.text.polarity import denial_in
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import Word, all_words, content, sentence_spans, terms
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.record import CitationReport, Claim

UNBORNE: Final = 0.5
"""Credit of what no citation bears out, and none speaks against."""
_DOUBTS: Final = re.compile(
    r"""
    \b(?: whether | perhaps | maybe | (?:im)?possibly | probably | presumably | supposedly
    | allegedly | reportedly | apparently | unclear | unknown | unsure | uncertain | unconfirmed
    | unproven | undecided | disputed | alleged | rumou?r(?:s|ed)? | myth | hoax
    | doubt(?:s|ed|ful)? | guess(?:es|ed)? | speculat(?:e|es|ed|ion) | might | could | may (?!\s*\d)
    | (?:claim|believ|assum|suppos|suggest)(?:s|es|ed)?\s(?:that|to)
    | vielleicht | womöglich | möglicherweise | angeblich | vermutlich | unklar | unbekannt
    | peut-être | probablement | prétendument | quizás?  | posiblemente | supuestamente ) \b
    | 可能 | 也许 | 或许 | 大概 | 据说 | 是否 | 未知 | 不详 | 不明
    """,
    re.VERBOSE,
)
_FENCE: Final = re.compile(r"^[ \t>]*(?:```|~~~)", re.MULTILINE)
_CLOSING: Final = " \t\n\"'”’»)]*_."
"""What may follow a question mark."""
_GRAMMAR: Final = frozenset(("en", "de", "fr", "es", "pt", "it", "ru"))
"""Languages whose function words are known."""
_LISTED: Final = 6
"""Words of a sentence that may tell something without function words, at most."""
_FUNCTION_WORDS: Final = 0.1
"""Share of a sentence's words that are, at least."""
_REPEATED: Final = 0.9
"""Share of a sentence's terms in the question that make it a repetition."""
_LONGEST: Final = 4_000
"""Characters of a sentence that are read."""


class Statement(NamedTuple):
    """One sentence of a report, or two that follow each other."""

    start: int
    end: int
    lower: str
    """As it is seen, without citations, in lower case."""
    terms: frozenset[str]
    denials: int
    doubts: int
    """What denies in it and what hedges."""
    credit: float
    """1 where a citation bears it out, or none is asked for; 0 where its source does not say so, or
    there is no such source; `UNBORNE` for all between."""
    pair: bool = False

    def with_next(self, other: Statement) -> Statement:
        """Both together."""
        return Statement(
            self.start, other.end, f"{self.lower} {other.lower}", self.terms | other.terms,
            self.denials + other.denials, self.doubts + other.doubts,
            min(self.credit, other.credit), pair=True,
        )  # fmt: skip


def statements_of(
    report: str, citations: CitationReport | None = None, question: str = ""
) -> list[Statement]:
    """The statements of a report's body, in order. `citations` is the check of this very text;
    None: none is asked for."""
    answer = parse_answer(report)
    language = detect_language(report)
    asked = frozenset(terms(question))
    borne = None if citations is None else _Borne(citations)
    found: list[Statement] = []
    for start, end in _sentences(answer):
        plain = as_seen(answer.plain(start, end)[:_LONGEST])
        words = all_words(plain)
        own = frozenset(content(words))
        claim = None if borne is None else borne.claim(start, end)
        quoted = claim is not None and claim.status == "quoted"
        listed = not quoted and _is_list_of_words(words, plain, language)
        if listed and len(words) > _LISTED:
            continue
        if not (claim is not None and claim.holds) and _repeats(own, asked):
            continue
        credit = 1.0 if borne is None else _credit(claim)
        credit = min(credit, UNBORNE) if listed else credit
        # What stands in the source word for word, denials and all, is the source's to say.
        denials, doubts = (0, 0) if quoted else stance(plain, language)
        found.append(Statement(start, end, plain.lower(), own, denials, doubts, credit))
    return found


@lru_cache(maxsize=16_384)
def stance(text: str, language: str) -> tuple[int, int]:
    """How often a text denies, and how often it hedges."""
    denials = len(denial_in(language).places(all_words(text)))
    return denials, sum(1 for _ in _DOUBTS.finditer(text.lower()))


def _sentences(answer: ParsedAnswer) -> Iterator[tuple[int, int]]:
    """The body's sentences outside of code that ask nothing."""
    fences = [match.start() for match in _FENCE.finditer(answer.text)]
    for sentence in sentences_of(answer):
        text = answer.text[sentence.start : sentence.end]
        for first, last in sentence_spans(text):
            start, end = sentence.start + first, sentence.start + last
            at = bisect_right(fences, start)
            asks = answer.plain(start, end).rstrip(_CLOSING).endswith(("?", "？"))
            if not asks and at % 2 == 0:
                yield start, end


def _is_list_of_words(words: list[Word], text: str, language: str) -> bool:
    """True where next to no function word joins the words."""
    if language not in _GRAMMAR or has_cjk(text):
        return False
    return sum(word.stop for word in words) < _FUNCTION_WORDS * len(words)


def _repeats(own: frozenset[str], asked: frozenset[str]) -> bool:
    return bool(own) and len(own & asked) >= _REPEATED * len(own)


class _Borne:
    """The claims of a report, by place."""

    def __init__(self, citations: CitationReport) -> None:
        self._claims = sorted(citations.claims, key=lambda claim: claim.start)
        self._starts = [claim.start for claim in self._claims]

    def claim(self, start: int, end: int) -> Claim | None:
        """The one that shares a character with the span."""
        before = bisect_left(self._starts, end)
        claim = self._claims[before - 1] if before else None
        return claim if claim is not None and claim.end > start else None


def _credit(claim: Claim | None) -> float:
    if claim is None:
        return UNBORNE
    if claim.holds:
        return 1.0
    return 0.0 if claim.warns or claim.status == "dangling" else UNBORNE
