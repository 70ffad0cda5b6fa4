"""Events of a run, for progress displays: what `stream_mode="custom"` yields, as plain dicts.

This is a contract: `type` tells the event, fields are only ever added. Events of a researcher come
from its subgraph, so stream with `subgraphs=True` to see them. `event_from` makes a typed object
of a dict; it gives None for the custom events of other graphs.
"""

from __future__ import annotations

from typing import Annotated, Literal

from langgraph.config import get_stream_writer
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from oresearch_graph.trace.record import ClaimStatus


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True)


class TimeForecast(_Event):
    """The model's server is slow: how long the run will take."""

    type: Literal["oresearch.forecast"] = "oresearch.forecast"
    seconds: float
    pace: float
    """Tokens a second."""
    limit: float
    """Seconds after which the run ends with what it has."""


class Planned(_Event):
    """The planner is done (or a person edited its plan)."""

    type: Literal["oresearch.plan"] = "oresearch.plan"
    subtasks: tuple[str, ...]


class SubtaskStarted(_Event):
    """A researcher began."""

    type: Literal["oresearch.subtask_started"] = "oresearch.subtask_started"
    branch: int
    subtask: str


class SubtaskFinished(_Event):
    """A researcher has answered."""

    type: Literal["oresearch.subtask_finished"] = "oresearch.subtask_finished"
    branch: int
    sources: int
    tool_calls: int


class SubtaskFailed(_Event):
    """A researcher ended without an answer; its siblings go on."""

    type: Literal["oresearch.subtask_failed"] = "oresearch.subtask_failed"
    branch: int
    message: str


class Called(_Event):
    """A researcher calls a tool."""

    type: Literal["oresearch.call"] = "oresearch.call"
    branch: int
    tool: str
    items: tuple[str, ...]
    """The queries or addresses."""


class Observed(_Event):
    """The result of a call has been shown to the researcher."""

    type: Literal["oresearch.observation"] = "oresearch.observation"
    branch: int
    tool: str
    sources: tuple[int, ...]
    """Ledger ids shown."""
    seconds: float


class ReportText(_Event):
    """A piece of the report as it is being written, under the numbers that it will have. All
    pieces of the last draft are the report, unless `oresearch.report` follows."""

    type: Literal["oresearch.report_text"] = "oresearch.report_text"
    text: str
    draft: int = 1
    """Where it grows the summarizer has begun anew: forget what came before."""


class Report(_Event):
    """The whole report, where checking it has changed what was told of it, or nothing was told."""

    type: Literal["oresearch.report"] = "oresearch.report"
    text: str


class Verified(_Event):
    """The report's citations have been checked."""

    type: Literal["oresearch.verified"] = "oresearch.verified"
    outcome: Literal["complete", "partial", "failed"]
    accuracy: float | None
    """Claims that hold, as a share of those of which anything is known."""
    coverage: float | None
    claims: dict[ClaimStatus, int] | None
    """How many cited sentences have each status; None without a report."""


Event = Annotated[
    TimeForecast
    | Planned
    | SubtaskStarted
    | SubtaskFinished
    | SubtaskFailed
    | Called
    | Observed
    | ReportText
    | Report
    | Verified,
    Field(discriminator="type"),
]
_EVENT: TypeAdapter[Event] = TypeAdapter(Event)


def emit(event: _Event) -> None:
    """Send an event to whoever streams this run with `stream_mode="custom"`."""
    get_stream_writer()(event.model_dump(mode="json"))


def event_from(value: object) -> Event | None:
    """The typed event of a streamed dict; None when it is not one of ours."""
    try:
        return _EVENT.validate_python(value)
    except ValidationError:
        return None
