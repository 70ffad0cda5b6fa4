"""Calls of code that blocks, in threads that nobody waits for: asyncio's own threads are joined at
the end of a loop and of the process, so that one hanging search would outlive its run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, ParamSpec, TypeVar, cast

from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ensure_config
from langchain_core.tools import BaseTool, StructuredTool, Tool

P = ParamSpec("P")
T = TypeVar("T")
Handler = Callable[[Any], Awaitable[Any]]
"""Carries a request out."""


class DaemonThreads(ThreadPoolExecutor):
    """A thread for each call, which ends with the call or with the process. asyncio takes no other
    kind of executor; the pool stays empty."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: Future[T] = Future()

        def work() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(fn(*args, **kwargs))
                except BaseException as error:  # noqa: BLE001 - it is raised where it is awaited
                    future.set_exception(error)

        threading.Thread(target=work, daemon=True).start()
        return future


_THREADS: Final = DaemonThreads()


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """What a function that blocks returns, called in this context."""
    loop, context = asyncio.get_running_loop(), copy_context()
    return await loop.run_in_executor(_THREADS, lambda: context.run(function, *args))


async def in_thread_asking(
    function: Callable[[Any, Callable[[Any], Any]], T], request: object, handler: Handler
) -> T:
    """What a function that blocks returns while this loop carries out what it asks for. Once
    nobody waits for it, what it asked for ends, and it can ask for nothing more."""
    loop, tasks, over = asyncio.get_running_loop(), set[asyncio.Task[Any]](), False

    async def carry_out(request: object) -> object:
        if over:
            raise asyncio.CancelledError
        tasks.add(cast("asyncio.Task[Any]", asyncio.current_task()))
        return await handler(request)

    def ask(request: object) -> object:
        if over:
            raise asyncio.CancelledError
        try:
            return asyncio.run_coroutine_threadsafe(carry_out(request), loop).result()
        except CancelledError:
            # It is an Exception, which a function may answer by asking again: asyncio's is none.
            raise asyncio.CancelledError from None

    try:
        return await in_thread(function, request, ask)
    finally:
        over = True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def answer_of(runnable: BaseRetriever | BaseTool, request: Any) -> Any:  # noqa: ANN401
    """What a retriever or tool answers. One that has no coroutine blocks no thread of asyncio's."""
    if not _blocks(runnable):
        return await runnable.ainvoke(request)
    return await in_thread(runnable.invoke, request, ensure_config())


def _blocks(runnable: BaseRetriever | BaseTool) -> bool:
    if isinstance(runnable, StructuredTool | Tool):
        return runnable.coroutine is None
    base, name = (
        (BaseRetriever, "_aget_relevant_documents")
        if isinstance(runnable, BaseRetriever)
        else (BaseTool, "_arun")
    )
    return getattr(type(runnable), name) is getattr(base, name)
