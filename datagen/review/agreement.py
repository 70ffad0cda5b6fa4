"""Agreement between reviewers, and between them and the judge.

Cohen's kappa: Educational and Psychological Measurement 20 (1960). Youden's J: Cancer 3 (1950).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

from datagen.review.decisions import Words
from datagen.run.review_result import Cut, JudgeAgreement, Kappa


class Judged(NamedTuple):
    """A sampled trace that both the judge and people spoke on."""

    quality: float
    judge: bool
    people: bool
    weight: float = 1.0
    """How many traces of the population it stands for."""


def cohen_kappa(pairs: Sequence[tuple[bool, bool]]) -> float | None:
    """Agreement beyond chance, -1 to 1; None without pairs, or where chance explains all."""
    if not pairs:
        return None
    count = len(pairs)
    observed = sum(one == other for one, other in pairs) / count
    one = sum(one for one, _ in pairs) / count
    other = sum(other for _, other in pairs) / count
    expected = one * other + (1 - one) * (1 - other)
    return None if expected == 1 else (observed - expected) / (1 - expected)


def kappas(words: Words, items: Sequence[str]) -> tuple[Kappa, ...]:
    """Every two reviewers over the items that both decided on."""
    reviewers = sorted({name for item in items for name in words.get(item, {})})
    return tuple(
        kappa
        for one, other in combinations(reviewers, 2)
        if (kappa := _kappa(words, items, one, other)) is not None
    )


def _kappa(words: Words, items: Sequence[str], one: str, other: str) -> Kappa | None:
    by_item = (words.get(item, {}) for item in items)
    pairs = [(s[one].accept, s[other].accept) for s in by_item if one in s and other in s]
    if not pairs:
        return None
    equal = sum(a == b for a, b in pairs) / len(pairs)
    return Kappa(one=one, other=other, items=len(pairs), agreement=equal, kappa=cohen_kappa(pairs))


def judge_agreement(points: Sequence[Judged]) -> JudgeAgreement | None:
    """The four counts, unweighted; None where nobody decided."""
    if not points:
        return None
    pairs = [(point.judge, point.people) for point in points]
    return JudgeAgreement(
        both_accept=pairs.count((True, True)),
        judge_only=pairs.count((True, False)),
        people_only=pairs.count((False, True)),
        both_reject=pairs.count((False, False)),
        agreement=sum(judge == people for judge, people in pairs) / len(pairs),
        kappa=cohen_kappa(pairs),
    )


def precise_cut(points: Sequence[Judged], precision: float) -> Cut | None:
    """The lowest quality at or above which people accept the wanted share: it keeps the most."""
    return next((cut for cut, _ in _cuts(points) if cut.precision >= precision), None)


def youden_cut(points: Sequence[Judged]) -> Cut | None:
    """The lowest quality of those with the highest J; None where people all said the same."""
    if len({point.people for point in points}) < 2:
        return None
    return max(_cuts(points), key=lambda each: (each[1], -each[0].threshold))[0]


def _cuts(points: Sequence[Judged]) -> Iterator[tuple[Cut, float]]:
    """Every threshold that tells points apart, lowest first, with Youden's J."""
    good = sum(point.weight for point in points if point.people)
    bad = sum(point.weight for point in points if not point.people)
    for threshold in sorted({point.quality for point in points}):
        above = [point for point in points if point.quality >= threshold]
        right = sum(point.weight for point in above if point.people)
        wrong = sum(point.weight for point in above if not point.people)
        recall = right / good if good else None
        cut = Cut(threshold=threshold, precision=right / (right + wrong), recall=recall)
        yield cut, (recall or 0.0) - (wrong / bad if bad else 0.0)
