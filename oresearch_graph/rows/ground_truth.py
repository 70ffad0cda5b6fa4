"""What a report on a question is judged by: key points, a rubric, or both.

RL rows carry it, judges read it.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace.validation import FrozenModel, first_fault


def _not_zero(weight: float) -> float:
    if not weight:
        raise ValueError("a criterion without weight decides nothing")
    return weight


Weight = Annotated[float, AfterValidator(_not_zero)]
"""Of a criterion; negative for what a good report does not do: its score is taken away."""


class KeyPoint(FrozenModel):
    """One fact that a good report states."""

    text: str = Field(min_length=1)
    """The fact as a sentence; a report that quotes it has it."""
    needs: tuple[tuple[str, ...], ...] = ()
    """Of each group one alternative must stand in the same or the next sentence, in any inflection.
    Empty: the point is in free words, which only a model can look for."""
    weight: float = Field(default=1.0, gt=0)
    source: str | None = None
    """An address where the fact stands."""


class Criterion(FrozenModel):
    """One thing that a report is scored on."""

    text: str = Field(min_length=1)
    """What is asked, as a statement that holds of a good report."""
    description: str = ""
    """What makes the difference between a low and a high score."""
    weight: Weight = 1.0


class Rubric(FrozenModel):
    """Weighted criteria; each is scored by itself."""

    criteria: tuple[Criterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if all(criterion.weight < 0 for criterion in self.criteria):
            raise ValueError("every criterion weighs negatively: no report could earn anything")
        return self


class GroundTruth(FrozenModel):
    """What is known of a question's good answer; the text of verl's `ground_truth` field."""

    key_points: tuple[KeyPoint, ...] = ()
    """Facts to be found. Beside a rubric they are a model judge's reference."""
    rubric: Rubric | None = None
    reference: str | None = None
    """A report to be compared with on the rubric, for a model judge: quality is then the share of
    both reports' scores, 0.5 for one as good (RACE of DeepResearch Bench)."""

    @property
    def judgeable(self) -> bool:
        """False when there is nothing to judge by."""
        return bool(self.key_points) or self.rubric is not None

    @property
    def not_exact(self) -> str | None:
        """Why the exact-facts judge cannot judge by it, with the fix; None where it can."""
        if not self.key_points:
            return "there are no key points, and the exact-facts judge knows nothing else: add some"
        free = next((point for point in self.key_points if not point.needs), None)
        if free is None:
            return None
        return (
            f"the key point {free.text[:80]!r} is in free words, which the exact-facts judge "
            "cannot look for: give it `needs`"
        )

    @property
    def criteria(self) -> tuple[Criterion, ...]:
        """What a model judge scores: the rubric's criteria, else the key points one by one."""
        if self.rubric is not None:
            return self.rubric.criteria
        return tuple(Criterion(text=point.text, weight=point.weight) for point in self.key_points)

    @classmethod
    def from_json(cls, text: str) -> GroundTruth:
        """Raises ConfigurationError for a text that is no GroundTruth."""
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            raise ConfigurationError(f"no ground truth: {first_fault(error)}") from error

    def to_json(self) -> str:
        return self.model_dump_json()
