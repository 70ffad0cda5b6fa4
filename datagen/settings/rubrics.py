"""Settings of the rubrics stage."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from datagen.settings.generate import TokenPrice
from oresearch_graph.trace.validation import FrozenModel


class RubricSettings(FrozenModel):
    """How key points and rubrics are made."""

    model: str | None = None
    """Writes criteria and key points from the verified claims. None: key points are the claims."""
    base_url: str | None = None
    """An OpenAI-compatible server, where the provider's own is not meant."""
    most_points: int = Field(default=8, ge=1, le=50)
    """Key points of a question, those that its seed brings not counted. Claims that more of the
    accepted reports state come first."""
    fewest_points: int = Field(default=2, ge=1)
    """With fewer a question gets no truth: reward on one fact alone is close to a coin."""
    foreign_reports: int = Field(default=3, ge=0)
    """Reports on other questions; a key point that one of them states says nothing of this one."""
    price: TokenPrice | None = None
    """Of the model's tokens, where it is not known or not yours."""
    tries: int = Field(default=3, ge=1)
    """Of one request whose server fails in passing."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for one request. None: 120, more where the server is slow."""
    concurrency: int = Field(default=8, ge=1, le=1_024)
    """Questions at one time."""
    give_up_after: int = Field(default=20, ge=1)
    """Questions in a row that the model's server fails on before the rest are left for the next
    run."""
    progress_seconds: float = Field(default=30.0, gt=0)
    """Between two lines of progress."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.fewest_points > self.most_points:
            raise ValueError("rubrics.fewest_points is above rubrics.most_points")
        return self
