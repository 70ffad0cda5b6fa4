"""Settings of the review stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from oresearch_graph.trace.validation import FrozenModel


class ReviewSettings(FrozenModel):
    """The sample that people look at, and what their word decides."""

    sample: int = Field(default=100, ge=1)
    """Accepted traces to be looked at; at least one of each stratum, so it may be more. With 100,
    a rate of 0.9 is known to about 0.06."""
    rejected_share: float = Field(default=0.2, ge=0)
    """Traces that the judge rejected, for each accepted one in the sample: without them nothing is
    known of what it wrongly rejects."""
    rubrics: int = Field(default=20, ge=0)
    """Questions whose key points and rubric are to be looked at."""
    queue: int = Field(default=20, ge=0)
    """Accepted traces beyond the sample, those of the lowest scores first. What is said of them
    enters no rate."""
    seed: int = 0
    """Of the random sample; recorded with it."""
    bands: tuple[float, ...] = (0.5, 0.7, 0.9)
    """Borders of the bands of quality that are sampled apart."""
    confidence: float = Field(default=0.95, gt=0, lt=1)
    """Of the intervals."""
    least_acceptance: float = Field(default=0.8, ge=0, le=1)
    """Lower bound of the acceptance rate's interval below which nothing is exported. 88 of 100 pass
    it, and 30 of 32."""
    least_decisions: int = Field(default=30, ge=1)
    """Accepted traces of the sample that people must have looked at before anything is exported."""
    wanted_precision: float = Field(default=0.9, ge=0, le=1)
    """Share of traces above the suggested threshold that people would accept."""
    gate: Literal["on", "off"] = "on"
    """`off` exports what nobody looked at: for demonstrations. The data set's card tells it."""

    @field_validator("gate", mode="before")
    @classmethod
    def _read_as_yaml(cls, value: object) -> object:
        """YAML reads a bare on or off as a truth value."""
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value

    @field_validator("bands")
    @classmethod
    def _in_order(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("borders rise, and none is named twice")
        return value
