"""LangChain's AgentMiddleware around researchers: what it may do, what it cannot, and what the
Trace says of it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    FilesystemFileSearchMiddleware,
    HumanInTheLoopMiddleware,
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
    TodoListMiddleware,
    ToolCallLimitMiddleware,
    ToolRetryMiddleware,
    after_agent,
    after_model,
    before_agent,
    before_model,
    dynamic_prompt,
    wrap_model_call,
    wrap_tool_call,
)
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import SecretStr

from oresearch_graph import Policies, ResearchSettings, Trace, create_research_graph
from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.evidence.ledger import SourceLedger, source_block
from oresearch_graph.graph.middleware.conversation import Conversation
from oresearch_graph.graph.tool_calls import asks
from oresearch_graph.policies.chat.rendering_tools import Tools
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits
from oresearch_graph.trace import Step, parse_policy_text, text_hash, world_step
from oresearch_graph.trace.grammar import violations
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, Fault, Habits, ToolCalls

QUESTION: Any = {"question": "What causes tides?"}
TIDES = ("tides and the Moon", "tides and the Sun")
BRAIN = ResearchBrain(TIDES, calls=2)
MAIL = "tide@moon.example"
WITH_MAIL = {url: f"{text} Ask {MAIL} for more." for url, text in PAGES.items()}
RENDERINGS = {
    "turns": Habits(),
    "tools": Habits(),
    "prefill": Habits(on_final_assistant="continue"),
}


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(BRAIN) as running:
        yield running


def model(server: OpenAIServer, name: str = "fake") -> ChatOpenAI:
    return ChatOpenAI(
        model=name, base_url=server.base_url, api_key=SecretStr("none"), max_retries=0
    )


def graph(
    server: OpenAIServer, *middleware: Any, search: Any = None, tools: Sequence[Any] = (),
    **settings: Any,
) -> Any:  # fmt: skip
    values: dict[str, Any] = {"rendering": "turns", "effort": "quick"} | settings
    return create_research_graph(
        model(server), tools, middleware=middleware, search=search or Documents(PAGES),
        settings=ResearchSettings(**values),
    )  # fmt: skip


def traced(server: OpenAIServer, *middleware: Any, **options: Any) -> Trace:
    trace: Trace = graph(server, *middleware, **options).invoke(QUESTION)["trace"]
    return trace


def of_researchers(server: OpenAIServer) -> list[str]:
    """What researchers sent."""
    asked = [str(body["messages"]) for body in server.requests if "messages" in body]
    return [text for text in asked if "</subtask_list>" in text and "<suggested_answer>" not in
            text[-400:]]  # fmt: skip


def steps_of(trace: Trace) -> list[tuple[str, str]]:
    return [(step.kind, step.text) for step in trace.steps]


class Watching(AgentMiddleware[Any, Any]):
    """Hears every hook and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []
        self.requests: list[Any] = []
        self.replies: list[AIMessage] = []
        self.calls: list[Any] = []

    def before_model(self, state: Any, runtime: Any) -> None:
        assert {"question", "subtask", "branch"} <= state.keys()
        self.heard.append("before_model")

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        self.requests.append(request)
        response = await handler(request)
        self.replies += response.result
        return response

    def after_model(self, state: Any, runtime: Any) -> None:
        assert isinstance(state["messages"][-1], AIMessage)
        self.heard.append("after_model")

    def wrap_tool_call(self, request: Any, handler: Any) -> Any:
        assert request.tool.name == request.tool_call["name"]
        assert request.runtime.state["subtask"] in TIDES
        self.calls.append(request.tool_call)
        return handler(request)


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_what_only_watches_changes_nothing(rendering: str, execution: str):
    watching = Watching()
    settings: Any = {"rendering": rendering, "execution": execution}
    bodies = []
    traces = []
    for middleware in ([], [watching]):
        with OpenAIServer(BRAIN, RENDERINGS[rendering]) as server:
            traces.append(traced(server, *middleware, **settings))
            bodies.append(sorted(str(body["messages"]) for body in server.requests))
    plain, watched = traces
    assert bodies[0] == bodies[1]
    assert steps_of(plain) == steps_of(watched)
    assert plain.sources == watched.sources
    assert (watched.outcome, watched.changed_by) == (plain.outcome, ())
    assert watched.protocol.fingerprint == plain.protocol.fingerprint
    assert len(watching.calls) == 4
    assert watching.heard.count("before_model") == watching.heard.count("after_model") >= 6
    said = [call["name"] for reply in watching.replies for call in reply.tool_calls]
    assert sorted(said) == ["crawl_page"] * 2 + ["web_search"] * 2
    observations = [m for m in watching.requests[-1].messages if isinstance(m, ToolMessage)]
    assert observations
    assert all("[" in str(message.text) for message in observations)


