"""The deterministic judge, for closed worlds with exact facts: which key points a report states,
and whether its sources bear them out.

A key point says what must stand together (`needs`): figures, names, terms. What a report denies or
doubts more than the point does, and what it states beside another figure of its own invention, it
does not state. Not covered: who did what to whom where all the words are there, and a point in free
words, which needs a reader: it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from oresearch_graph.judging.stance import Stance
from oresearch_graph.judging.statements import (
    Statement,
    denied_in,
    guesses,
    is_figure,
    own_stance,
    rivalled,
    statements_of,
)
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.text.words import sentence_spans, terms
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.look_alikes import as_seen
from oresearch_graph.trace.record import CitationReport


class Found(NamedTuple):
    """A key point with the place in the report that states it."""

    point: KeyPoint
    start: int
    end: int
    credit: float
    """See `Statement.credit`."""


class Verdict(NamedTuple):
    """What the judge found."""

    quality: float
    """0 to 1: credit over weight."""
    found: tuple[Found, ...]
    missing: tuple[KeyPoint, ...]


def key_point_recall(text: str, key_points: Sequence[KeyPoint]) -> float:
    """Share of the key points, by weight, whose parts stand together in a text: what a retriever
    found, whether or not the text says so. Raises ValueError as `judge_report` does."""
    _check(key_points)
    spans = sentence_spans(parse_answer(text).body)
    pieces = [text[start:end] for start, end in spans]
    pieces += [text[one[0] : two[1]] for one, two in pairwise(spans)]
    windows = [(piece.lower(), frozenset(terms(piece))) for piece in map(as_seen, pieces)]
    found = sum(
        point.weight for point in key_points if any(_names(*each, point.needs) for each in windows)
    )
    return found / sum(point.weight for point in key_points)


def judge_report(
    report: str, key_points: Sequence[KeyPoint], citations: CitationReport | None,
    question: str = "",
) -> Verdict:  # fmt: skip
    """Judge the text that `citations` was made of (or any text, without citations).

    Raises ValueError without key points, and for one in free words: nothing to judge by is not a
    quality of 0.
    """
    _check(key_points)
    single = statements_of(report, citations, question)
    windows = [*single, *(one.with_next(two) for one, two in pairwise(single))]
    matches: list[Found] = []
    missing: list[KeyPoint] = []
    for point in key_points:
        best = _best(point, windows, own_stance(as_seen(point.text), report))
        if best is None or (citations is not None and _is_spoiled(point, best[0], single)):
            missing.append(point)
        else:
            place, worth = best
            matches.append(Found(point, place.start, place.end, worth))
    credit = sum(match.point.weight * match.credit for match in matches)
    total = sum(point.weight for point in key_points)
    return Verdict(credit / total, tuple(matches), tuple(missing))


def _check(key_points: Sequence[KeyPoint]) -> None:
    if fault := GroundTruth(key_points=tuple(key_points)).not_exact:
        raise ValueError(fault)


def _best(
    point: KeyPoint, windows: Sequence[Statement], limit: Stance
) -> tuple[Statement, float] | None:
    """The first place of most credit that states the point, and that credit; None where it stands
    nowhere, or a sentence denies it."""
    options = (option for group in point.needs for option in group)
    about = frozenset().union(_terms_of(as_seen(point.text)), *map(_terms_of, options))
    places = [window for window in windows if _names(window.lower, window.terms, point.needs)]
    worths = [(place, place.worth(about, limit)) for place in places]
    stated = [(place, worth) for place, worth in worths if worth is not None]
    if not stated:
        return None
    best = max(stated, key=lambda each: each[1])
    terms_of_both = best[0].terms | about
    if any(w is None and denied_in(each, terms_of_both, limit.denials) for each, w in worths):
        return None
    return best


def _names(lower: str, words: Set[str], needs: Sequence[Sequence[str]]) -> bool:
    return all(any(_holds(lower, words, option) for option in group) for group in needs)


def _is_spoiled(point: KeyPoint, place: Statement, single: Sequence[Statement]) -> bool:
    """True where the figure is guessed, or another of the report's own stands in its place."""
    figures = [group for group in point.needs if all(map(is_figure, group))]
    others = [group for group in point.needs if group not in figures]
    digits = frozenset(figure for group in figures for figure in group)
    if guesses(place, digits):
        return True
    return bool(others) and rivalled(
        place, digits, lambda other: _names(other.lower, other.terms, others), single
    )


def _holds(lower: str, words: Set[str], option: str) -> bool:
    """A bare number must stand by itself: 16 is not in 2016."""
    option = as_seen(option)
    if not is_figure(option) and option.lower() in lower:
        return True
    option_terms = _terms_of(option)
    return bool(option_terms) and words >= option_terms


@lru_cache(maxsize=16_384)
def _terms_of(words: str) -> frozenset[str]:
    return frozenset(terms(words))
