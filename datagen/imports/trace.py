"""What every import claims of a trace, and nothing beyond: outcome, dialect, who wrote."""

from __future__ import annotations

from collections.abc import Sequence

from datagen.imports.sources import shown_sources
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import Dialect, Outcome, Protocol, Role, Step, Trace
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.plain_text import storable


class ImportFault(Exception):
    """Why a row is no trace, and what would mend it."""


def trace_of(
    question: str,
    steps: Sequence[Step],
    *,
    prompt: str = "",
    tools: Sequence[str] = (),
    model: str | None = None,
) -> Trace:
    """A Trace of steps that one growing context held: sequential. Sources are what observations
    show; citations are checked against that; an unnamed model stays unnamed."""
    steps = with_branches(steps)
    question = storable(question)
    sources = shown_sources(steps)
    protocol = Protocol(
        dialect=_dialect(steps), execution="sequential", prompt=prompt, tools=tuple(tools)
    )
    trace = Trace(
        question=question,
        language=detect_language(question),
        protocol=protocol,
        steps=tuple(steps),
        sources=sources,
        models=dict.fromkeys(_roles(steps), storable(model)) if model else {},
    )
    report = trace.answer
    citations = None if report is None else verify_report(parse_answer(report.text), sources)
    return trace.model_copy(update={"outcome": _outcome(trace), "citations": citations})


def with_branches(steps: Sequence[Step]) -> list[Step]:
    """The steps with their subtask's number: a branch begins at each `subtask`."""
    numbered: list[Step] = []
    last, branch = 0, None
    for step in steps:
        if step.kind == "subtask":
            last += 1
            branch = last
        elif step.kind == "suggested_answer":
            branch = None
        number = None if step.kind == "subtask_list" else branch
        numbered.append(
            step if step.branch == number else step.model_copy(update={"branch": number})
        )
    return numbered


def _dialect(steps: Sequence[Step]) -> Dialect:
    """Of the calls as they are written."""
    texts = [step.text.lstrip() for step in steps if step.kind in {"web_search", "crawl_page"}]
    return "released" if any(text.startswith(("query=", "url=")) for text in texts) else "paper"


def _roles(steps: Sequence[Step]) -> list[Role]:
    kinds = {step.kind for step in steps if step.author == "policy"}
    roles: list[Role] = ["planner"] if "subtask_list" in kinds else []
    if kinds & {"think", "plan", "web_search", "crawl_page", "tool_call", "subtask_answer"}:
        roles.append("researcher")
    return [*roles, "summarizer"] if "suggested_answer" in kinds else roles


def _outcome(trace: Trace) -> Outcome:
    """complete: a report, and an answer to every subtask. partial: one without the other. failed:
    neither."""
    answered = [
        any(step.kind == "subtask_answer" and step.text.strip() for step in steps)
        for steps in trace.branches.values()
    ]
    report = trace.answer
    reported = report is not None and bool(report.text.strip()) and report.closed is not None
    whole = all(answered) and len(answered) >= len(trace.subtasks)
    if reported and whole:
        return "complete"
    return "partial" if any(answered) or (report and report.text.strip()) else "failed"
