"""A run that stopped before its end: its finished steps are put into a Trace all the same."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig

from oresearch_graph.graph.build import ResearchGraph
from oresearch_graph.graph.state import Findings, join_findings, join_sources
from oresearch_graph.graph.verify import assemble
from oresearch_graph.trace import Failure, Trace


async def stopped_trace(
    graph: ResearchGraph, thread: RunnableConfig, models: dict[str, str], cause: str
) -> Trace | None:
    """What the checkpoints hold of an unfinished run; None before there was a plan.

    `cause` is what went wrong; empty: a person stopped it.
    """
    snapshot = await graph.aget_state(thread, subgraphs=True)
    values: dict[str, Any] = dict(snapshot.values)
    if "run" not in values or not values.get("plan"):
        return None
    branches = [
        task.state.values
        for task in snapshot.tasks
        if task.state is not None and not isinstance(task.state, dict)
    ]
    started = [state for state in branches if "task" in state]
    unfinished = [found for state in started for found in _findings(state, cause)]
    findings = join_findings(unfinished, values.get("findings", []))
    seen = [source for state in started for source in state.get("seen", [])]
    values |= {"findings": findings, "sources": join_sources(seen, values.get("sources", []))}
    stop = _stop(cause, "there is no report")
    return assemble(values, models, more=[stop])  # type: ignore[arg-type]  # a snapshot is a dict


def _findings(state: dict[str, Any], cause: str) -> list[Findings]:
    """What a branch has so far; a branch that ended beside unfinished siblings has it ready."""
    if state.get("findings"):
        return list(state["findings"])
    branch = state["task"].branch
    stop = _stop(cause, f"subtask {branch} was stopped", branch)
    found = Findings(
        branch=branch,
        steps=tuple(state.get("steps", [])),
        failures=(*state.get("faults", []), stop),
        usage=tuple(state.get("spent", [])),
        spans=tuple(state.get("timings", [])),
    )
    return [found]


def _stop(cause: str, what: str, branch: int | None = None) -> Failure:
    return Failure(
        name="not_covered",
        fault="infrastructure" if cause else "person",
        message=f"{what}: {cause or 'a person stopped the run'}",
        role="researcher" if branch else None,
        branch=branch,
    )
