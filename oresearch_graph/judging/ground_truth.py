"""What a report is judged by, and what a judge says: the contract of all judges.

A GroundTruth is what is known of one question: key points, a rubric, or both. A QualityJudge makes
a Judged of a report. `KeyPointJudge` is the deterministic one; `model_judge` has the other.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.key_points import UNSUPPORTED_CREDIT, Found, KeyPoint, judge_report
from oresearch_graph.trace.record import CitationReport


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Criterion(_Value):
    """One thing that a report is scored on."""

    text: str = Field(min_length=1)
    """What is asked, as a statement that holds of a good report."""
    description: str = ""
    """What makes the difference between a low and a high score."""
    weight: float = Field(default=1.0, gt=0)


class Rubric(_Value):
    """Weighted criteria; each is scored by itself."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)


class GroundTruth(_Value):
    """What is known of a question's good answer; the text of verl's `ground_truth` field."""

    key_points: tuple[KeyPoint, ...] = ()
    """Facts to be found. Beside a rubric they are a model judge's reference."""
    rubric: Rubric | None = None

    @property
    def judgeable(self) -> bool:
        """False when there is nothing to judge by."""
        return bool(self.key_points) or self.rubric is not None

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What a model judge scores: the rubric's criteria, else the key points one by one."""
        if self.rubric is not None:
            return self.rubric.criteria
        return tuple(
            Criterion(text=f"The report states: {point.text}", weight=point.weight)
            for point in self.key_points
        )

    @classmethod
    def from_json(cls, text: str) -> GroundTruth:
        """Raises ConfigurationError for a text that is no GroundTruth."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"])) or "the text"
            raise ConfigurationError(f"no ground truth: {name}: {first['msg']}") from error

    def to_json(self) -> str:
        return self.model_dump_json()


class Scored(_Value):
    """One criterion's score."""

    criterion: str
    weight: float
    score: float = Field(ge=0, le=1)
    reason: str = ""
    quote: str | None = None
    """The passage of the report that the score rests on; None: none was named."""
    quote_found: bool | None = None
    """Whether the report holds the quote, white space aside."""


class Judged(_Value):
    """A judge's opinion of one report."""

    quality: float = Field(ge=0, le=1)
    """Mean of the scores, by weight."""
    by: str
    """The judge's name: a model's, or `key_points`."""
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


class KeyPointJudge:
    """The deterministic judge as a QualityJudge."""

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *,
        citations: CitationReport | None = None,
    ) -> Judged:  # fmt: skip
        """Which key points the report states; half credit for one whose sources do not bear it."""
        if not truth.key_points:
            raise ConfigurationError(
                f"no key points for the question {question[:80]!r}: give it some, or use a model "
                "as judge"
            )
        verdict = await asyncio.to_thread(judge_report, report, truth.key_points, citations)
        by_point = {by_point.point: by_point for by_point in verdict.found}
        scores = tuple(_scored(point, by_point.get(point), report) for point in truth.key_points)
        return Judged(quality=verdict.quality, by="key_points", scores=scores)


def weighted_mean(scores: tuple[Scored, ...]) -> float:
    """Quality from scores; in [0, 1] whatever rounding does."""
    total = sum(scored.weight for scored in scores)
    mean = sum(scored.weight * scored.score for scored in scores) / total
    return min(1.0, max(0.0, mean))


def _scored(point: KeyPoint, match: Found | None, report: str) -> Scored:
    if match is None:
        return Scored(criterion=point.text, weight=point.weight, score=0.0)
    return Scored(
        criterion=point.text,
        weight=point.weight,
        score=UNSUPPORTED_CREDIT if match.supported is False else 1.0,
        reason="its source does not bear it out" if match.supported is False else "",
        quote=report[match.start : match.end],
        quote_found=True,
    )