async def test_it_is_the_same_awaited_invoked_and_resumed(server: OpenAIServer):
    subject = graph(server, Watching())
    invoked, awaited = subject.invoke(QUESTION), await subject.ainvoke(QUESTION)
    assert steps_of(invoked["trace"]) == steps_of(awaited["trace"])
    kept = create_research_graph(
        model(server), middleware=[PIIMiddleware("email")], search=Documents(WITH_MAIL),
        settings=ResearchSettings(rendering="turns", effort="quick", approve_plan=True),
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    config: Any = {"configurable": {"thread_id": "1"}}
    await kept.ainvoke(QUESTION, config)
    result = await kept.ainvoke(Command(resume={"action": "approve"}), config)
    assert result["trace"].changed_by == ("PIIMiddleware[email]",)


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_an_address_that_is_redacted_never_reaches_a_model(rendering: str, execution: str):
    with OpenAIServer(BRAIN, RENDERINGS[rendering]) as server:
        trace = traced(
            server, PIIMiddleware("email", strategy="redact"), search=Documents(WITH_MAIL),
            rendering=rendering, execution=execution,
        )  # fmt: skip
    assert trace.outcome == "complete"
    assert MAIL not in str(server.requests)
    assert "[REDACTED_EMAIL]" in str(server.requests)
    assert MAIL not in trace.model_dump_json()
    assert trace.changed_by == ("PIIMiddleware[email]",)
    assert all("[REDACTED_EMAIL]" in source.text for source in trace.sources or ())
    assert trace.citations
    assert all(claim.status != "dangling" for claim in trace.citations.claims)


def test_several_observations_of_one_reply_are_all_redacted():
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "web_search":
            return ToolCalls((*reply.calls, ("crawl_page", {"urls": list(PAGES)[:1]})), reply.text)
        return reply

    with OpenAIServer(brain) as server:
        trace = traced(
            server, PIIMiddleware("email"), search=Documents(WITH_MAIL), rendering="tools"
        )
    assert MAIL not in str(server.requests)
    assert sum("[REDACTED_EMAIL]" in s.text for s in trace.steps if s.kind == "observation") >= 4


def test_a_page_that_imitates_heads_of_sources_hides_no_address(server: OpenAIServer):
    heads = "".join(
        f"\n[{1000 * branch + nth}] x\n{url}\n{MAIL} again\n"
        for branch in (1, 2) for nth in (1, 2, 3) for url in PAGES
    )  # fmt: skip
    pages = {url: f"{text}{heads}Write to {MAIL}." for url, text in PAGES.items()}
    trace = traced(server, PIIMiddleware("email"), search=Documents(pages))
    assert MAIL not in trace.model_dump_json()
    assert MAIL not in str(server.requests)


def test_a_ledger_keeps_of_an_observation_what_it_shows():
    ledger = SourceLedger(1)
    ledger.show("https://a.example", "Said elsewhere.", title="A")
    blocks = [
        source_block(ledger.show(url, text, title=url[8:]), text)
        for url, text in {
            "https://a.example": "Write to a@b.example.", "https://b.example": "B is here.",
            "https://c.example": "C is here.",
        }.items()
    ]  # fmt: skip
    before = "\n\n".join(blocks)
    assert ledger.copy().reshow(before, before) == [1001, 1002, 1003]
    after = "\n\n".join([blocks[0].replace("a@b.example", "[MAIL]"), blocks[2]])
    copy = ledger.copy()
    assert copy.reshow(before, after) == [1001, 1003]
    assert [source.url for source in copy.sources] == ["https://a.example", "https://c.example"]
    assert copy.sources[0].text.split("\n[…]\n") == ["Said elsewhere.", "Write to [MAIL]."]
    assert copy.sources[0].sha256 == text_hash(copy.sources[0].text)
    assert len(ledger.sources) == 3, "the first stays as it was"


def test_a_run_with_middleware_does_not_go_on_without(server: OpenAIServer):
    keeps = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    begun, resumed = (
        create_research_graph(
            model(server), middleware=middleware, search=Documents(WITH_MAIL), checkpointer=keeps,
            settings=ResearchSettings(rendering="turns", effort="quick", approve_plan=True),
        )
        for middleware in ([PIIMiddleware("email")], [])
    )  # fmt: skip
    begun.invoke(QUESTION, config)
    approved: Any = Command(resume={"action": "approve"})
    with pytest.raises(ConfigurationError, match=r"begun with middleware=PIIMiddleware\[email\]"):
        resumed.invoke(approved, config)


def test_what_is_blocked_ends_the_branch_by_name(server: OpenAIServer):
    trace = traced(server, PIIMiddleware("email", strategy="block"), search=Documents(WITH_MAIL))
    assert MAIL not in str(server.requests)
    messages = [f.message for f in trace.failures if f.role == "researcher" and f.branch]
    assert any(m.startswith("PIIMiddleware[email]: Detected") for m in messages)
    assert trace.outcome == "failed"


def test_what_a_researcher_says_may_be_redacted(server: OpenAIServer):
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        return reply.replace("is what the sources", f"({MAIL}) is what the sources")  # type: ignore[union-attr]

    server.brain = brain
    trace = traced(server, PIIMiddleware("email", apply_to_output=True))
    answers = [step for step in trace.steps if step.kind == "subtask_answer"]
    assert len(answers) == 2
    assert all("[REDACTED_EMAIL]" in step.text and MAIL not in step.text for step in answers)
    assert trace.changed_by == ("PIIMiddleware[email]",)


def refusing_researchers(body: Body) -> Fault | None:
    text = str(body.get("messages"))
    ends = text[-60:]
    asks = "</subtask_list>" in text and "suggested_answer>" not in ends
    return Fault("status", 401) if asks else None


def test_another_model_answers_where_the_first_refuses(server: OpenAIServer):
    server.fault_for = refusing_researchers
    with OpenAIServer(BRAIN, models=("other",)) as second:
        trace = traced(server, ModelFallbackMiddleware(model(second, "other")))
    assert trace.outcome == "complete"
    assert trace.models == {"planner": "fake", "researcher": "other", "summarizer": "fake"}
    assert trace.changed_by == ()
    by_model = {(u.role, u.branch, u.model): u for u in trace.usage if u.role == "researcher"}
    for branch in (1, 2):
        refused = by_model["researcher", branch, "fake"]
        assert (refused.calls, refused.unanswered) == (3, 3)
        assert by_model["researcher", branch, "other"].calls == 3
    asked = [body for body in second.requests if "messages" in body]
    assert len(asked) == 6


def test_the_budget_counts_what_middleware_tries(server: OpenAIServer):
    """Ten calls: two are the planner's and a report's, and no retry is free."""
    server.fault_for = refusing_researchers
    retry = ModelRetryMiddleware(max_retries=50, initial_delay=0.0, jitter=False)
    trace = traced(server, retry, max_model_calls=10)
    asked = [body for body in server.requests if "messages" in body]
    assert sum(usage.calls for usage in trace.usage) == len(asked) <= 10
    names = {f.name for f in trace.failures if f.role == "researcher"}
    assert "budget" in names


def test_words_about_an_error_are_no_answer(server: OpenAIServer):
    server.fault_for = refusing_researchers
    retry = ModelRetryMiddleware(max_retries=1, initial_delay=0.0, jitter=False)
    trace = traced(server, retry)
    assert "Model call failed" not in str(steps_of(trace))
    assert {f.name for f in trace.failures if f.branch} == {"model_error"}
    assert trace.changed_by == ()
    assert len(of_researchers(server)) == 4


def test_a_model_without_a_price_is_not_asked_where_money_is_limited(server: OpenAIServer):
    server.fault_for = refusing_researchers
    with OpenAIServer(BRAIN, models=("other",)) as second:
        subject = graph(
            server, ModelFallbackMiddleware(model(second, "other")), max_cost=1.0,
            prices={"fake": [1, 1, 1]},
        )  # fmt: skip
        with pytest.raises(ConfigurationError, match="the price of other is not known"):
            subject.invoke(QUESTION)
    assert not [body for body in second.requests if "messages" in body]


def test_settings_of_a_request_are_sent_and_mark_the_trace(server: OpenAIServer):
    @wrap_model_call
    def seeded(request: Any, handler: Any) -> Any:
        return handler(request.override(model_settings={"seed": 7}))

    trace = traced(server, seeded)
    assert sum(body.get("seed") == 7 for body in server.requests) == 6
    assert trace.outcome == "complete"
    assert trace.changed_by == ("seeded",)


@pytest.mark.parametrize("most", [2, 3])
def test_a_limit_of_model_calls_ends_in_an_answer(server: OpenAIServer, most: int):
    server.brain = ResearchBrain(TIDES, calls=9)
    trace = traced(server, ModelCallLimitMiddleware(run_limit=most), effort="standard")
    assert trace.outcome == "complete"
    calls = [u.calls for u in trace.usage if u.role == "researcher"]
    assert calls == [most, most]
    assert [v.code for v in violations(trace)] == []
    assert trace.changed_by == ()


@pytest.mark.parametrize("behavior", ["end", "error"])
def test_a_limit_that_leaves_no_answer_is_named(server: OpenAIServer, behavior: Any):
    trace = traced(server, ModelCallLimitMiddleware(run_limit=1, exit_behavior=behavior))
    assert [u.calls for u in trace.usage if u.role == "researcher"] == [1, 1]
    failures = [f for f in trace.failures if f.branch]
    assert all("ModelCallLimitMiddleware" in f.message for f in failures)
    assert all("run limit (1/1)" in f.message for f in failures)
    assert {f.name for f in failures} == {"not_covered" if behavior == "end" else "model_error"}
    assert len([step for step in trace.steps if step.kind == "observation"]) == 2
    assert trace.outcome == "failed"


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


def test_a_source_that_is_no_longer_shown_is_none(server: OpenAIServer):
    @wrap_tool_call
    def first_only(request: Any, handler: Any) -> Any:
        message = handler(request)
        first, gap, rest = str(message.text).partition("\n\n[")
        second, *_ = rest.partition("\n\n[")
        return message.model_copy(update={"content": f"{first}{gap}{second}"})

    trace = traced(server, first_only)
    assert trace.outcome == "complete"
    shown = "".join(step.text for step in trace.steps if step.kind == "observation")
    assert trace.sources
    assert all(f"[{source.id}]" in shown for source in trace.sources)
    assert len(trace.sources) == 2
    assert trace.changed_by == ("first_only",)


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


def test_a_prompt_and_messages_may_be_changed_for_one_request(server: OpenAIServer):
    @dynamic_prompt
    def brisk(request: Any) -> str:
        return f"{request.system_prompt}\nBe brisk."

    @wrap_model_call
    async def reminded(request: Any, handler: Any) -> Any:
        return await handler(
            request.override(messages=[*request.messages, HumanMessage("Mind the Sun.")])
        )

    trace = traced(server, brisk, reminded)
    sent = of_researchers(server)
    assert len(sent) == 6
    assert all("Be brisk." in text and text.count("Mind the Sun.") == 1 for text in sent)
    assert "Mind the Sun" not in str(steps_of(trace))
    assert trace.changed_by == ("brisk", "reminded")
    plain = trace.protocol.model_copy(update={"changed_by": ()})
    assert trace.protocol.fingerprint != plain.fingerprint


def test_old_observations_may_be_cleared_for_a_request(server: OpenAIServer):
    edit = ClearToolUsesEdit(trigger=1, keep=0, placeholder="[cleared]")
    trace = traced(server, ContextEditingMiddleware(edits=[edit]))
    assert any("[cleared]" in text for text in of_researchers(server))
    assert "[cleared]" not in str(steps_of(trace)), "the record has what tools brought"
    assert trace.changed_by == ("ContextEditingMiddleware",)


def test_a_reply_may_be_written_anew(server: OpenAIServer):
    @wrap_model_call
    async def answering(request: Any, handler: Any) -> Any:
        if any(isinstance(message, ToolMessage) for message in request.messages):
            text = "<think>Enough.</think>\n<subtask_answer>The Moon [1001][2001].</subtask_answer>"
            return AIMessage(text)
        call = {"name": "web_search", "args": {"queries": ["Moon"]}, "id": "x"}
        return AIMessage("I search.", tool_calls=[call])

    trace = traced(server, answering)
    kinds = [step.kind for step in trace.branches[1]]
    assert kinds == ["subtask", "think", "web_search", "observation", "think", "subtask_answer"]
    assert of_researchers(server) == []
    assert trace.changed_by == ("answering",)


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


def test_the_first_is_outermost(server: OpenAIServer):
    order: list[str] = []

    def named(name: str) -> Any:
        class Named(AgentMiddleware[Any, Any]):
            @property
            def name(self) -> str:
                return name

            async def abefore_model(self, state: Any, runtime: Any) -> None:
                order.append(f"before {name}")

            async def awrap_model_call(self, request: Any, handler: Any) -> Any:
                order.append(f"in {name}")
                response = await handler(request)
                order.append(f"out {name}")
                return response

            async def aafter_model(self, state: Any, runtime: Any) -> None:
                order.append(f"after {name}")

        return Named()

    server.brain = ResearchBrain(TIDES[:1], calls=1)
    traced(server, named("a"), named("b"))
    assert order[:8] == [
        "before a", "before b", "in a", "in b", "out b", "out a", "after b", "after a",
    ]  # fmt: skip


class Counting(AgentState[Any]):
    turns: NotRequired[Annotated[int, PrivateStateAttr]]


def test_state_that_is_its_own_is_kept_for_each_branch(server: OpenAIServer):
    counts: list[int] = []

    @after_model(state_schema=Counting)
    def count(state: Any, runtime: Any) -> dict[str, Any]:
        counts.append(state.get("turns", 0) + 1)
        return {"turns": counts[-1]}

    trace = traced(server, count)
    assert sorted(counts) == [1, 1, 2, 2, 3, 3]
    assert trace.changed_by == ()


class Given(AgentState[Any]):
    user: str


class Reduced(AgentState[Any]):
    notes: NotRequired[Annotated[list[str], lambda a, b: a + b, PrivateStateAttr]]


class Unknown(AgentMiddleware[Any, Any]):
    """Has a hook that later versions of LangChain may add."""


def _none(state: Any, runtime: Any) -> None: ...


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no middleware": (lambda: print, "middleware cannot be builtin_function_or_method: give"),
    "before_agent": (
        lambda: before_agent(name="Mine")(_none),
        "middleware Mine: before_agent is not supported around researchers: a researcher begins",
    ),
    "after_agent": (
        lambda: after_agent(name="Mine")(_none),
        "middleware Mine: after_agent is not supported around researchers: a researcher ends",
    ),
    "tools": (lambda: TodoListMiddleware(), "TodoListMiddleware: tools are not .*write_todos"),
    "file tools": (
        lambda: FilesystemFileSearchMiddleware(root_path="."), "tools are not taken from"
    ),
    "interrupts": (
        lambda: HumanInTheLoopMiddleware(interrupt_on={"web_search": True}),
        "HumanInTheLoopMiddleware is not supported: .* set approve_plan",
    ),
    "forgets": (
        lambda: SummarizationMiddleware(ChatOpenAI(model="x", api_key=SecretStr("x"))),
        "SummarizationMiddleware is not supported: its before_model takes messages away",
    ),
    "chooses tools": (
        lambda: LLMToolSelectorMiddleware(), "LLMToolSelectorMiddleware is not supported"
    ),
    "jumps": (
        lambda: after_model(name="Mine", can_jump_to=["model"])(_none),
        "middleware Mine: after_model may jump to model: .*can_jump_to",
    ),
    "state of a caller": (
        lambda: before_model(name="Mine", state_schema=Given)(_none),
        "middleware Mine: state_schema has user: nobody can give it",
    ),
    "state with a reducer": (
        lambda: before_model(name="Mine", state_schema=Reduced)(_none),
        "middleware Mine: state_schema has notes: a reducer is not applied",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_stand_around_a_researcher_is_refused_at_construction(case: str):
    make, message = REFUSED[case]
    with pytest.raises(ConfigurationError, match=message) as refusal:
        create_research_graph("openai:x", middleware=[make()])
    assert "\n" not in str(refusal.value)


def test_a_hook_of_a_later_version_is_refused_by_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(AgentMiddleware, "around_everything", _none, raising=False)
    monkeypatch.setattr(Unknown, "around_everything", lambda self: None, raising=False)
    with pytest.raises(ConfigurationError, match="Unknown: around_everything is not supported"):
        create_research_graph("openai:x", middleware=[Unknown()])


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["think", "web_search", "crawl_page", "look_up", "stray", "subtask"]),
        st.text("ab |<>/&=\n{}", max_size=12), st.integers(1, 2),
    ),
    max_size=9,
)  # fmt: skip


