"""response_format: the delivered report once more, as the structure an embedder asked for."""

from __future__ import annotations

from typing import Any

from langgraph.runtime import Runtime
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.run_context import RunContextPool
from oresearch_graph.graph.state import ResearchState, add_usage
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.policy import Policy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Failure, Usage

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
        run_context = await self.pool.of(run, runtime.context)
        thread = Thread(
            id=f"{run.id}-structure", system=_INSTRUCTION, question=report, role="summarizer"
        )
        answer, usage, failures = None, list[Usage](), list[Failure]()
        with boundary(failures, "summarizer"):
            policy = structuring(run_context.policy("summarizer"))
            answer, used = await policy.structured(thread, self.response_format)
            usage.append(used)
        await self.pool.release(run)
        closed = {
            "failures": (*trace.failures, *failures),
            "usage": tuple(add_usage(trace.usage, usage)),
        }
        return {"structured_response": answer, "trace": trace.model_copy(update=closed)}
