"""An event loop of the process in a thread of its own, for what is invoked, not awaited: a caller's
thread may have a loop that runs (a notebook's), and a run's budget and connections belong to one
loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.tools.daemon_threads import DaemonThreads

T = TypeVar("T")
_NAME: Final = "oresearch"
"""Of the thread."""


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


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """What the coroutine returns or raises, in the caller's context; a caller that is interrupted
    cancels it. Raises ConfigurationError where a coroutine of the loop itself would wait for it."""
    if threading.current_thread().name == _NAME:
        coroutine.close()
        raise ConfigurationError("a coroutine of a run called invoke: await ainvoke there")
    future = asyncio.run_coroutine_threadsafe(coroutine, _LOOP.running())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise
