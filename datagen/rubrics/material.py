"""Material: all that is known of one question from its accepted traces, and the check that a key
point must pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from datagen.records import Judgement, Seed
from datagen.rubrics.claims import VerifiedClaim, grouped, verified_claims
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.judging.key_points import KeyPoint, judge_report
from oresearch_graph.trace import CitationReport


class OwnReport(NamedTuple):
    """An accepted report on the question."""

    trace: str
    text: str
    citations: CitationReport | None


class Material(NamedTuple):
    """One question's."""

    seed: str
    question: str
    given: tuple[KeyPoint, ...]
    """Key points that the seed brought."""
    reports: tuple[OwnReport, ...]
    facts: tuple[tuple[VerifiedClaim, ...], ...]
    """Verified claims, those that say the same together; what more reports say comes first."""
    foreign: tuple[str, ...]
    """Reports on other questions."""


class Checked(NamedTuple):
    """A key point that its own report states, and no report on another question does."""

    point: KeyPoint
    """Its weight is the share of the accepted reports that state it."""
    place: int
    """Where it stood among the points that were checked."""


def accepted_traces(judgements: Iterator[Judgement]) -> dict[str, list[str]]:
    """The accepted candidates of each seed that has any, in order."""
    found: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.accepted:
            found.setdefault(judgement.seed, []).append(judgement.id)
    return found


def materials(
    accepted: Mapping[str, Sequence[str]], seeds: Mapping[str, Seed], shelf: TraceShelf,
    foreign: int,
) -> Iterator[Material]:  # fmt: skip
    """The material of each seed, made as it is wanted. `foreign`: how many others' reports."""
    order = list(accepted)
    for place, seed in enumerate(order):
        traces = [shelf.get(trace) for trace in accepted[seed]]
        claims = [claim for trace in traces for claim in verified_claims(trace)]
        behind = range(1, min(foreign, len(order) - 1) + 1)
        others = [order[(place + step) % len(order)] for step in behind]
        reports = tuple(
            OwnReport(trace.id, trace.answer.text, citations_of(trace))
            for trace in traces
            if trace.answer is not None
        )
        yield Material(
            seed,
            traces[0].question,
            seeds[seed].key_points if seed in seeds else (),
            reports,
            tuple(sorted(map(tuple, grouped(claims)), key=_how_common)),
            tuple(_report(shelf, accepted[other][0]) for other in others),
        )


def checked(points: Sequence[tuple[KeyPoint, str]], material: Material) -> list[Checked]:
    """The points that hold. Each comes with the id of the trace whose claim it rests on: that
    report must state it with a citation that bears it out."""
    alone = [point for point, _ in points]
    if not alone:
        return []
    foreign = {
        found.point for text in material.foreign for found in judge_report(text, alone, None).found
    }
    stating: dict[KeyPoint, dict[str, bool]] = {point: {} for point in alone}
    for report in material.reports:
        for found in judge_report(report.text, alone, report.citations).found:
            stating[found.point][report.trace] = found.supported is not False
    return [
        Checked(_weighted(point, len(stating[point]) / len(material.reports)), place)
        for place, (point, trace) in enumerate(points)
        if point not in foreign and stating[point].get(trace, False)
    ]


def _weighted(point: KeyPoint, weight: float) -> KeyPoint:
    return point.model_copy(update={"weight": round(weight, 4)})


def _how_common(group: Sequence[VerifiedClaim]) -> tuple[int, float]:
    return -len({claim.trace for claim in group}), -max(claim.score for claim in group)


def _report(shelf: TraceShelf, trace: str) -> str:
    answer = shelf.get(trace).answer
    return "" if answer is None else answer.text
