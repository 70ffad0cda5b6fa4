"""A node that is awaited and invoked alike, so that the graph serves synchronous callers too."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import aclosing, nullcontext
from typing import Any, Final, TypeVar, cast

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.errors import GraphBubbleUp
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime, get_runtime

from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.event_loop import Calls, require_a_thread, streamed

S = TypeVar("S")
Update = dict[str, Any]
_CALLS: Final = "__oresearch_calls"
"""In `configurable`: the calls of an invocation."""
_RUNS: Final = "__oresearch_runs"
"""The name of the limit of runs; in `configurable`, that limit: the run has its place."""

_log = logging.getLogger("oresearch_graph")


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
    those of its branches: here an interrupt stops them too.

    A run takes a place among the runs of the process for as long as it is streamed: until it ends,
    is interrupted or cancelled, or its stream is closed. A run within a run takes none, for the
    outer one would wait for it.
    """

    def __init__(self, *, runs: AdaptiveLimiter | None = None, **attributes: Any) -> None:  # noqa: ANN401
        """`runs`: the limit of runs; None: there is none."""
        super().__init__(**attributes)
        self.runs = runs

    @classmethod
    def of(
        cls, graph: CompiledStateGraph[Any, Any, Any, Any], max_runs: int | None
    ) -> InvokedGraph:
        """The same graph; made as its own `copy` makes one."""
        runs = None if max_runs is None else AdaptiveLimiter(max_runs, _RUNS)
        return cls(runs=runs, **graph.__dict__)

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any  # noqa: A002, ANN401
    ) -> Iterator[Any]:  # fmt: skip
        """See CompiledStateGraph."""
        require_a_thread()
        calls, runs, stream = Calls(), self._places(config), super().stream
        whole = self._with(config, {_CALLS: calls} | ({} if runs is None else {_RUNS: runs}))

        def pieces() -> Iterator[Any]:
            with nullcontext() if runs is None else calls.within(runs.slot):
                yield from stream(input, whole, **kwargs)

        return streamed(pieces, calls)

    def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any  # noqa: A002, ANN401
    ) -> AsyncIterator[Any]:  # fmt: skip
        """See CompiledStateGraph."""
        runs, stream = self._places(config), super().astream
        if runs is None:
            return stream(input, config, **kwargs)

        async def pieces() -> AsyncIterator[Any]:
            inner: Any = stream(input, self._with(config, {_RUNS: runs}), **kwargs)
            async with runs.slot(), aclosing(inner):
                async for piece in inner:
                    yield piece

        return pieces()

    def _places(self, config: RunnableConfig | None) -> AdaptiveLimiter | None:
        """Where a run takes its place; None where it takes none."""
        # A client may write the name into `configurable`, but no limit.
        outer = isinstance(self._configurable(config).get(_RUNS), AdaptiveLimiter)
        if self.runs is None or outer:
            return None
        if not self.runs.free:
            _log.info("a run waits: max_runs is %d", self.runs.concurrency)
        return self.runs

    def _with(self, config: RunnableConfig | None, marks: dict[str, Any]) -> RunnableConfig:
        configurable = {**self._configurable(config), **marks}
        return cast("RunnableConfig", {**(config or {}), "configurable": configurable})

    def _configurable(self, config: RunnableConfig | None) -> dict[str, Any]:
        configs: tuple[Any, ...] = (config or {}, self.config or {}, ensure_config())
        return next(filter(None, (each.get("configurable") for each in configs)), {})
