"""A node that is awaited and invoked alike, so that the graph serves synchronous callers too.

What is invoked works in one event loop of the process, in a thread of its own: a caller's thread
may have a loop that runs (a notebook's), and a run's budget and connections belong to one loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.runtime import Runtime, get_runtime

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.daemon_threads import DaemonThreads

S = TypeVar("S")
Update = dict[str, Any]
_NAME: Final = "oresearch"
"""Of the thread."""


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
        """See Runnable. Raises ConfigurationError where a coroutine calls it and would block the
        loop that is to do the work."""
        loop = _LOOP.running()
        if threading.current_thread().name == _NAME:
            raise ConfigurationError("a coroutine of a run called invoke: await ainvoke there")
        future = asyncio.run_coroutine_threadsafe(self.ainvoke(input, config, **kwargs), loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # the caller was interrupted
            raise


class _Loop:
    """The event loop, made when something is first invoked."""

    def __init__(self) -> None:
        self._lock, self._thread = threading.Lock(), threading.Thread()
        self._loop: asyncio.AbstractEventLoop | None = None

    def running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or not self._thread.is_alive():  # it is not in a forked process
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(DaemonThreads())
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name=_NAME, daemon=True
                )
                self._thread.start()
            return self._loop


_LOOP: Final = _Loop()
