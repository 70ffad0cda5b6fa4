"""A run that a person stopped: its finished steps are put into a Trace all the same."""

from __future__ import annotations

from typing import Any

from langchain_core.runnables import RunnableConfig

from oresearch_graph.closing import assemble
from oresearch_graph.graph import ResearchGraph
from oresearch_graph.state import Findings, join_findings
from oresearch_graph.trace import Failure, Trace


async def stopped_trace(
    graph: ResearchGraph, thread: RunnableConfig, models: dict[str, str]
) -> Trace | None:
    """What the checkpoints hold of an unfinished run; None before there was a plan."""
    snapshot = await graph.aget_state(thread, subgraphs=True)
    values: dict[str, Any] = dict(snapshot.values)
    if "run" not in values or not values.get("plan"):
        return None
    unfinished = [
        task.state.values
        for task in snapshot.tasks
        if task.state is not None and not isinstance(task.state, dict)
    ]
    values["findings"] = join_findings(
        [_findings(branch) for branch in unfinished if "task" in branch],
        values.get("findings", []),
    )
    stop = Failure(name="not_covered", fault="person", message="the run was stopped by a person")
    return assemble(values, models, more=[stop])  # type: ignore[arg-type]  # a snapshot is a dict


def _findings(state: dict[str, Any]) -> Findings:
    branch = state["task"].branch
    stop = Failure(
        name="not_covered",
        fault="person",
        message=f"subtask {branch} was stopped by a person",
        role="researcher",
        branch=branch,
    )
    return Findings(
        branch=branch,
        steps=tuple(state.get("steps", [])),
        failures=(*state.get("faults", []), stop),
        usage=tuple(state.get("spent", [])),
        spans=tuple(state.get("timings", [])),
    )
