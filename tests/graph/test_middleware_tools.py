"""Middleware around a researcher's tool calls: tried again, limited, rewritten, answered."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Annotated, Any

import pytest
from langchain.agents.middleware import (
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    after_model,
    wrap_tool_call,
)
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.prebuilt import InjectedState

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.tools.backend import Hits
from tests.helpers.middleware_runs import (
    BRAIN,
    TIDES,
    of_researchers,
    steps_of,
    traced,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, ToolCalls


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


def test_arguments_may_be_rewritten_where_they_stand(server: OpenAIServer):
    @wrap_tool_call
    def mutating(request: Any, handler: Any) -> Any:
        if request.tool_call["name"] == "web_search":
            request.tool_call["args"]["queries"][:] = ["Sun"]
        return handler(request)

    documents = Documents(PAGES)
    trace = traced(server, mutating, search=documents)
    assert set(documents.searched) == {"Sun"}
    assert trace.changed_by == ("mutating",)


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


def calling(name: str, arguments: dict[str, Any]) -> Any:
    """A brain that calls this in the place of a page."""

    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "crawl_page":
            return ToolCalls(((name, arguments),), reply.text)
        return reply

    return brain


def test_a_graph_that_cannot_work_is_not_tried_again(server: OpenAIServer):
    tries = []

    @tool
    def depth(place: str) -> str:
        """The depth of the sea."""
        tries.append(place)
        raise ConfigurationError("no map is set: set one")

    @wrap_tool_call
    def stubborn(request: Any, handler: Any) -> Any:
        with contextlib.suppress(Exception):
            return handler(request)
        return ToolMessage("Deep.", tool_call_id=request.tool_call["id"])

    server.brain = calling("depth", {"place": "Fundy"})
    for middleware in (ToolRetryMiddleware(initial_delay=0.0, jitter=False), stubborn):
        tries.clear()
        with pytest.raises(ConfigurationError, match="no map is set"):
            traced(server, middleware, tools=[depth], rendering="tools", branches_at_once=1)
        assert len(tries) <= 2, "once in each branch"


def test_the_tool_of_a_call_is_the_calls(server: OpenAIServer):
    @tool
    def depth(place: str) -> str:
        """The depth of the sea."""
        return place

    @wrap_tool_call
    def swapping(request: Any, handler: Any) -> Any:
        return handler(request.override(tool=depth))

    with pytest.raises(ConfigurationError, match="swapping: the tool of a request is none"):
        traced(server, swapping)


def test_what_a_tool_has_injected_may_be_changed(server: OpenAIServer):
    seen: list[Any] = []

    @tool
    def depth(place: str, subtask: Annotated[str, InjectedState("subtask")]) -> str:
        """The depth of the sea."""
        seen.append(subtask)
        return f"{place}: 12 metres"

    @wrap_tool_call
    def pretending(request: Any, handler: Any) -> Any:
        return handler(request.override(state={**request.state, "subtask": "another"}))

    server.brain = calling("depth", {"place": "Fundy"})
    trace = traced(server, pretending, tools=[depth], rendering="tools")
    assert seen == ["another"] * 2
    assert trace.changed_by == ("pretending",)


def test_a_guard_that_refuses_a_call_is_named(server: OpenAIServer):
    @wrap_tool_call
    def guard(request: Any, handler: Any) -> Any:
        if request.tool_call["name"] == "crawl_page":
            raise PermissionError("no pages")
        return handler(request)

    trace = traced(server, guard)
    texts = [step.text for step in trace.steps if step.kind == "observation"]
    assert len([text for text in texts if text.startswith("This call failed: guard: ")]) == 2
    assert trace.changed_by == ("guard",)


def two_calls(messages: Any, body: Body) -> Any:
    """A brain that reads a page with each search."""
    reply = BRAIN(messages, body)
    if isinstance(reply, ToolCalls) and reply.calls[0][0] == "web_search":
        return ToolCalls((*reply.calls, ("crawl_page", {"urls": list(PAGES)[:1]})), reply.text)
    return reply


def test_a_hook_around_a_call_sees_all_calls_of_the_reply():
    counts: list[int] = []

    @wrap_tool_call
    def looking(request: Any, handler: Any) -> Any:
        said = [m for m in request.state["messages"] if isinstance(m, AIMessage)]
        ids = [call["id"] for call in said[-1].tool_calls]
        assert request.tool_call["id"] in ids
        counts.append(len(ids))
        return handler(request)

    with OpenAIServer(two_calls) as server:
        trace = traced(server, looking, rendering="tools", effort="standard")
    assert counts == [2] * len(counts)
    assert counts
    assert trace.changed_by == ()


def test_a_call_that_is_blocked_stays_so_when_one_before_it_is_taken_out():
    @after_model
    def blocks(state: Any, runtime: Any) -> dict[str, Any] | None:
        pages = [c for c in state["messages"][-1].tool_calls if c["name"] == "crawl_page"]
        results = [ToolMessage("Blocked.", tool_call_id=call["id"]) for call in pages]
        return {"messages": results} if results else None

    @after_model
    def takes_out(state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        calls = [call for call in last.tool_calls if call["name"] != "web_search"]
        return {"messages": [last.model_copy(update={"tool_calls": calls})]}

    for middleware in ([blocks, takes_out], [takes_out, blocks]):
        documents = Documents(PAGES)
        with OpenAIServer(two_calls) as server:
            trace = traced(
                server, *middleware, search=documents, rendering="tools", effort="standard"
            )
        assert documents.searched == documents.read_urls == []
        texts = [step.text for step in trace.steps if step.kind == "observation"]
        assert "Blocked." in texts[0]
        assert trace.changed_by == ("blocks", "takes_out")


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
