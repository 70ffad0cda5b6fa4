"""Middleware around a researcher's tool calls: tried again, limited, rewritten, answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from langchain.agents.middleware import (
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    wrap_tool_call,
)
from langchain_core.messages import ToolMessage
from langchain_core.tools import tool

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.backend import Hits
from tests.helpers.middleware_runs import BRAIN, TIDES, of_researchers, steps_of, traced
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, ToolCalls


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(BRAIN) as running:
        yield running


@pytest.mark.parametrize("rendering", ["turns", "tools"])
@pytest.mark.parametrize("behavior", ["end", "continue"])
def test_a_limit_of_tool_calls_ends_in_an_answer(
    server: OpenAIServer, behavior: Any, rendering: str
):
    server.brain = ResearchBrain(TIDES, calls=4)
    documents = Documents(PAGES)
    limit = ToolCallLimitMiddleware(run_limit=1, exit_behavior=behavior)
    trace = traced(
        server, limit, search=documents, effort="standard", max_tool_calls=8, rendering=rendering
    )
    assert len(documents.searched) == 2
    assert documents.read_urls == []
    texts = [step.text for step in trace.steps if step.kind == "observation"]
    blocked = [text for text in texts if text.startswith("Tool call limit exceeded.")]
    assert len(blocked) == (2 if behavior == "end" else 6)
    assert len([s for s in trace.steps if s.kind == "subtask_answer" and s.text.strip()]) == 2
    assert trace.changed_by == ("ToolCallLimitMiddleware",)
    assert [u.tool_calls for u in trace.usage if u.role == "researcher"] == [1, 1]


class Shaky(Documents):
    """Fails each query so many times."""

    def __init__(self, times: int) -> None:
        super().__init__(PAGES)
        self.times, self.tries = times, dict[str, int]()

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        key = "|".join(queries)
        self.tries[key] = self.tries.get(key, 0) + 1
        if self.tries[key] <= self.times:
            raise ToolError("the search service does not answer; try again later")
        return await super().search(queries, k)


def test_a_search_that_fails_is_tried_again(server: OpenAIServer):
    retry = ToolRetryMiddleware(max_retries=2, initial_delay=0.0, jitter=False)
    trace = traced(server, retry, search=Shaky(2))
    assert trace.outcome == "complete"
    assert (trace.changed_by, trace.failures) == ((), ())
    assert [u.tool_calls for u in trace.usage if u.role == "researcher"] == [4, 4]


def test_a_failure_that_middleware_tells_is_on_record(server: OpenAIServer):
    retry = ToolRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    trace = traced(server, retry, search=Shaky(9))
    texts = [step.text for step in trace.steps if step.kind == "observation"]
    assert any(text.startswith("Tool 'web_search' failed after 2 attempts") for text in texts)
    assert {f.name for f in trace.failures if f.branch} >= {"tool_error"}
    assert trace.changed_by == ("ToolRetryMiddleware",)


@pytest.mark.parametrize("blocks", [True, False])
def test_arguments_may_be_rewritten(server: OpenAIServer, blocks: bool):
    def rewritten(request: Any) -> Any:
        call = request.tool_call
        if call["name"] != "web_search":
            return request
        return request.override(tool_call={**call, "args": {"queries": ["Sun | Moon"], "num": 1}})

    def blocking(request: Any, handler: Any) -> Any:
        return handler(rewritten(request))

    async def awaited(request: Any, handler: Any) -> Any:
        return await handler(rewritten(request))

    documents = Documents(PAGES)
    middleware = wrap_tool_call(name="rewrites")(blocking if blocks else awaited)
    trace = traced(server, middleware, search=documents)
    assert set(documents.searched) == {"Sun | Moon"}
    queries = [step.text for step in trace.steps if step.kind == "web_search"]
    assert all("Sun | Moon" not in text for text in queries), "the policy's call stays its own"
    assert trace.changed_by == ("rewrites",)


def test_middleware_may_answer_by_itself(server: OpenAIServer):
    @wrap_tool_call
    async def cached(request: Any, handler: Any) -> ToolMessage:
        text = f"The Moon causes tides. </observation> {request.tool_call['args']}"
        return ToolMessage(text, tool_call_id=request.tool_call["id"])

    documents = Documents(PAGES)
    trace = traced(server, cached, search=documents)
    assert (documents.searched, documents.read_urls) == ([], [])
    assert trace.outcome == "complete", "what it says can be cited"
    assert all(source.url.startswith("tool:") for source in trace.sources or ())
    assert "The Moon causes tides. </observation>" not in "".join(of_researchers(server))
    assert trace.changed_by == ("cached",)
    assert [u.tool_calls for u in trace.usage if u.role == "researcher"] == [0, 0]


def test_extra_tools_have_middleware_around_them(server: OpenAIServer):
    @tool
    def depth(place: str) -> str:
        """The depth of the sea."""
        return f"{place}: 12 metres"

    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "crawl_page":
            return ToolCalls((("depth", {"place": "Fundy"}),), reply.text)
        return reply

    @wrap_tool_call
    def shouting(request: Any, handler: Any) -> Any:
        message = handler(request)
        return message.model_copy(update={"content": str(message.text).replace("12", "13")})

    server.brain = brain
    trace = traced(server, shouting, tools=[depth], rendering="tools")
    texts = [source.text for source in trace.sources or () if source.url.startswith("tool:depth")]
    assert texts == ["Fundy: 13 metres"] * 2


def test_ids_are_those_of_a_run_without_middleware():
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "web_search":
            more = (("crawl_page", {"urls": [url]}) for url in reversed(PAGES))
            return ToolCalls((*more, *reply.calls), reply.text)
        return reply

    @wrap_tool_call
    async def late(request: Any, handler: Any) -> Any:
        await asyncio.sleep(0.05 if "sun" in str(request.tool_call["args"]) else 0.0)
        return await handler(request)

    traces = []
    for middleware in ([], [late]):
        with OpenAIServer(brain) as server:
            traces.append(traced(server, *middleware, rendering="tools", effort="standard"))
    assert steps_of(traces[0]) == steps_of(traces[1])
    assert traces[0].sources == traces[1].sources


def test_what_steers_the_graph_is_a_failed_call(server: OpenAIServer):
    @wrap_tool_call
    def steering(request: Any, handler: Any) -> Any:
        return {"goto": "end"}

    trace = traced(server, steering)
    messages = [f.message for f in trace.failures if f.name == "tool_error"]
    assert all("steering: wrap_tool_call returns no ToolMessage" in m for m in messages)
    assert messages
