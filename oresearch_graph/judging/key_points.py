"""The deterministic judge: which key points a report states, and whether its sources bear them out.

Not covered: paraphrases that share no word with a key point's alternatives, other languages than
the key points' own, and contradictions that keep all the words.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.text.words import sentence_spans, terms
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.record import CitationReport

DOUBTFUL_CREDIT: Final = 0.5
"""Credit of a key point that stands in the report without a citation, or with one that leads
nowhere or that something speaks against."""
_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
_OVERLAP: Final = 0.7
_ALIKE: Final = 88.0
"""For key points without `needs`: share of terms, or rapidfuzz token set ratio."""


class Found(NamedTuple):
    """A key point with the place in the report that states it."""

    point: KeyPoint
    start: int
    end: int
    cited: bool | None
    """A citation bears it, as far as is known; None when no citations were given."""


class Verdict(NamedTuple):
    """What the judge found."""

    quality: float
    """0 to 1: credit over weight."""
    found: tuple[Found, ...]
    missing: tuple[KeyPoint, ...]


def key_point_recall(report: str, key_points: Sequence[KeyPoint]) -> float:
    """Share of the key points, by weight, that the report states; citations do not matter."""
    return judge_report(report, key_points, None).quality


def judge_report(
    report: str, key_points: Sequence[KeyPoint], citations: CitationReport | None
) -> Verdict:
    """Judge the text that `citations` was made of (or any text, without citations).

    Raises ValueError without key points: nothing to judge by is not a quality of 0.
    """
    if not key_points:
        raise ValueError("no key points: this question cannot be judged by key points")
    windows = _windows(report, citations)
    matches: list[Found] = []
    missing: list[KeyPoint] = []
    for point in key_points:
        place = _best(point, windows)
        if place is None:
            missing.append(point)
        else:
            matches.append(Found(point, place.start, place.end, place.cited))
    credit = sum(f.point.weight * (DOUBTFUL_CREDIT if f.cited is False else 1.0) for f in matches)
    total = sum(point.weight for point in key_points)
    return Verdict(credit / total, tuple(matches), tuple(missing))


class _Window(NamedTuple):
    """One sentence, or two that follow each other."""

    start: int
    end: int
    lower: str
    terms: frozenset[str]
    cited: bool | None


class _Cited:
    """Where the claims stand that nothing speaks against."""

    def __init__(self, citations: CitationReport) -> None:
        claims = sorted(
            (c.start, c.end) for c in citations.claims if not c.warns and c.status != "dangling"
        )
        self._starts = [start for start, _ in claims]
        self._ends = list(accumulate((end for _, end in claims), max))

    def touches(self, start: int, end: int) -> bool:
        """True when one of them shares a character with the span."""
        before = bisect_left(self._starts, end)
        return before > 0 and self._ends[before - 1] > start


def _windows(report: str, citations: CitationReport | None) -> list[_Window]:
    body = parse_answer(report).body
    spans = sentence_spans(body)
    claims = None if citations is None else _Cited(citations)
    cited = [None if claims is None else claims.touches(*span) for span in spans]
    windows = []
    for size in (1, 2):
        for i in range(len(spans) - size + 1):
            start, end = spans[i][0], spans[i + size - 1][1]
            text = body[start:end]
            is_cited = None if claims is None else all(cited[i : i + size])
            windows.append(_Window(start, end, text.lower(), frozenset(terms(text)), is_cited))
    return windows


def _best(point: KeyPoint, windows: Sequence[_Window]) -> _Window | None:
    """The first place that states the point, one with support before others."""
    places = [window for window in windows if _states(window, point)]
    return next((w for w in places if w.cited is not False), next(iter(places), None))


def _states(window: _Window, point: KeyPoint) -> bool:
    if point.needs:
        return all(any(_holds(window, option) for option in group) for group in point.needs)
    point_terms = _terms_of(point.text)
    if len(point_terms & window.terms) >= _OVERLAP * len(point_terms):
        return True
    return fuzz.token_set_ratio(point.text.lower(), window.lower) >= _ALIKE


def _holds(window: _Window, option: str) -> bool:
    """A bare number must stand by itself: 16 is not in 2016."""
    if not _NUMBER.fullmatch(option) and option.lower() in window.lower:
        return True
    option_terms = _terms_of(option)
    return bool(option_terms) and window.terms >= option_terms


@lru_cache(maxsize=16_384)
def _terms_of(words: str) -> frozenset[str]:
    return frozenset(terms(words))
