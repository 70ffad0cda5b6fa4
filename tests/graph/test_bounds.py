"""The bound of a reply's length, as each kind of model is sent it; the least of several counts."""

from __future__ import annotations

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI

from oresearch_graph.policies.chat.parameters import Sent
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.probe import PROBES
from oresearch_graph.threads import Thread
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.server_habits import (
    Habits,
)

ASK = [HumanMessage("Why?")]
PLAN = Thread(id="t", system="S", question="Why?", role="planner", bound=1_000)
STOP = ("</subtask_list>",)


class ChatOllama(FakeListChatModel):
    """As langchain-ollama's: the bound is the model's own field, a call has no such argument."""

    num_predict: int | None = None


class ChatAnthropic(FakeListChatModel):
    """As langchain-anthropic's: the field is required."""

    max_tokens: int = 700


def openai(**more: object) -> ChatOpenAI:
    return ChatOpenAI(model="m", api_key="k", **more)


@pytest.mark.parametrize(
    ("model", "arguments", "least"),
    [
        (openai(), {}, 1_000),
        (openai(max_tokens=500), {}, 500),
        (openai(max_tokens=5_000), {}, 1_000),
        (openai(), {"max_tokens": 300}, 300),
        (openai(max_tokens=400), {"extra_body": {"max_tokens": 200}}, 200),
        (ChatAnthropic(responses=["a"]), {}, 700),
    ],
)
def test_the_least_bound_counts(model, arguments, least):
    sent = Sent(model, ASK, arguments).bounded(1_000, plain=False)
    assert sent.arguments["max_tokens"] == least


def test_ollamas_own_class_has_it_as_a_field():
    sent = Sent(ChatOllama(responses=["a"]), ASK, {}).bounded(1_000, plain=False)
    assert sent.model.num_predict == 1_000  # type: ignore[attr-defined]
    assert dict(sent.arguments) == {}


def test_a_class_that_is_not_known_is_sent_none():
    sent = Sent(FakeListChatModel(responses=["a"]), ASK, {})
    assert sent.bounded(1_000, plain=False) is sent


async def test_a_server_that_says_nothing_of_itself_gets_the_plain_name_alone():
    PROBES.forget()
    with OpenAIServer(research_brain, Habits()) as server:
        policy = ChatPolicy("fake", base_url=server.base_url, max_output_tokens=600)
        await policy.continue_thread(PLAN, STOP)
        await policy.aclose()
    body = server.requests[-1]
    assert body["max_tokens"] == 600
    assert "max_completion_tokens" not in body


async def test_what_a_bound_left_nothing_of_is_asked_for_without_it():
    PROBES.forget()

    def thinks(messages, body):
        if "Here they are" in str(messages[-1]["content"]):
            return research_brain(messages, body)
        return "" if body.get("max_tokens") else "<subtask_list>\n1. A\n</subtask_list>"

    with OpenAIServer(thinks, Habits(finish="length")) as server:
        policy = ChatPolicy("fake", base_url=server.base_url)
        first = await policy.continue_thread(PLAN, STOP)
        again = len(server.requests)
        second = await policy.continue_thread(PLAN, STOP)
        await policy.aclose()
    assert "1. A" in first.text
    assert second.text == first.text
    assert first.usage.calls == 3
    assert len(server.requests) == again + 1
