"""What a report states: its sentences that tell something, each with what bears it out.

A heading, a question, code, a row of words without grammar and an unborne repetition of the
question tell nothing. What denies or doubts is counted, for a judge to hold against
what it looks for.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Set
from typing import Final, NamedTuple

from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.judging.stance import (
    Stance,
    is_framed,
    stance,
    stance_towards,
    takes_back,
)
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.scripts import has_cjk, main_script
from oresearch_graph.text.words import Word, all_words, content, sentence_spans, terms
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.look_alikes import as_seen
from oresearch_graph.trace.record import CitationReport, Claim

UNBORNE: Final = 0.5
"""Credit of what no citation bears out, and none speaks against."""
_FENCE: Final = re.compile(r"^[ \t>]*(?P<sign>```|~~~)", re.MULTILINE)
_ASKING: Final = ("?", "؟", "；?", "\u037e")
_UNDERLINE: Final = re.compile(r"[ \t]*\n[ \t>]*(?:={3,}|-{3,})[ \t]*(?:\n|$)")
_TAGS: Final = ("del", "s>", "strike", "details", "style", "script", "template", "think", "pre")
_HIDING: Final = (
    ("<!--", "-->"), ("~~", "~~"), ("[//]:", "\n"), ("[think]", "[/think]"),
    *((f"<{tag}", f"</{tag}") for tag in _TAGS),
)  # fmt: skip
"""How text is hidden or struck out, and where that ends."""
_ROW: Final = 15
"""Words of a table's row that may tell something without function words, at most."""
_MANY: Final = 4
"""Figures of one length from which on a sentence guesses, where no source bears it out."""
_CLOSING: Final = " \t\n\"'”’»)]*_.!"
"""What may follow a question mark."""
_GRAMMAR: Final = frozenset(("en", "de", "fr", "es", "pt", "it", "ru"))
"""Languages whose function words are known."""
_NOT_LATIN: Final = frozenset(("ja", "ko", "zh", "ru", "ar", "he", "el", "hi", "th"))
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
    wording: str
    """What of it is the report's own wording; empty where it stands so in the source, whose it is
    then to deny and to doubt."""
    language: str
    credit: float
    """1 where a citation bears it out, or none is asked for; 0 where its source does not say so, or
    there is no such source; `UNBORNE` for all between."""
    pair: bool = False

    def with_next(self, other: Statement) -> Statement:
        """Both together."""
        return self._replace(
            end=other.end, lower=f"{self.lower} {other.lower}", terms=self.terms | other.terms,
            wording=f"{self.wording} ; {other.wording}", credit=min(self.credit, other.credit),
            pair=True,
        )  # fmt: skip

    def worth(
        self, about: frozenset[str], limit: Stance, quote: frozenset[str] = frozenset()
    ) -> float | None:
        """Its credit as a statement about these terms, in the terms of a `quote` of it; None where
        it denies or doubts more than the `limit`. What is said *of* a statement, its source
        does not say."""
        stance_here = stance_towards(self.wording, self.language, about | quote)
        if stance_here.denials > limit.denials or stance_here.doubts > limit.doubts:
            return None
        return min(self.credit, UNBORNE) if is_framed(self.wording, about) else self.credit


def statements_of(
    report: str, citations: CitationReport | None = None, question: str = ""
) -> list[Statement]:
    """The statements of a report's body, in order. `citations` is the check of this very text;
    None: none is asked for."""
    answer = parse_answer(report)
    of_report = detect_language(report)
    question_terms = frozenset(terms(question))
    claims = None if citations is None else _Claims(citations)
    statements: list[Statement] = []
    for start, end in _sentences(answer):
        plain = as_seen(answer.plain(start, end)[:_LONGEST])
        # A sentence in another script than the report's language has one of its own.
        own_script = (main_script(plain) == "latin") == (of_report not in _NOT_LATIN)
        language = of_report if own_script else detect_language(plain)
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
        lower, wording = plain.lower(), "" if is_quote else plain
        statements.append(Statement(start, end, lower, content_terms, wording, language, credit))
    return _left(statements, answer, of_report)


def _left(statements: list[Statement], answer: ParsedAnswer, language: str) -> list[Statement]:
    """Those that neither a sentence beside them nor the heading above takes back."""
    back: set[int] = set()
    for at, statement in enumerate(statements):
        if scope := takes_back(statement.wording, statement.language):
            first = {"before": at - 1, "after": at, "all": 0}[scope]
            last = at + 1 if scope == "before" else len(statements)
            back.update(range(max(0, first), last))
    starts = [heading.start for heading in answer.headings]
    for heading, following in zip(answer.headings, [*starts[1:], len(answer.text)], strict=False):
        text = answer.text[heading.start : heading.end].strip("# \n")
        if takes_back(text, language):
            places = range(heading.start, following)
            back.update(at for at, each in enumerate(statements) if each.start in places)
    return [statement for at, statement in enumerate(statements) if at not in back]


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
    more = not statement.pair and stance(statement.wording, statement.language).denials > denials
    return more and shared >= _SAME * len(statement.terms)


def is_figure(term: str) -> bool:
    """True for a number."""
    return _FIGURE.fullmatch(term) is not None


def own_stance(text: str, report: str) -> Stance:
    """What a key point itself denies and doubts, read in its own language and in the report's."""
    one, two = (stance(text, detect_language(each)) for each in (text, report))
    return Stance(max(one.denials, two.denials), max(one.doubts, two.doubts))


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
    """The body's sentences that a reader sees and that ask nothing, outside of code."""
    fences, unseen = list(_fences(answer.text)), sorted(_unseen(answer.text))
    starts = [start for start, _ in unseen]
    for sentence in sentences_of(answer):
        text = answer.text[sentence.start : sentence.end]
        for first, last in sentence_spans(text):
            start, end = sentence.start + first, sentence.start + last
            before = bisect_right(starts, start)
            hidden = before > 0 and unseen[before - 1][1] > start
            plain = as_seen(answer.plain(start, end))
            asks = plain.rstrip(_CLOSING).endswith(_ASKING)
            heads = plain.lstrip(" \t>*+-").startswith("#") or _UNDERLINE.match(answer.text, end)
            if not (hidden or asks or heads) and bisect_right(fences, start) % 2 == 0:
                yield start, end


def _unseen(text: str) -> Iterator[tuple[int, int]]:
    """What a reader does not see, or sees struck out; each kind ends where its sign does."""
    lower = text.lower()
    for opening, closing in _HIDING:
        at = 0
        while (start := lower.find(opening, at)) >= 0:
            end = lower.find(closing, start + len(opening))
            if end < 0:
                break
            yield start, end + len(closing)
            at = end + len(closing)


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
