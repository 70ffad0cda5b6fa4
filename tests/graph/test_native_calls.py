"""Native tool calls as servers and models deliver them: arguments of every kind, names of every
kind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.graph.extra_tools import _typed
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, world_step
from oresearch_graph.trace.calls import Call, read_call
from oresearch_graph.trace.tags import parse_policy_text
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import (
    Habits,
    ToolCalls,
)

CALLS = ("</web_search>", "</crawl_page>", "</subtask_answer>")
STEPS = (Step(kind="subtask_list", text="1. One"), world_step("subtask", "One", branch=1))
TURN = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=STEPS)
Make = Callable[..., ChatPolicy]


@tool
def look_up(words: list[str]) -> str:
    """Look words up."""
    return ", ".join(words)


@pytest.fixture
async def policy() -> AsyncIterator[Make]:
    """Makes policies, and closes their connections."""
    policies: list[ChatPolicy] = []

    def make(server: OpenAIServer, **more: Any) -> ChatPolicy:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="tools", **more)
        policies.append(chat)
        return chat

    yield make
    for each in policies:
        await each.aclose()


async def calls_of(chat: ChatPolicy, *, streams: bool = False) -> list[Call]:
    on_text = (lambda _: None) if streams else None
    reply = await chat.continue_thread(TURN, (*CALLS, "</look_up>"), on_text=on_text)
    return [read_call(s) for s in parse_policy_text(reply.text, ("look_up",)) if s.is_call]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    "arguments",
    [
        {"queries": ["a", "b"], "num": 3},
        {"queries": '["a", "b"]', "num": "3"},
        {"queries": [{"query": "a"}, {"query": "b"}], "num": 3},
        {"query": ["a", "b"], "num": 3},
        {"queries": {"items": ["a", "b"]}, "num": 3},
    ],
)
@pytest.mark.parametrize("objects", [False, True])
async def test_arguments_are_taken_as_they_are(
    objects: bool, arguments: dict[str, Any], streams: bool, policy: Make
) -> None:
    brain = lambda *_: ToolCalls((("web_search", arguments),))  # noqa: E731
    with OpenAIServer(brain, Habits(objects=objects)) as server:
        (call,) = await calls_of(policy(server), streams=streams)
    assert (call.tool, call.items, call.num, call.fault) == ("web_search", ("a", "b"), 3, None)


@pytest.mark.parametrize(
    "raw",
    [
        json.dumps(json.dumps({"queries": ["a", "b"]})),
        '["a", "b"]',
        '{"queries": ["a",\n "b"]}',
        json.dumps({"queries": json.dumps(["a", "b"])}),
    ],
)
async def test_arguments_in_other_wrappings(raw: str, policy: Make) -> None:
    with OpenAIServer(lambda *_: ToolCalls((("web_search", raw),))) as server:
        (call,) = await calls_of(policy(server))
    assert (call.items, call.fault) == (("a", "b"), None)


@pytest.mark.parametrize(
    "raw",
    ['{"queries": ["a"', "{'queries': ['a']", '["a", "b"', '"queries": ["a"', "{queries: [a",
     json.dumps({"queries": '["a", "b"'})],
)  # fmt: skip
@pytest.mark.parametrize("name", ["web_search", "crawl_page"])
async def test_json_that_cannot_be_read_is_no_query(name: str, raw: str, policy: Make) -> None:
    raw = raw if name == "web_search" else raw.replace("queries", "urls")
    with OpenAIServer(lambda *_: ToolCalls(((name, raw),))) as server:
        (call,) = await calls_of(policy(server))
    assert "no JSON that can be read" in str(call.fault)


@pytest.mark.parametrize(
    "text", ["set {a | b} notation", "[sic] meaning", "R&D {x} cost", '"to be" or not', "{x > 0}"]
)
def test_words_with_brackets_are_queries(text: str) -> None:
    assert read_call(Step(kind="web_search", text=text)).fault is None


async def test_an_object_for_an_extra_tool(policy: Make) -> None:
    brain = lambda *_: ToolCalls((("look_up", {"words": ["x"]}),))  # noqa: E731
    with OpenAIServer(brain, Habits(objects=True)) as server:
        (call,) = await calls_of(policy(server, tools=[look_up]))
    assert (call.tool, call.arguments) == ("look_up", {"words": ["x"]})


async def test_a_model_object_takes_objects_as_well() -> None:
    brain = lambda *_: ToolCalls((("web_search", {"queries": ["a"]}),))  # noqa: E731
    with OpenAIServer(brain, Habits(objects=True)) as server:
        model = ChatOpenAI(base_url=server.base_url, api_key="x", model="fake", temperature=0.5)
        (call,) = await calls_of(ChatPolicy(model, rendering="tools"))
        assert server.requests[0]["temperature"] == 0.5
        await model.root_async_client.close()
    assert call.items == ("a",)


@pytest.mark.parametrize(
    "name",
    ["web_search", "functions.web_search", "web_search<|channel|>commentary",
     "web_search<|constrain|>json", "default_api:web_search", "functions/web_search",
     "functions.web_search:0", "commentary to=functions.web_search", "functions_web_search",
     "Web_Search", "web-search", "webSearch", " web_search ", "<|channel|>web_search",
     "assistant<|channel|>commentary to=web_search<|constrain|>json"],
)  # fmt: skip
async def test_a_known_name_is_recognised(name: str, policy: Make) -> None:
    with OpenAIServer(lambda *_: ToolCalls(((name, {"queries": ["a"]}),))) as server:
        chat = policy(server, tools=[look_up])
        reply = await chat.continue_thread(TURN, CALLS)
    assert reply.text == "<web_search>a</web_search>"
    assert reply.faults == ()


@pytest.mark.parametrize(
    "name", ["python", "functions.browse", "image_web_search_v2", "web_search look_up", ""]
)  # fmt: skip
async def test_an_unknown_name_is_answered_with_the_names_there_are(
    name: str, policy: Make
) -> None:
    with OpenAIServer(lambda *_: ToolCalls(((name, {"queries": ["a"]}),))) as server:
        reply = await policy(server, tools=[look_up]).continue_thread(TURN, CALLS)
    assert "the tools are web_search, crawl_page, look_up" in reply.faults[0]
    assert not any(step.is_call for step in parse_policy_text(reply.text))


def test_a_list_as_json_text_is_a_list_for_an_extra_tool() -> None:
    schema = look_up.args
    assert _typed({"words": '["x", "y"]'}, schema) == {"words": ["x", "y"]}
    several = {"words": {"type": ["string", "null"]}, "odd": True}
    assert _typed({"words": '["x"]', "odd": "[1]"}, several) == {"words": '["x"]', "odd": "[1]"}
    assert _typed({"words": '["x"'}, schema) == {"words": '["x"'}
    assert _typed({"text": '["x"]'}, {"text": {"type": "string"}}) == {"text": '["x"]'}
    assert (
        _typed({"text": "[1]"}, {"text": {"anyOf": [{"type": "string"}, {"type": "array"}]}})[
            "text"
        ]
        == "[1]"
    )


async def test_a_run_corrects_an_unknown_name_and_broken_json() -> None:
    good = ResearchBrain(subtasks=("What causes tides",))

    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        made, talk = good(messages, body), str(messages)
        if not isinstance(made, ToolCalls) or len(made.calls) != 1:
            return made
        if "there is no tool" not in talk and "role': 'tool'" not in talk:
            return ToolCalls((("python", {"code": "1"}),))
        return made

    with OpenAIServer(brain) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="tools")
        documents, settings = Documents(PAGES), ResearchSettings(effort="quick")
        graph = create_research_graph(chat, search=documents, reader=documents, settings=settings)
        state = await graph.ainvoke({"question": "Why are there tides?"})
        await chat.aclose()
        told = [r for r in server.requests if "the tools are web_search, crawl_page" in str(r)]
    assert told
    assert state["trace"].outcome == "complete"
