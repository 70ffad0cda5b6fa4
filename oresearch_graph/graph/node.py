"""A node that is awaited and invoked alike, so that the graph serves synchronous callers too."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Final, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.errors import GraphBubbleUp
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime, get_runtime

from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.event_loop import Calls, require_a_thread, streamed

S = TypeVar("S")
Update = dict[str, Any]
_CALLS: Final = "__oresearch_calls"
"""In `configurable`: the calls of an invocation."""


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
        """See Runnable. Raises ConfigurationError in a coroutine of a run. What it raises stops the
        nodes beside it."""
        calls = (config or {}).get("configurable", {}).get(_CALLS)
        calls = calls if isinstance(calls, Calls) else Calls()
        try:
            return calls.result_of(self.ainvoke(input, config, **kwargs))
        except GraphBubbleUp:
            raise
        except Exception as error:
            calls.stop(error)
            raise


class InvokedGraph(CompiledStateGraph[Any, Any, Any, Any]):
    """A graph of such nodes. LangGraph interrupts the thread that invoked it alone, and waits for
    those of its branches: here an interrupt stops them too."""

    @classmethod
    def of(cls, graph: CompiledStateGraph[Any, Any, Any, Any]) -> InvokedGraph:
        """The same graph; made as its own `copy` makes one."""
        return cls(**graph.__dict__)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any  # noqa: A002, ANN401
    ) -> Iterator[Any]:  # fmt: skip
        """See CompiledStateGraph."""
        require_a_thread()
        calls = Calls()
        configs: tuple[Any, ...] = (config or {}, self.config or {}, ensure_config())
        before: dict[str, Any] = next(filter(None, (c.get("configurable") for c in configs)), {})
        whole = {**(config or {}), "configurable": {**before, _CALLS: calls}}
        stream = super().stream
        return streamed(lambda: stream(input, cast("Any", whole), **kwargs), calls)