@given(STEPS, st.sets(st.integers(0, 12)), st.integers(0, 9), st.text(max_size=9))
def test_messages_that_nobody_changed_are_the_thread(
    parts: list[tuple[str, str, int]], begins: set[int], start: int, pending: str
):
    steps: list[Step] = []
    for tag, text, branch in parts:
        text = f"<{tag}>{text}</{tag}>" if tag != "stray" else text
        for step in parse_policy_text(text, ("look_up",)):
            steps.append(step.model_copy(update={"branch": branch}))
            if asks(step):
                steps.append(world_step("observation", f"Of {text}", branch=branch))
    thread = Thread(
        id="t", system="s", question="q", role="researcher", branch=1, steps=tuple(steps),
        pending=pending,
    )  # fmt: skip
    conversation = Conversation(thread, Tools(("look_up",)), start, begins)
    assert conversation.edited(conversation.messages, conversation.system) == thread
    calls = [c["id"] for m in conversation.messages for c in getattr(m, "tool_calls", ())]
    answers = [m.tool_call_id for m in conversation.messages if isinstance(m, ToolMessage)]
    assert len(answers) == len(set(answers)) == sum(map(asks, steps))
    assert set(calls) <= set(answers)


def test_two_of_one_name_are_refused():
    twice = [ModelCallLimitMiddleware(run_limit=2), ModelCallLimitMiddleware(run_limit=3)]
    with pytest.raises(ConfigurationError, match="ModelCallLimitMiddleware is given twice"):
        create_research_graph("openai:x", middleware=twice)


