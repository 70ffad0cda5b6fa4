"""Hooks that block: each in a thread of its own, which ends with its branch."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest
from langchain.agents.middleware import wrap_model_call

from oresearch_graph.tools.daemon_threads import in_thread_asking
from tests.helpers.middleware_runs import of_researchers, refusing_researchers, traced
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import Body, Fault


def test_a_hook_that_blocks_stops_nobody_else(server: OpenAIServer):
    both = threading.Barrier(2, timeout=20)
    threads = set[int]()

    @wrap_model_call
    def meeting(request: Any, handler: Any) -> Any:
        """Waits until the other branch is here too."""
        threads.add(threading.get_ident())
        both.wait()
        return handler(request)

    trace = traced(server, meeting)
    assert (trace.outcome, trace.changed_by) == ("complete", ())
    assert threading.main_thread().ident not in threads


async def test_what_blocks_asks_for_nothing_more_once_it_is_over():
    """An error of cancellation may be answered as any other: by asking again."""
    asked, over = list[str](), threading.Event()

    async def forever(request: Any) -> None:
        asked.append(request)
        await asyncio.sleep(60)

    def stubborn(request: Any, ask: Any) -> None:
        try:
            for _ in range(3):
                with contextlib.suppress(Exception):
                    ask(request)
        finally:
            over.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await in_thread_asking(stubborn, "once", forever)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await asyncio.to_thread(over.wait, 20)
    await asyncio.sleep(0)
    assert asked == ["once"]
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_hook_that_tries_again_is_over_with_the_time_of_its_branch(server: OpenAIServer):
    over = threading.Semaphore(0)

    def hanging(body: Body) -> Fault | None:
        return Fault("hang", seconds=20) if refusing_researchers(body) else None

    @wrap_model_call
    def stubborn(request: Any, handler: Any) -> Any:
        try:
            for _ in range(3):
                with contextlib.suppress(Exception):
                    return handler(request)
        finally:
            over.release()

    server.fault_for = hanging
    trace = traced(server, stubborn, subtask_timeout=0.5)
    assert over.acquire(timeout=20)
    assert over.acquire(timeout=20)
    assert {f.name for f in trace.failures if f.branch} == {"timeout"}
    assert len(of_researchers(server)) == 2
    spent = [u for u in trace.usage if u.role == "researcher"]
    assert [(u.calls, u.unanswered) for u in spent] == [(1, 1), (1, 1)]
