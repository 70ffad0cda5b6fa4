"""What model servers do wrong, over real sockets: what is mended, which error is raised."""

import asyncio
import time
from typing import Any

import pytest

from oresearch_graph.errors import PolicyError, PolicyRefused, PolicyTimeout
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.model_faults import retry_after
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.threads import Thread
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.server_habits import (
    Fault,
    Habits,
    too_many,
)

STOP = ("</subtask_list>",)
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
QUICK = Patience(silence=0.2, tries=3, backoff=0.01)


def policy(server: OpenAIServer, timeout: float = 5.0, **more: Any) -> ChatPolicy:
    return ChatPolicy(
        "fake", base_url=server.base_url, rendering="turns", timeout=timeout, patience=QUICK, **more
    )


MENDED = [
    too_many("0"),
    too_many(None),
    Fault("status", 500),
    Fault("status", 503),
    Fault("status", 408),
    Fault("status", 409),
    Fault("drop"),
    Fault("cut"),
    Fault("silence"),
    Fault("empty_choices"),
    Fault("garbage"),
]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("fault", MENDED, ids=lambda fault: f"{fault.kind}-{fault.status}")
async def test_one_fault_is_mended_by_trying_again(fault: Fault, streams: bool) -> None:
    listener = (lambda _: None) if streams else None
    with OpenAIServer(research_brain) as server:
        server.faults.append(fault)
        made = await policy(server).continue_thread(PLAN, STOP, on_text=listener)
        assert len(server.requests) == 2
    assert made.text.endswith("</subtask_list>")


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (too_many("0"), "HTTP 429.*3 tries.*lower concurrency"),
        (Fault("status", 500), "HTTP 500.*3 tries"),
        (Fault("cut"), "no connection|cut off"),
        (Fault("empty_choices"), "cut off or empty|makes no sense"),
        (Fault("garbage"), "makes no sense|cut off or empty"),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
async def test_a_lasting_fault_is_an_error(fault: Fault, says: str, streams: bool) -> None:
    listener = (lambda _: None) if streams else None
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda _: fault
        with pytest.raises(PolicyError, match=says) as raised:
            await policy(server).continue_thread(PLAN, STOP, on_text=listener)
        assert len(server.requests) == 3
    assert not isinstance(raised.value, PolicyRefused)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("fault", "fix"),
    [
        (Fault("status", 401), "check the API key"),
        (Fault("status", 403), "may not use"),
        (Fault("status", 404), "check the model's name"),
        (Fault("status", 400), "takes no such request"),
        (Fault("status", 400, body={"error": {"message": "context_length_exceeded"}}),
         "lower observation_tokens"),
        (Fault("status", 429, body={"error": {"message": "x", "code": "insufficient_quota"}}),
         "no credit"),
    ],
    ids=lambda value: str(getattr(value, "status", "")),
)  # fmt: skip
async def test_a_refusal_is_not_tried_again(fault: Fault, fix: str) -> None:
    with OpenAIServer(research_brain) as server:
        server.faults.append(fault)
        with pytest.raises(PolicyRefused, match=fix):
            await policy(server).continue_thread(PLAN, STOP)
        assert len(server.requests) == 1


@pytest.mark.parametrize("streams", [False, True])
async def test_no_answer_is_a_timeout_after_two_tries(streams: bool) -> None:
    listener = (lambda _: None) if streams else None
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda _: Fault("hang")
        begin = time.monotonic()
        with pytest.raises(PolicyTimeout, match=r"\(2 tries\); raise model_timeout"):
            await policy(server, timeout=0.2).continue_thread(PLAN, STOP, on_text=listener)
        assert time.monotonic() - begin < 2
        assert len(server.requests) == 2


async def test_a_stream_that_goes_quiet_is_a_timeout() -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda _: Fault("silence")
        with pytest.raises(PolicyTimeout):
            await policy(server).continue_thread(PLAN, STOP, on_text=lambda _: None)


async def test_no_server_at_all_is_an_error() -> None:
    with OpenAIServer(research_brain) as server:
        url = server.base_url
    chat = ChatPolicy("fake", base_url=url, rendering="turns", timeout=2.0, patience=QUICK)
    with pytest.raises(PolicyError, match=r"no connection.*check that the model server is up"):
        await chat.continue_thread(PLAN, STOP)


async def test_retry_after_holds_every_branch_back() -> None:
    limiter = AdaptiveLimiter(4)
    with OpenAIServer(research_brain, Habits(latency=0.02)) as server:
        server.faults.append(too_many("0.4"))
        chat = policy(server, limiter=limiter)
        begin = time.monotonic()
        first = asyncio.create_task(chat.continue_thread(PLAN, STOP))
        await asyncio.sleep(0.2)
        assert limiter.concurrency < 4
        await chat.continue_thread(PLAN, STOP)
        assert time.monotonic() - begin >= 0.4
        await first


async def test_a_wait_beyond_reason_is_given_up() -> None:
    with OpenAIServer(research_brain) as server:
        server.faults.append(too_many("86400"))
        with pytest.raises(PolicyError, match="429"):
            await asyncio.wait_for(policy(server).continue_thread(PLAN, STOP), 3)


async def test_a_listener_hears_the_whole_text_of_the_try_that_counts() -> None:
    heard: list[str] = []
    with OpenAIServer(research_brain) as server:
        server.faults.append(Fault("cut"))
        made = await policy(server).continue_thread(PLAN, STOP, on_text=heard.append)
    assert "".join(heard).endswith(made.text.removesuffix("</subtask_list>"))


def test_retry_after_in_every_form() -> None:
    assert retry_after({"retry-after": "7"}) == 7
    assert retry_after({"retry-after-ms": "250", "retry-after": "7"}) == 0.25
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