def test_middleware_around_a_model_needs_one(server: OpenAIServer):
    limit = ModelCallLimitMiddleware(run_limit=2)
    with pytest.raises(ConfigurationError, match="stands around a chat model, and researchers are"):
        create_research_graph(Policies.single(ExtractivePolicy()), middleware=[limit])
    without = create_research_graph(middleware=[limit], search=Documents(PAGES))
    with pytest.raises(ConfigurationError, match="give a model, or middleware with wrap_tool_call"):
        without.invoke(QUESTION)
    watched: list[str] = []

    @wrap_tool_call
    def watching(request: Any, handler: Any) -> Any:
        watched.append(request.tool_call["name"])
        return handler(request)

    alone = create_research_graph(middleware=[watching], search=Documents(PAGES))
    assert alone.invoke(QUESTION)["trace"].outcome == "complete"
    assert watched


FORBIDDEN: dict[str, tuple[Callable[[], Any], str]] = {
    "takes messages away": (
        lambda: before_model(name="Mine")(
            lambda state, runtime: {"messages": [RemoveMessage(id=state["messages"][0].id)]}
        ),
        "Mine adds or takes away messages",
    ),
    "adds messages": (
        lambda: before_model(name="Mine")(
            lambda state, runtime: {"messages": [HumanMessage("And?")]}
        ),
        "Mine adds or takes away messages",
    ),
    "sets unknown state": (
        lambda: before_model(name="Mine")(lambda state, runtime: {"files": {}}),
        "Mine sets files, which a researcher has not",
    ),
    "returns no dict": (
        lambda: before_model(name="Mine")(lambda state, runtime: Command(goto="end")),
        "Mine returns a Command: let it return a dict or None",
    ),
    "jumps elsewhere": (
        lambda: before_model(name="Mine")(lambda state, runtime: {"jump_to": "tools"}),
        "Mine sets jump_to=tools, which a researcher has not",
    ),
    "changes tools": (
        lambda: wrap_model_call(name="Mine")(
            lambda request, handler: handler(request.override(tools=[]))
        ),
        "middleware changes tools, tool_choice or response_format",
    ),
}


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_middleware_must_not_do_ends_the_run_by_name(server: OpenAIServer, case: str):
    make, message = FORBIDDEN[case]
    with pytest.raises(ConfigurationError, match=message):
        traced(server, make())


