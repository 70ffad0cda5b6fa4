"""An event loop of the process in a thread of its own, for what is invoked, not awaited: a caller's
thread may have a loop that runs (a notebook's), and a run's budget and connections belong to one
loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.tools.daemon_threads import DaemonThreads

T = TypeVar("T")
_LISTENING: Final = 0.2
_PATIENCE: Final = 5.0
"""Seconds in which what was stopped may end in order."""


class _Loop:
    """The event loop, made when something is first invoked."""

    def __init__(self) -> None:
        self._lock, self._thread = threading.Lock(), threading.Thread()
        self._loop: asyncio.AbstractEventLoop | None = None

    def is_current(self) -> bool:
        """The caller is one of its coroutines."""
        return self._loop is not None and threading.current_thread() is self._thread

    def running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None or not self._thread.is_alive():  # it is not in a forked process
                self._loop = asyncio.new_event_loop()
                self._loop.set_default_executor(DaemonThreads())
                self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
                self._thread.start()
            return self._loop


_LOOP: Final = _Loop()


def require_a_thread() -> None:
    """Raise ConfigurationError for a coroutine of the loop itself, which would wait for its own."""
    if _LOOP.is_current():
        raise ConfigurationError("a coroutine of a run called invoke: await ainvoke there")


class Calls:
    """Coroutines of one invocation that threads wait for, so that it can be stopped."""

    def __init__(self) -> None:
        self._lock, self._futures = threading.Lock(), set[Future[Any]]()
        self._stopped = False
        self._cause: Exception = CancelledError()

    def result_of(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises, in the caller's context; a caller that is
        interrupted cancels it. Raises the cause once stopped, and ConfigurationError where a
        coroutine of the loop itself would wait for it."""
        if _LOOP.is_current():
            coroutine.close()
        require_a_thread()
        future = self._begin(coroutine)
        try:
            return future.result()
        except CancelledError:
            raise self._cause from None
        finally:
            future.cancel()
            self._futures.discard(future)

    @contextmanager
    def within(self, context: Callable[[], AbstractAsyncContextManager[Any]]) -> Iterator[None]:
        """An asynchronous context, entered on the loop and held for the thread that waits; raises
        the cause where the calls are stopped before it is entered."""
        inside = Future[None]()

        async def hold() -> None:
            async with context():
                inside.set_result(None)
                await asyncio.Event().wait()

        holding = self._begin(hold())
        holding.add_done_callback(lambda _: inside.cancel())
        try:
            inside.result()
            yield
        except CancelledError:
            raise self._cause from None
        finally:
            holding.cancel()
            self._futures.discard(holding)

    def _begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._stopped:
                coroutine.close()
                raise self._cause
            future = asyncio.run_coroutine_threadsafe(coroutine, _LOOP.running())
            self._futures.add(future)
        return future

    def stop(self, cause: Exception | None = None) -> None:
        """Cancel all of them, and what would come, for the first cause that is told."""
        with self._lock:
            self._cause = self._cause if self._stopped else cause or self._cause
            self._stopped = True
            for future in list(self._futures):
                future.cancel()


def result_of(coroutine: Coroutine[Any, Any, T]) -> T:
    """See `Calls`: one alone."""
    return Calls().result_of(coroutine)


def _next(queue: SimpleQueue[T]) -> T:
    """What comes next; a signal that another thread got is heard between two waits."""
    while True:
        with suppress(Empty):
            return queue.get(timeout=_LISTENING)


def streamed(pieces: Callable[[], Iterator[T]], calls: Calls) -> Iterator[T]:
    """The pieces as a thread makes them; whoever stops listening, or is interrupted, stops its
    calls."""
    queue = SimpleQueue[tuple[T] | BaseException | None]()

    def work() -> None:
        try:
            for piece in pieces():
                queue.put((piece,))
            queue.put(None)
        except BaseException as error:  # noqa: BLE001 - raised where it is listened to
            queue.put(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), daemon=True)
    thread.start()
    try:
        while (piece := _next(queue)) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece[0]
    finally:
        if thread.is_alive():
            calls.stop()
            thread.join(_PATIENCE)
