"""How a run ended, for people and as JSON; one that stopped has a Trace all the same."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from rich.console import Console
from rich.markdown import Markdown

from oresearch_graph.command.places import Places
from oresearch_graph.command.terminal import harmless, json_line, lines
from oresearch_graph.evidence.citations import in_words
from oresearch_graph.graph.build import ResearchGraph
from oresearch_graph.graph.outcome import assemble
from oresearch_graph.graph.state import Findings, join_findings, join_sources
from oresearch_graph.trace import Failure, Trace
from oresearch_graph.view.report_record import RunCost


async def stopped_trace(
    graph: ResearchGraph, thread: RunnableConfig, models: dict[str, str], cause: str
) -> Trace | None:
    """What the checkpoints hold of an unfinished run; None before there was a plan.

    `cause` is what went wrong; empty: a person stopped it.
    """
    snapshot = await graph.aget_state(thread, subgraphs=True)
    values: dict[str, Any] = dict(snapshot.values)
    if "run" not in values or not values.get("plan") or _has_ended(values):
        return None
    branches = [
        task.state.values
        for task in snapshot.tasks
        if task.state is not None and not isinstance(task.state, dict)
    ]
    started = [state for state in branches if "task" in state]
    unfinished = [branch for state in started for branch in _findings(state, cause)]
    findings = join_findings(unfinished, values.get("findings", []))
    sources = [source for state in started for source in state.get("seen", [])]
    values |= {"findings": findings, "sources": join_sources(sources, values.get("sources", []))}
    stop = _stop(cause, "there is no report")
    return assemble(values, models, more=[stop])  # type: ignore[arg-type]  # a snapshot is a dict


def _has_ended(values: dict[str, Any]) -> bool:
    """The state is that of the run before, whose trace there is."""
    return "trace" in values and bool(values["trace"].id == values["run"].id)


def _findings(state: dict[str, Any], cause: str) -> list[Findings]:
    """What a branch has so far; a branch that ended beside unfinished siblings has it ready."""
    if state.get("findings"):
        return list(state["findings"])
    branch = state["task"].branch
    stop = _stop(cause, f"subtask {branch} was stopped", branch)
    findings = Findings(
        branch=branch,
        steps=tuple(state.get("steps", [])),
        failures=(*state.get("faults", []), stop),
        usage=tuple(state.get("spent", [])),
        spans=tuple(state.get("timings", [])),
    )
    return [findings]


def _stop(cause: str, what: str, branch: int | None = None) -> Failure:
    return Failure(
        name="not_covered",
        fault="infrastructure" if cause else "person",
        message=f"{what}: {cause or 'a person stopped the run'}",
        role="researcher" if branch else None,
        branch=branch,
    )


_REFERENCE: Final = re.compile(r"\n(?=\[\d+\]\. )")
STATUS = {"complete": 0, "partial": 3, "failed": 1}
"""Exit status by outcome."""


def print_report(report: str) -> None:
    """The report on standard output: rendered on a terminal, else as Markdown."""
    console = Console()
    if console.is_terminal:
        # Markdown would run the lines of the reference list together.
        console.print(Markdown(_REFERENCE.sub("  \n", harmless(report))))
    else:
        print(harmless(report))  # noqa: T201 - the report is this command's output


def print_summary(
    console: Console, trace: Trace, report: str | None, places: Places, run_id: str | None = None
) -> None:
    """How the run ended, what is missing, what it cost, where its files are."""
    summary = [f"outcome: {trace.outcome}"]
    summary += [_failure(failure) for failure in trace.failures]
    if trace.citations is not None and trace.citations.claims:
        sources_cited = len(
            {number for claim in trace.citations.claims for number in claim.sources}
        )
        summary.append(
            f"cited sentences: {in_words(trace.citations.counts)}; "
            f"{sources_cited} source records cited"
        )
    summary.append(f"usage: {RunCost.of(trace).in_words()}")
    summary += [f"report: {path}" for path in places.written(report)]
    summary.append(f"trace:  {places.trace}")
    summary += [] if run_id is None else [f"run:    {run_id} (ask on: --ask {run_id})"]
    console.print(lines("\n".join(summary)), soft_wrap=True)


def _failure(failure: Failure) -> str:
    place = "" if failure.branch is None else f", subtask {failure.branch}"
    return f"  {failure.name} ({failure.fault}{place}): {' '.join(failure.message.split())}"


def print_next(console: Console, question: str) -> None:
    """After a run without a model: the exact commands for one's own documents and keys."""
    quoted = shlex.quote(question)
    commands = (
        f"next, your own folder:      oresearch run {quoted} --corpus DIR\n"
        f"next, a model and the web:  OPENAI_API_KEY=… TAVILY_API_KEY=… oresearch run {quoted}"
    )
    console.print(lines(commands), soft_wrap=True)


def as_json(trace: Trace, report: str | None, places: Places, run_id: str | None = None) -> str:
    """The run as one JSON object."""
    summary: dict[str, Any] = {
        "question": trace.question,
        "outcome": trace.outcome,
        "report": report,
        "failures": [failure.model_dump() for failure in trace.failures],
        "citations": None,
        "usage": RunCost.of(trace).model_dump(),
        "models": trace.models,
        "report_paths": [str(path) for path in places.written(report)],
        "trace_path": str(places.trace),
        "trace_id": trace.id,
        "run_id": run_id,
    }
    if trace.citations is not None:
        summary["citations"] = {
            "claims": len(trace.citations.claims),
            "statuses": trace.citations.counts,
            "accuracy": trace.citations.accuracy,
            "coverage": trace.citations.coverage,
        }
    return json_line(summary)
