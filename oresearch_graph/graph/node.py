"""A node that is awaited and invoked alike, so that the graph serves synchronous callers too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.runtime import Runtime, get_runtime

from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.event_loop import result_of

S = TypeVar("S")
Update = dict[str, Any]


class Node(Runnable[S, Update]):
    """A coroutine function of the state and LangGraph's runtime, as a node."""

    def __init__(
        self, function: Callable[[S, Runtime[ResearchSettings]], Coroutine[Any, Any, Update]]
    ) -> None:
        self._function = function

    async def ainvoke(
        self, input: S, config: RunnableConfig | None = None,  # noqa: A002, ARG002
        **kwargs: Any,  # noqa: ANN401, ARG002
    ) -> Update:  # fmt: skip
        """See Runnable."""
        return await self._function(input, get_runtime(ResearchSettings))

    def invoke(
        self, input: S, config: RunnableConfig | None = None,  # noqa: A002
        **kwargs: Any,  # noqa: ANN401
    ) -> Update:  # fmt: skip
        """See Runnable. Raises ConfigurationError in a coroutine of a run."""
        return result_of(self.ainvoke(input, config, **kwargs))
