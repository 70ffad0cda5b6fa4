"""The end of a run: the report is written, its citations checked, the Trace put together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime

from oresearch_graph.boundary import boundary
from oresearch_graph.budget import Budget
from oresearch_graph.events import ReportText, Verified, emit
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.delivery import Delivered, citation_annotations, deliver
from oresearch_graph.resources import ResourcePool
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.state import Findings, ResearchState, add_usage
from oresearch_graph.threads import Thread, visible
from oresearch_graph.trace import (
    CitationReport,
    Failure,
    FailureName,
    Outcome,
    Protocol,
    Source,
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

_HARMLESS: Final[frozenset[FailureName]] = frozenset(("repaired", "plan_fallback", "grammar"))
"""Failures after which nothing is missing, as long as the subtasks were answered."""


class Summarizer:
    """The nodes after research."""

    def __init__(self, pool: ResourcePool, *, last: bool = True) -> None:
        """`last`: nothing comes after `verify`, and the run's resources are released there."""
        self.pool, self.last = pool, last

    async def summarize(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report; or, without any evidence, that there is none."""
        run, findings = state["run"], state.get("findings", [])
        if any(found.reported for found in findings):
            return {}
        if not state.get("sources") or not any(found.answered for found in findings):
            return {"failures": _why_nothing(state, findings)}
        resources = await self.pool.of(run, runtime.context)
        _restore(resources.budget, state)
        sequential = run.protocol.execution == "sequential"
        before = visible(_written(state), "summarizer", None, run.protocol.execution)
        thread = Thread(
            id=run.id if sequential else f"{run.id}-report",
            system=resources.system("summarizer"),
            question=run.question,
            role="summarizer",
            steps=before,
        )
        writer, failures = resources.writer("summarizer"), list[Failure]()
        steps: tuple[Step, ...] = ()
        with boundary(failures, "summarizer"):
            written = await writer.write(
                thread,
                [close_tag("suggested_answer")],
                lambda new: _report_faults(new, run.language, run.protocol),
                seconds=resources.budget.remaining_seconds(),
                on_text=lambda text: emit(ReportText(text=text)),
            )
            steps = written.steps
            failures += written.failures
        return {
            "summary": list(steps),
            "failures": failures,
            "usage": writer.usage,
            "spans": writer.spans,
        }

    async def verify(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """Check the report against its sources, deliver it, and close the record."""
        run = state["run"]
        resources = await self.pool.of(run, runtime.context)
        trace = _trace(state, resources.policies.names)
        text = trace.answer.text if trace.answer else _unsummarized(state)
        citations = delivered = None
        if text is not None:
            citations, delivered = await asyncio.to_thread(_deliver, text, trace)
        if trace.answer is not None:
            trace = trace.model_copy(update={"citations": citations})
        report = delivered.report if delivered else None
        emit(_verified(trace.outcome, citations))
        if self.last:
            await self.pool.release(run)
        return {
            "report": report,
            "citations": citations,
            "trace": trace,
            "messages": [_message(report, delivered, trace)],
        }


def _restore(budget: Budget, state: ResearchState) -> None:
    for usage in state.get("usage", []):
        budget.restore(usage.role, usage.branch, [usage])
    for found in state.get("findings", []):
        budget.restore("researcher", found.branch, found.usage)


def _written(state: ResearchState) -> list[Step]:
    """The run's steps so far, branches in their order."""
    findings: Sequence[Findings] = state.get("findings", [])
    return [*state["plan"], *(step for found in findings for step in found.steps)]


def _report_faults(new: Sequence[Step], language: str, protocol: Protocol) -> list[str]:
    """What the summarizer should write otherwise."""
    trace = Trace(question="", language=language, steps=tuple(new), sources=(), protocol=protocol)
    return [violation.message for violation in violations(trace) if violation.code in _WRITTEN]


def _why_nothing(state: ResearchState, findings: Sequence[Findings]) -> list[Failure]:
    """No evidence, unless a recorded failure is the reason that there is none."""
    failed = [f for found in findings for f in found.failures if f.fault != "policy"]
    if failed or not state["subtasks"]:
        return []
    seen = len(state.get("sources", []))
    message = f"no evidence was found for this question ({seen} sources were looked at)"
    return [Failure(name="no_evidence", fault="policy", message=message, role="summarizer")]


def _trace(state: ResearchState, models: dict[str, str]) -> Trace:
    """The record of the run."""
    run, findings = state["run"], state.get("findings", [])
    failures = [*state.get("failures", []), *(f for found in findings for f in found.failures)]
    steps = (*_written(state), *state.get("summary", []))
    return Trace(
        id=run.id,
        question=run.question,
        language=run.language,
        protocol=run.protocol,
        steps=steps,
        sources=tuple(state.get("sources", [])),
        outcome=_outcome(steps, findings, failures),
        failures=tuple(failures),
        usage=tuple(
            add_usage(state.get("usage", []), [u for found in findings for u in found.usage])
        ),
        spans=(*state.get("spans", []), *(span for found in findings for span in found.spans)),
        models=models,
        created=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
    )


def _outcome(
    steps: Sequence[Step], findings: Sequence[Findings], failures: Sequence[Failure]
) -> Outcome:
    """failed: nothing to read. partial: something named in the failures is missing."""
    reported = any(step.kind == "suggested_answer" and step.text.strip() for step in steps)
    answered = [found for found in findings if found.answered]
    if not answered or any(failure.name == "no_evidence" for failure in failures):
        return "failed"
    missing = [failure for failure in failures if failure.name not in _HARMLESS]
    whole = reported and not missing and len(answered) == len(findings)
    return "complete" if whole else "partial"


def _unsummarized(state: ResearchState) -> str | None:
    """The subtasks' own answers, for a run whose report could not be written."""
    findings: Sequence[Findings] = state.get("findings", [])
    parts = [
        f"## {subtask}\n\n{step.text.strip()}"
        for found, subtask in zip(findings, state["subtasks"], strict=False)
        for step in found.steps
        if step.kind == "subtask_answer" and step.text.strip()
    ]
    if not parts or not state.get("sources"):
        return None
    return "\n\n".join([f"# {state['question']}", *parts])


def _deliver(text: str, trace: Trace) -> tuple[CitationReport, Delivered]:
    sources: Sequence[Source] = trace.sources or ()
    citations = verify_report(text, sources)
    missing = [_missing(f, trace.subtasks) for f in trace.failures if f.name not in _HARMLESS]
    delivered = deliver(
        text,
        sources,
        citations,
        language=trace.language,
        not_covered=missing,
        extractive=trace.extractive,
    )
    return citations, delivered


def _missing(failure: Failure, subtasks: Sequence[str]) -> str:
    """A failure as readers of the report are told it: what it left out, and why."""
    if failure.branch is None or failure.branch > len(subtasks):
        return failure.message
    return f"{subtasks[failure.branch - 1]} ({failure.message})"


def _verified(outcome: Outcome, citations: CitationReport | None) -> Verified:
    return Verified(
        outcome=outcome,
        precision=citations.precision if citations else None,
        coverage=citations.coverage if citations else None,
        unsupported=sum(c.status != "supported" for c in citations.claims) if citations else 0,
    )


def _message(report: str | None, delivered: Delivered | None, trace: Trace) -> AIMessage:
    """The report as a chat message with the standard citation annotations."""
    told = {"oresearch": {"trace_id": trace.id, "outcome": trace.outcome}}
    if report is None or delivered is None:
        why = "; ".join(failure.message for failure in trace.failures) or "there is no report"
        text = f"There is no report: {why}."
        return AIMessage(text, id=str(uuid.uuid4()), additional_kwargs=told)
    annotations = citation_annotations(report, delivered.references)
    block = {"type": "text", "text": report, "annotations": annotations}
    return AIMessage(content=[block], id=str(uuid.uuid4()), additional_kwargs=told)
