"""The summarizer: one report from the answers of all subtasks, or that there is no evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from langgraph.runtime import Runtime

from oresearch_graph.evidence.report_plan import report_plan
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.report_draft import ReportDraft
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import ResearchState, written_steps
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Next, ReportPlan, visible
from oresearch_graph.trace import (
    Failure,
    Protocol,
    Step,
    Trace,
    ViolationCode,
    close_tag,
    violations,
)

_WRITTEN: Final[frozenset[ViolationCode]] = frozenset((
    "no_suggested_answer", "step_after_report", "stray_text", "missing_open_tag",
    "missing_close_tag", "nested_tag", "no_introduction", "no_body", "no_conclusion",
    "no_references", "heading_language",
))  # fmt: skip


class Summarizer:
    """The nodes after research."""

    def __init__(self, pool: RunContextPool) -> None:
        self.pool = pool

    async def summarize(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report; or, without any evidence, that there is none."""
        run, findings = state["run"], state.get("findings", [])
        if any(branch.reported for branch in findings):
            return {}
        if not state.get("sources") or not any(branch.answered for branch in findings):
            return {"failures": _why_nothing(state)}
        async with self.pool.at_work(run, runtime.context) as run_context:
            return await self._summarized(state, run_context)

    async def _summarized(self, state: ResearchState, run_context: RunContext) -> dict[str, Any]:
        run = state["run"]
        run_context.restore(state)
        before = _founded(state, run_context)
        plan = await asyncio.to_thread(_plan, state) if run_context.constrained else None
        if run_context.constrained and plan is None:
            return {"failures": _why_nothing(state)}
        expected = Next(tag="suggested_answer", report=plan)
        thread = run_context.thread(run, expected, role="summarizer", steps=before)
        writer, failures = run_context.writer("summarizer"), list[Failure]()
        draft = run_context.draft = ReportDraft(run.id, state.get("sources", []))
        steps: tuple[Step, ...] = ()
        with boundary(failures, "summarizer"):
            continuation = await writer.write(
                thread,
                [close_tag("suggested_answer")],
                lambda new: report_faults(new, run.language, run.protocol),
                seconds=run_context.budget.remaining_seconds(),
                on_text=draft,
            )
            steps = continuation.steps
            failures += continuation.failures
        failures += writer.faults
        return {
            "summary": list(steps),
            "failures": failures,
            "usage": writer.usage,
            "spans": writer.spans,
        }


def _founded(state: ResearchState, run_context: RunContext) -> tuple[Step, ...]:
    """What the summarizer sees: in serving no answer that was given from memory."""
    steps = visible(written_steps(state), "summarizer", None, run_context.protocol.execution)
    memory = {f.branch for f in state.get("findings", []) if f.answer == "memory"}
    hidden = memory if run_context.settings.corrections else set[int]()
    return tuple(step for step in steps if step.branch not in hidden)


def _plan(state: ResearchState) -> ReportPlan | None:
    answers = [
        next((step.text for step in branch.steps if step.kind == "subtask_answer"), "")
        for branch in state.get("findings", [])
    ]
    told = list(zip(state["subtasks"], answers, strict=False))
    return report_plan(state["run"].question, told, state.get("sources", []), state["run"].language)


def report_faults(new: Sequence[Step], language: str, protocol: Protocol) -> list[str]:
    """What the summarizer should write otherwise."""
    trace = Trace(question="", language=language, steps=tuple(new), sources=(), protocol=protocol)
    return [violation.message for violation in violations(trace) if violation.code in _WRITTEN]


def _why_nothing(state: ResearchState) -> list[Failure]:
    """A plan that a person left nothing of; any other reason is decided with the outcome."""
    if state["subtasks"] or state.get("failures"):
        return []
    why = "the plan was edited until no subtask was left"
    return [Failure(name="plan_rejected", fault="person", message=why, role="planner")]
