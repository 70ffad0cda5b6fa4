"""What programs get of a run that want no more than its report: MCP and A2A clients, and who
streams events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Outcome, Trace

DESCRIPTION: Final = (
    "Researches an open-ended question and answers with a report in Markdown that cites its "
    "sources: the question is split into subtasks, each is searched and read for, and the "
    "citations are checked against what was read. Takes minutes. Ask one question, complete in "
    "itself."
)
"""Of the tool deep_research, for the models that choose among tools."""
QUESTION: Final = "An open-ended question, complete in itself, in the report's language."


def final_trace(result: Mapping[str, Any], fix: str) -> Trace:
    """The record of a run in what the graph returned.

    Raises ConfigurationError with this fix where the run waits for a person or has not ended.
    """
    trace: Trace | None = result.get("trace")
    if "__interrupt__" in result:  # beside the trace of an earlier question of its thread
        raise ConfigurationError(f"the run waits for a person: {fix}")
    if trace is None:
        raise ConfigurationError(f"the run has not ended: {fix}")
    return trace


class CitedSource(BaseModel):
    """A source that the report cites."""

    id: int = Field(description="The report cites it as [id].")
    url: str
    title: str


class CitedReport(BaseModel):
    """A report with the sources it cites."""

    outcome: Outcome = Field(
        description="partial: the report says what is missing; failed: there is no report."
    )
    report: str | None = Field(default=None, description="Markdown with citations as [id].")
    sources: list[CitedSource] = Field(
        default_factory=list, description="Those that the report cites: id, url and title."
    )
    failure: str | None = Field(default=None, description="Why there is no report.")

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> CitedReport:
        """That of a run's result. Raises ConfigurationError where the run has not ended."""
        trace = final_trace(result, "leave approve_plan off, as nobody can answer here")
        report: str | None = result["report"]
        if report is None:
            return cls(outcome=trace.outcome, failure=trace.why_no_report)
        sources = list(_sources(report, result["messages"][-1]))
        return cls(outcome=trace.outcome, report=report, sources=sources)


def _sources(report: str, message: AIMessage) -> Iterator[CitedSource]:
    """By number; the message has an annotation for each mark of the report."""
    by_number: dict[int, Any] = {}
    blocks: list[Any] = message.content if isinstance(message.content, list) else []
    for annotation in (each for block in blocks for each in block["annotations"]):
        mark = report[annotation["start_index"] : annotation["end_index"]]
        by_number[int(mark.strip("[]"))] = annotation
    for number, annotation in sorted(by_number.items()):
        url = annotation["url"]
        yield CitedSource(id=number, url=url, title=annotation.get("title") or url)
