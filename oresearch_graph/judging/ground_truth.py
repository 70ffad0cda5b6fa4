"""What a judge says of a report: the contract of all judges.

A QualityJudge makes a Judged of a report and a GroundTruth. `ExactFactsJudge` is the deterministic
one, for closed worlds; `model_judge` has the other.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pydantic import Field

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.exact_facts import Found, judge_report
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace.record import CitationReport
from oresearch_graph.trace.validation import FrozenModel


class Scored(FrozenModel):
    """One criterion's score."""

    criterion: str
    weight: float
    score: float = Field(ge=0, le=1)
    reason: str = ""
    quote: str | None = None
    """The passage of the report that the score rests on; None: none was named."""
    quote_found: bool | None = None
    """Whether the report holds the quote, white space aside."""


class Judged(FrozenModel):
    """A judge's opinion of one report."""

    quality: float = Field(ge=0, le=1)
    """Sum of the scores by weight, over all positive weight; at least 0."""
    by: str
    """The judge's name: a model's, or `exact_facts`."""
    scores: tuple[Scored, ...] = ()
    votes: int = 1
    """How many opinions were combined."""
    cached: bool = False
    seconds: float | None = None
    """How long the judgement took, waits and retries included; None when it was not measured."""


class QualityJudge(Protocol):
    """Anything that judges a report."""

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *,
        citations: CitationReport | None = None,
    ) -> Judged:  # fmt: skip
        """Judge `report`, the very text that `citations` was made of.

        Raises JudgeError when no opinion could be had, ConfigurationError when `truth` does not
        hold what this judge judges by.
        """
        ...


class ExactFactsJudge:
    """The deterministic judge as a QualityJudge."""

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *,
        citations: CitationReport | None = None,
    ) -> Judged:  # fmt: skip
        """Which key points the report states; half credit for one that no citation bears out, none
        where its source does not say so."""
        if fault := truth.not_exact:
            raise ConfigurationError(
                f"the question {question[:80]!r}: {fault}, or let a model judge"
            )
        verdict = await asyncio.to_thread(
            judge_report, report, truth.key_points, citations, question
        )
        by_point = {found.point: found for found in verdict.found}
        scores = tuple(_scored(point, by_point.get(point), report) for point in truth.key_points)
        return Judged(quality=verdict.quality, by="exact_facts", scores=scores)


def weighted_mean(scores: tuple[Scored, ...]) -> float:
    """Quality from scores, in [0, 1]. What a rubric weighs negatively takes away."""
    total = sum(max(0.0, scored.weight) for scored in scores)
    mean = sum(scored.weight * scored.score for scored in scores) / total
    return min(1.0, max(0.0, mean))


def _scored(point: KeyPoint, match: Found | None, report: str) -> Scored:
    if match is None:
        return Scored(criterion=point.text, weight=point.weight, score=0.0)
    reason = "" if match.credit == 1 else "no citation bears it out"
    return Scored(
        criterion=point.text,
        weight=point.weight,
        score=match.credit,
        reason=reason if match.credit else "its source does not say so",
        quote=report[match.start : match.end],
        quote_found=True,
    )
