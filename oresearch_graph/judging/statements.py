"""What a report states: its sentences that tell something, each with what bears it out.

A heading, a question, code, a row of words without grammar and an unborne repetition of the
question tell nothing. What denies or doubts is counted, for a judge to hold against
what it looks for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Set
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
    | doubt(?:s|ed|ful)? | guess(?:es|ed)? | speculat(?:e|es|ed|ion) | (?:un|not\s)likely
    | might | (?:could|may)\s(?:be|have|well|also)
    | (?:claim|believ|assum|suppos|suggest)(?:s|es|ed)?\s(?:that|to)
    | wrong(?:ly)? | lies? | fiction(?:al)? | fake | falsehood | fallacy | erroneous(?:ly)?
    | mistaken(?:ly)? | impossible | nonsense | untruth | fabricat(?:ed|ion) | debunked
    | disprove[nd]? | refuted? | contrary\sto
    | vielleicht | womöglich | möglicherweise | angeblich | vermutlich | unklar | unbekannt | falsch
    | peut-être | probablement | prétendument | quizás?  | posiblemente | supuestamente ) \b
    | 可能 | 也许 | 或许 | 大概 | 据说 | 是否 | 未知 | 不详 | 不明 | 谣言 | 错误
    """,
    re.VERBOSE,
)
_PLAIN: Final = re.compile(
    r"\b(?:not\suntil|without|ohne|sans|sin|sem|senza|zonder)\b|без", re.IGNORECASE
)
"""Negations that deny a thing beside what a sentence says."""
_FENCE: Final = re.compile(r"^[ \t>]*(?P<sign>```|~~~)", re.MULTILINE)
_ROW: Final = 15
"""Words of a table's row that may tell something without function words, at most."""
_MANY: Final = 4
"""Figures of one length from which on a sentence guesses, where no source bears it out."""
_CLOSING: Final = " \t\n\"'”’»)]*_."
"""What may follow a question mark."""
_GRAMMAR: Final = frozenset(("en", "de", "fr", "es", "pt", "it", "ru"))
"""Languages whose function words are known."""
_LISTED: Final = 6
"""Words of a sentence that may tell something without function words, at most."""
_FUNCTION_WORDS: Final = 0.1
"""Share of a sentence's words that are, at least."""
_FIGURE: Final = re.compile(r"\d+(?:[.,]\d+)*")
_SAME: Final = 0.6
"""Share of a denying sentence's terms in what it denies."""
_NEARLY: Final = 0.7
"""Share of a sentence's terms, figures aside, in one that says the same with other figures."""
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
    question_terms = frozenset(terms(question))
    claims = None if citations is None else _Claims(citations)
    statements: list[Statement] = []
    for start, end in _sentences(answer):
        plain = as_seen(answer.plain(start, end)[:_LONGEST])
        words = all_words(plain)
        content_terms = frozenset(content(words))
        claim = None if claims is None else claims.at(start, end)
        is_quote = claim is not None and claim.status == "quoted"
        is_list = not is_quote and _is_list_of_words(words, plain, language)
        if is_list and len(words) > (_ROW if _is_row(answer.text, start) else _LISTED):
            continue
        if not (claim is not None and claim.holds) and _repeats(content_terms, question_terms):
            continue
        credit = 1.0 if claims is None else _credit(claim)
        credit = min(credit, UNBORNE) if is_list else credit
        # What stands in the source word for word, denials and all, is the source's to say.
        denials, doubts = (0, 0) if is_quote else stance(plain, language)
        statements.append(
            Statement(start, end, plain.lower(), content_terms, denials, doubts, credit)
        )
    return statements


@lru_cache(maxsize=16_384)
def stance(text: str, language: str) -> tuple[int, int]:
    """How often a text denies, and how often it hedges."""
    words = all_words(_PLAIN.sub(" ", text))
    denials = len(denial_in(language).places(words))
    return denials, sum(1 for _ in _DOUBTS.finditer(text.lower()))


def _fences(text: str) -> Iterator[int]:
    """Where code begins and ends, in turn: a fence ends with its own sign."""
    sign: str | None = None
    for match in _FENCE.finditer(text):
        if sign is None or sign == match["sign"]:
            sign = match["sign"] if sign is None else None
            yield match.start()


def denied_in(statement: Statement, terms_said: Set[str], denials: int) -> bool:
    """True for one sentence with more denials than what was said, and little else than its
    terms."""
    shared = len(statement.terms & terms_said)
    more = not statement.pair and statement.denials > denials
    return more and shared >= _SAME * len(statement.terms)


def is_figure(term: str) -> bool:
    """True for a number."""
    return _FIGURE.fullmatch(term) is not None


def allowed(text: str, report: str) -> tuple[int, int]:
    """What a key point itself denies and doubts, read in its own language and in the report's."""
    one, two = (stance(text, detect_language(each)) for each in (text, report))
    return max(one[0], two[0]), max(one[1], two[1])


def guesses(statement: Statement, figures: Set[str]) -> bool:
    """True for an unborne sentence that has these figures among many others like them."""
    lengths = set(map(len, figures))
    alike = {term for term in statement.terms if is_figure(term) and len(term) in lengths}
    return statement.credit < 1 and len(alike - figures) >= _MANY


def rivalled(
    place: Statement, figures: Set[str], about: Callable[[Statement], bool],
    statements: Iterable[Statement],
) -> bool:  # fmt: skip
    """True where another sentence has other figures, as many digits, in the place of these: one
    about the same that its source does not bear out, or nearly the same one without a source."""
    lengths = set(map(len, figures))
    words = {term for term in place.terms if not is_figure(term)}
    for statement in statements:
        if not figures or statement.credit == 1 or figures & statement.terms:
            continue
        others = {len(term) for term in statement.terms if is_figure(term)}
        if not others & lengths:
            continue
        same = len(words & statement.terms) >= _NEARLY * len(words)
        if (words and same) or (statement.credit == 0 and about(statement)):
            return True
    return False


def _sentences(answer: ParsedAnswer) -> Iterator[tuple[int, int]]:
    """The body's sentences outside of code that ask nothing."""
    fences = list(_fences(answer.text))
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


def _is_row(text: str, start: int) -> bool:
    line = text[text.rfind("\n", 0, start) + 1 : start + 1]
    return line.lstrip(" \t>").startswith("|")


def _repeats(sentence: frozenset[str], question: frozenset[str]) -> bool:
    return bool(sentence) and len(sentence & question) >= _REPEATED * len(sentence)


class _Claims:
    """The claims of a report, by place."""

    def __init__(self, citations: CitationReport) -> None:
        self._claims = sorted(citations.claims, key=lambda claim: claim.start)
        self._starts = [claim.start for claim in self._claims]

    def at(self, start: int, end: int) -> Claim | None:
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
