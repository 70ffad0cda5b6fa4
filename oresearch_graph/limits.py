"""The figures that a run is held to, and what each effort makes of them."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Effort = Literal["quick", "standard", "deep"]


class Price(NamedTuple):
    """USD per million tokens."""

    prompt: float
    cached: float
    """Prompt tokens that the provider had in its cache."""
    completion: float
    since: str | None = None
    """A date, for whoever reads it."""


class Bounds(NamedTuple):
    """Tokens of one continuation, by what it writes. Text that a bound cuts is continued."""

    planner: int
    turn: int
    answer: int
    report: int


class Limits(NamedTuple):
    """The figures one run is held to, after `effort` and explicit settings are combined."""

    subtasks: int
    """At most this many subtasks are researched."""
    steps: int
    """Reasoning steps (model calls) per subtask; the paper found 10 best."""
    tool_calls: int
    """Tool calls per subtask: a hard cap, above the 5 to 8 that the prompt asks for."""
    model_calls: int
    """Model calls of the whole run."""
    tokens: int
    """Prompt and completion tokens of the whole run."""
    seconds: float
    observation_tokens: int
    """Length of one observation."""
    results: int
    """Search results per query."""
    bounds: Bounds


EFFORTS: Final[dict[Effort, Limits]] = {
    "quick": Limits(3, 4, 4, 30, 200_000, 180.0, 1_500, 5, Bounds(1_000, 2_000, 2_000, 4_000)),
    "standard": Limits(
        5, 10, 8, 90, 1_500_000, 900.0, 3_000, 6, Bounds(2_000, 4_000, 4_000, 8_000)
    ),
    "deep": Limits(
        8, 16, 12, 250, 6_000_000, 3_600.0, 4_000, 8, Bounds(3_000, 6_000, 6_000, 16_000)
    ),
}
