"""The end of a run: citations are checked, the report delivered, the Trace put together; and
`response_format`, the delivered report once more, as the structure an embedder asked for."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.runtime import Runtime
from langgraph.types import Overwrite
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.delivery import Delivered, citation_annotations, delivered_answer
from oresearch_graph.evidence.report_check import not_understood
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.budget import Account
from oresearch_graph.graph.events import Verified, emit
from oresearch_graph.graph.outcome import assemble, with_failures
from oresearch_graph.graph.plan_message import without_plan
from oresearch_graph.graph.report_draft import ReportDraft
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import Findings, ResearchState, add_usage
from oresearch_graph.graph.writer import unstreamed
from oresearch_graph.policies.chat.metering import metered
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.policy import Policy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import CitationReport, Failure, Outcome, Trace
from oresearch_graph.trace.answer import parse_answer

_log = logging.getLogger("oresearch_graph")

_INSTRUCTION = "Fill in the structure from this report alone. Leave out what it does not say."


def structuring(policy: Policy) -> ChatPolicy:
    """The policy, if it can fill in a structure; raises ConfigurationError if it cannot."""
    if not isinstance(policy, ChatPolicy):
        raise ConfigurationError(
            f"response_format needs a chat model, the summarizer is {policy.name}: set model"
        )
    return policy


class Structurer:
    """The node that fills `structured_response` with the summarizer's model."""

    def __init__(
        self, pool: RunContextPool, response_format: type[BaseModel] | dict[str, Any]
    ) -> None:
        self.pool, self.response_format = pool, response_format

    async def structure(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report as a structure; None without a report, or with a failure that says why."""
        run, report, trace = state["run"], state.get("report"), state["trace"]
        if report is None:
            await self.pool.release(run)
            return {"structured_response": None}
        thread = Thread(
            id=f"{run.id}-structure", system=_INSTRUCTION, question=report, role="summarizer"
        )
        answer, failures = None, list[Failure]()
        async with self.pool.at_work(run, runtime.context) as run_context:
            run_context.restore(state)
            account = Account(run_context.budget, "summarizer")
            seconds = run_context.budget.remaining_seconds()
            with boundary(failures, "summarizer"), metered("summarizer", None, account) as meter:
                policy = structuring(run_context.policy("summarizer"))
                with unstreamed("summarizer"):
                    async with asyncio.timeout(seconds):
                        answer, _ = await policy.structured(thread, self.response_format)
        await self.pool.release(run)
        trace = with_failures(trace, failures)
        trace = trace.model_copy(update={"usage": tuple(add_usage(trace.usage, meter.usage))})
        return {
            "structured_response": answer,
            "trace": trace,
            "failures": Overwrite(list(trace.failures)),
            "usage": Overwrite(list(trace.usage)),
        }


class Closer:
    """The node that ends every run."""

    def __init__(self, pool: RunContextPool, *, last: bool = True) -> None:
        """`last`: nothing comes after `verify`, and the run's context is released there."""
        self.pool, self.last = pool, last

    async def verify(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """Check the report against its sources, deliver it, and close the record."""
        run = state["run"]
        async with self.pool.at_work(run, runtime.context) as run_context:
            trace = assemble(state, run_context.policies.names)
            draft = run_context.draft or ReportDraft(run.id, ())
            update = await self._closed(state, trace, draft)
        if self.last:
            await self.pool.release(run)
        _log_end(run.id, update["trace"])
        # A setting that came later counts, and is on record.
        later, _ = self.pool.explicit(runtime.context).storable
        return update | {"run": run.model_copy(update={"settings": run.settings | later})}

    async def _closed(
        self, state: ResearchState, trace: Trace, draft: ReportDraft
    ) -> dict[str, Any]:
        report = trace.answer.text if trace.answer else ""
        text = report if report.strip() else _unsummarized(state)
        citations = delivered = None
        if text is not None:
            answer = parse_answer(text)
            trace = trace.model_copy(update={"citations": state.get("citations")})
            citations, delivered = await asyncio.to_thread(delivered_answer, answer, trace)
            # Text that no evidence came before is no report.
            delivered = delivered if trace.outcome != "failed" else None
            if report.strip():
                trace = trace.model_copy(update={"citations": citations})
                if trace.sources and (cause := not_understood(answer, citations)) is not None:
                    failure = Failure(
                        name="citations_not_understood", fault="policy", message=cause,
                        role="summarizer",
                    )  # fmt: skip
                    trace = with_failures(trace, [failure])
        message_id = draft.end(delivered.report) if delivered else str(uuid.uuid4())
        emit(_verified(trace.outcome, citations))
        return {
            "report": delivered.report if delivered else None,
            "citations": citations,
            "trace": trace,
            "failures": Overwrite(list(trace.failures)),
            "usage": Overwrite(list(trace.usage)),
            "messages": [
                *without_plan(state["run"], state.get("messages")),
                _message(delivered, trace, message_id),
            ],
        }


def _log_end(run_id: str, trace: Trace) -> None:
    calls = sum(usage.calls for usage in trace.usage)
    tokens = sum(usage.tokens for usage in trace.usage)
    failures = ", ".join(dict.fromkeys(failure.name for failure in trace.failures)) or "none"
    _log.info(
        "run %s ended: %s; %d model calls, %d tokens, failures: %s",
        run_id, trace.outcome, calls, tokens, failures, extra={"run_id": run_id},
    )  # fmt: skip


def _unsummarized(state: ResearchState) -> str | None:
    """The subtasks' own answers, for a run whose report could not be written."""
    findings: Sequence[Findings] = state.get("findings", [])
    parts = [
        f"## {subtask}\n\n{step.text.strip()}"
        for branch, subtask in zip(findings, state["subtasks"], strict=False)
        for step in branch.steps
        if branch.answered and step.kind == "subtask_answer" and step.text.strip()
    ]
    if not parts or not state.get("sources"):
        return None
    return "\n\n".join([f"# {state['question']}", *parts])


def _verified(outcome: Outcome, citations: CitationReport | None) -> Verified:
    return Verified(
        outcome=outcome,
        accuracy=citations.accuracy if citations else None,
        coverage=citations.coverage if citations else None,
        claims=citations.counts if citations else None,
    )


def _message(delivered: Delivered | None, trace: Trace, message_id: str) -> AIMessage:
    """The report as a chat message with the standard citation annotations."""
    metadata = {"oresearch": {"trace_id": trace.id, "outcome": trace.outcome}}
    if delivered is None:
        text = f"There is no report: {trace.why_no_report}."
        return AIMessage(text, id=message_id, additional_kwargs=metadata)
    annotations = citation_annotations(delivered)
    block = {"type": "text", "text": delivered.report, "annotations": annotations}
    return AIMessage(content=[block], id=message_id, additional_kwargs=metadata)
