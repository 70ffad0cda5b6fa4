"""response_format: the delivered report once more, as the structure an embedder asked for."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from langgraph.runtime import Runtime
from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat import ChatPolicy
from oresearch_graph.resources import ResourcePool
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.state import ResearchState

_INSTRUCTION = "Fill in the structure from this report alone. Leave out what it does not say."


class Structurer:
    """The node that fills `structured_response` with the summarizer's model."""

    def __init__(
        self, pool: ResourcePool, response_format: type[BaseModel] | dict[str, Any]
    ) -> None:
        self.pool, self.response_format = pool, response_format

    async def structure(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report as a structure; None without a report.

        Raises ConfigurationError when the summarizer is no chat model.
        """
        report = state.get("report")
        if report is None:
            await self.pool.release(state["run"])
            return {"structured_response": None}
        resources = await self.pool.of(state["run"], runtime.context)
        policy = resources.policy("summarizer")
        if not isinstance(policy, ChatPolicy):
            raise ConfigurationError(
                f"response_format needs a chat model, the summarizer is {policy.name}: set model"
            )
        model = policy.model.with_structured_output(self.response_format)
        answer = await model.ainvoke([SystemMessage(_INSTRUCTION), HumanMessage(report)])
        await self.pool.release(state["run"])
        return {"structured_response": answer}
