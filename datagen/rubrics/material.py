"""Material: all that is known of one question from its accepted traces, verified claims first;
which of them say the same, and the check that a key point must pass.

Not covered: a paraphrase that shares few words, and a claim whose sentence leans on the one before
it otherwise than by a pronoun at its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from datagen.records import Judgement, Seed
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.judging.exact_facts import judge_report, key_point_recall
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.text.words import terms
from oresearch_graph.trace import CitationReport, Claim, Evidence, Trace

_FEWEST_TERMS: Final = 3
_MOST_TERMS: Final = 30
_LEANS: Final = re.compile(
    r"""
    (?:it|they|this|these|that|those|he|she|its|their|his|her|such|both|neither|there|here
    |but|and|or|so|however|thus|hence|therefore|accordingly|otherwise|also|then|instead
    |in\ the\ (?:example|figure|table)s?|es|sie|er|dies\w*
    |ce\w*|ils?|elles?|esto|estos?|eso|ellos|он|она|оно|они|это|эт[аио])\b
    |\(|[它他她这那其该此]|但|因此|所以|然而|これ|それ|그것|이것
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""A sentence that begins so says what it is about only together with the one before it."""
_ALIKE: Final = 85.0
"""rapidfuzz token set ratio of the terms; with figures that differ two claims are never alike."""
_SHARED: Final = 0.4
"""Share of the terms of both that both hold."""


class VerifiedClaim(NamedTuple):
    """A sentence of an accepted report that was quoted or found in its sources."""

    trace: str
    prose: str
    """Without citation marks, links and list marks."""
    terms: tuple[str, ...]
    figures: frozenset[tuple[str, str]]
    names: tuple[str, ...]
    quote: str
    """Where the source says it."""
    source: str
    """The source's address."""
    score: float
    """How well claim and quote align, 0 to 1."""


def verified_claims(trace: Trace) -> Iterator[VerifiedClaim]:
    """The quoted and found claims of a trace that stand by themselves, in the report's order."""
    citations = citations_of(trace)
    addresses = {source.id: source.url for source in trace.sources or ()}
    for claim in citations.claims if citations else ():
        best = max(claim.evidence, key=lambda evidence: evidence.score, default=None)
        if claim.holds and best is not None and best.source in addresses:
            verified = _claim(trace, claim, best, addresses[best.source])
            if _stands_alone(verified):
                yield verified


def _claim(trace: Trace, claim: Claim, best: Evidence, source: str) -> VerifiedClaim:
    parts = checkable_parts(claim.text, trace.language or "en")
    return VerifiedClaim(
        trace.id,
        " ".join(parts.prose.split()),
        tuple(dict.fromkeys(terms(parts.prose))),
        frozenset((figure.key, figure.unit) for figure in parts.figures),
        parts.names,
        " ".join(best.quote.split()),
        source,
        best.score,
    )


def _stands_alone(claim: VerifiedClaim) -> bool:
    if not _FEWEST_TERMS <= len(claim.terms) <= _MOST_TERMS:
        return False
    table_or_question = "|" in claim.prose or claim.prose.endswith(("?", "？", ":", "："))
    return not table_or_question and _LEANS.match(claim.prose) is None


def grouped(claims: Sequence[VerifiedClaim]) -> list[list[VerifiedClaim]]:
    """Claims that say the same together, in the order of their first."""
    groups: list[list[VerifiedClaim]] = []
    for claim in claims:
        group = next((group for group in groups if _alike(group[0], claim)), None)
        if group is None:
            groups.append([claim])
        else:
            group.append(claim)
    return groups


def _alike(one: VerifiedClaim, other: VerifiedClaim) -> bool:
    if one.figures != other.figures:
        return False
    both = set(one.terms) | set(other.terms)
    if len(set(one.terms) & set(other.terms)) < _SHARED * len(both):
        return False
    return fuzz.token_set_ratio(" ".join(one.terms), " ".join(other.terms)) >= _ALIKE


class OwnReport(NamedTuple):
    """An accepted report on the question."""

    trace: str
    text: str
    citations: CitationReport | None


class Material(NamedTuple):
    """One question's."""

    seed: str
    question: str
    seed_points: tuple[KeyPoint, ...]
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
    by_seed: dict[str, list[str]] = {}
    for judgement in judgements:
        if judgement.accepted:
            by_seed.setdefault(judgement.seed, []).append(judgement.id)
    return by_seed


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
        point for text in material.foreign for point in alone if key_point_recall(text, [point])
    }
    stating: dict[KeyPoint, dict[str, bool]] = {point: {} for point in alone}
    for report in material.reports:
        for hit in judge_report(report.text, alone, report.citations, material.question).found:
            stating[hit.point][report.trace] = hit.credit == 1
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