def test_what_steers_the_graph_is_a_failed_call(server: OpenAIServer):
    @wrap_tool_call
    def steering(request: Any, handler: Any) -> Any:
        return {"goto": "end"}

    trace = traced(server, steering)
    messages = [f.message for f in trace.failures if f.name == "tool_error"]
    assert all("steering: wrap_tool_call returns no ToolMessage" in m for m in messages)
    assert messages


def test_without_middleware_langchains_agents_are_not_loaded():
    code = (
        "import sys, oresearch_graph as o; o.create_research_graph();"
        "assert 'langchain.agents' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("rendering", RENDERINGS)
def test_an_answer_that_was_asked_for_may_be_rewritten(rendering: str):
    @wrap_model_call
    def louder(request: Any, handler: Any) -> Any:
        (message,) = handler(request).result
        return message.model_copy(update={"content": str(message.text).replace("say", "SAY")})

    with OpenAIServer(ResearchBrain(TIDES, calls=9), RENDERINGS[rendering]) as server:
        limit = ModelCallLimitMiddleware(run_limit=2)
        trace = traced(server, louder, limit, rendering=rendering, effort="standard")
    answers = [step for step in trace.steps if step.kind == "subtask_answer"]
    assert [("SAY" in step.text, step.opened) for step in answers] == [(True, "world")] * 2
    assert [v.code for v in violations(trace)] == []
    assert trace.changed_by == ("louder",)


def test_a_model_of_another_rendering_goes_on_with_the_thread():
    with (
        OpenAIServer(BRAIN, RENDERINGS["prefill"]) as first,
        OpenAIServer(BRAIN, Habits(on_final_assistant="refuse"), models=("other",)) as second,
    ):
        first.fault_for = refusing_researchers
        fallback = ModelFallbackMiddleware(model(second, "other"))
        trace = traced(first, fallback, rendering="auto")
    assert trace.outcome == "complete"
    assert trace.models["researcher"] == "other"
    assert any("continue_final_message" in body for body in first.requests)
