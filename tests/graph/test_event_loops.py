"""One chat model object in several event loops: one after the other, and at the same time."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import httpx
import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI

from oresearch_graph.errors import PolicyError
from oresearch_graph.policies.chat.event_loops import of_other_loop
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.threads import Thread
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.server_habits import (
    Habits,
)

PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
STOP = ("</subtask_list>",)
QUICK = Patience(tries=3, backoff=0.01)


@pytest.fixture(autouse=True)
def _sockets_of_loops_that_are_gone() -> Iterator[None]:
    yield
    gc.collect()


def in_threads(work: Callable[[], Coroutine[Any, Any, list[Any]]], times: int) -> list[Any]:
    """What the work gave in each of so many loops, run at the same time."""
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.extend(asyncio.run(work()))) for _ in range(times)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("named", [True, False])
def test_a_model_answers_in_every_loop(named: bool) -> None:
    """Seen: "… is bound to a different event loop", and a partial run."""
    with OpenAIServer(research_brain, Habits(latency=0.02)) as server:
        if named:
            chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        else:
            model = ChatOpenAI(base_url=server.base_url, api_key="x", model="fake", max_retries=0)
            chat = ChatPolicy(model, rendering="turns", patience=QUICK)

        async def work() -> list[Any]:
            calls = (chat.continue_thread(PLAN, STOP) for _ in range(10))
            results = await asyncio.gather(*calls, return_exceptions=True)
            await chat.aclose()
            return results

        results = [*asyncio.run(work()), *asyncio.run(work()), *in_threads(work, 3)]
    assert len(results) == 50
    assert [result for result in results if isinstance(result, BaseException)] == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_that_others_used_in_another_loop() -> None:
    """Its connections are another loop's before we see it."""
    with OpenAIServer(research_brain) as server:
        model = ChatOpenAI(base_url=server.base_url, api_key="x", model="fake", max_retries=0)
        chat = ChatPolicy(model, rendering="turns", patience=QUICK)
        asyncio.run(model.ainvoke([("system", "S"), ("human", "Why?")]))

        async def work() -> str:
            reply = await chat.continue_thread(PLAN, STOP)
            await chat.aclose()
            return reply.text

        assert asyncio.run(work()).endswith("</subtask_list>")
        assert asyncio.run(work()).endswith("</subtask_list>")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_connections_of_a_loop_that_is_gone_are_closed_without_a_fault() -> None:
    with OpenAIServer(research_brain) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        asyncio.run(chat.continue_thread(PLAN, STOP))
        asyncio.run(chat.aclose())


@pytest.mark.parametrize(
    "words",
    [
        "<asyncio.locks.Event object at 0x7f> is bound to a different event loop",
        "Event loop is closed",
        "Task <Task pending> got Future <Future pending> attached to a different loop",
    ],
)
async def test_where_no_fresh_connection_can_be_made_one_line_says_what_to_do(words: str) -> None:
    class Bound(GenericFakeChatModel):
        async def ainvoke(self, *_: Any, **__: Any) -> AIMessage:
            try:
                raise RuntimeError(words)
            except RuntimeError as error:
                raise httpx.ConnectError("Connection error.") from error

    chat = ChatPolicy(Bound(messages=iter([])), rendering="turns", patience=QUICK)
    with pytest.raises(PolicyError, match=r"another event loop \(2 tries\); give each event loop"):
        await chat.continue_thread(PLAN, STOP)


def test_other_errors_are_no_matter_of_loops() -> None:
    assert not of_other_loop(RuntimeError("the moon"))
    assert not of_other_loop(httpx.ConnectError("a loop of hope"))
