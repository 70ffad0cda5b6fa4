"""LangChain's AgentMiddleware around a researcher's model, and what the Trace says of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain.agents.middleware import (
    AgentMiddleware,
    AgentState,
    ClearToolUsesEdit,
    ContextEditingMiddleware,
    ExtendedModelResponse,
    ModelCallLimitMiddleware,
    PIIMiddleware,
    after_model,
    before_model,
    dynamic_prompt,
    wrap_model_call,
)
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import (
    AIMessage,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
    convert_to_openai_messages,
)
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.graph.middleware.conversation import Conversation
from oresearch_graph.graph.tool_calls import asks
from oresearch_graph.policies.chat.rendering_tools import Tools
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, parse_policy_text, world_step
from oresearch_graph.trace.grammar import violations
from tests.helpers.middleware_runs import (
    BRAIN,
    QUESTION,
    RENDERINGS,
    TIDES,
    WITH_MAIL,
    graph,
    model,
    of_researchers,
    steps_of,
    traced,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import Documents
from tests.helpers.server_habits import Body


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
    assert all(reply.usage_metadata for reply in watching.replies)
    assert {reply.response_metadata["model_name"] for reply in watching.replies} == {"fake"}
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
        model(server), search=Documents(WITH_MAIL),
        middleware=[PIIMiddleware("email", apply_to_tool_results=True)],
        settings=ResearchSettings(rendering="turns", effort="quick", approve_plan=True),
        checkpointer=InMemorySaver(),
    )  # fmt: skip
    config: Any = {"configurable": {"thread_id": "1"}}
    await kept.ainvoke(QUESTION, config)
    result = await kept.ainvoke(Command(resume={"action": "approve"}), config)
    assert result["trace"].changed_by == ("PIIMiddleware[email]",)


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
    observations = [step.text for step in trace.steps if step.kind == "observation"]
    assert len(observations) == 2
    assert "model call is left" not in "".join(observations)
    assert "withheld" not in "".join(observations)
    assert trace.outcome == "failed"


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


@pytest.mark.parametrize("rendering", ["turns", "tools"])
def test_messages_that_a_hook_makes_anew_are_the_same(rendering: str):
    """Without ids, as from a format of another library."""

    @wrap_model_call
    def anew(request: Any, handler: Any) -> Any:
        plain = convert_to_openai_messages(request.messages)
        return handler(request.override(messages=convert_to_messages(plain)))

    bodies = []
    for middleware in ([], [anew]):
        with OpenAIServer(BRAIN) as server:
            trace = traced(server, *middleware, rendering=rendering)
            bodies.append(sorted(str(body["messages"]) for body in server.requests))
    assert bodies[0] == bodies[1]
    assert trace.changed_by == ()


@pytest.mark.parametrize("content", ["", "<think>One.</think>\n<plan>Two.</plan>"])
def test_an_earlier_reply_may_be_made_of_other_steps(server: OpenAIServer, content: str):
    """The steps of the branch are those that it had, and its answer among them."""

    @before_model
    def terse(state: Any, runtime: Any) -> dict[str, Any] | None:
        said = [m for m in state["messages"] if isinstance(m, AIMessage) and m.tool_calls]
        shorter = [message.model_copy(update={"content": content}) for message in said[:1]]
        return {"messages": shorter} if shorter else None

    @after_model
    def watching(state: Any, runtime: Any) -> None: ...

    trace = traced(server, terse, watching)
    for branch in (1, 2):
        assert [step.kind for step in trace.branches[branch]] == [
            "subtask", "think", "web_search", "observation", "think", "crawl_page", "observation",
            "think", "subtask_answer",
        ]  # fmt: skip
    assert trace.changed_by == ("terse",)


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


def test_an_answer_that_was_cut_stays_so_when_it_is_rewritten():
    @wrap_model_call
    def louder(request: Any, handler: Any) -> Any:
        (message,) = handler(request).result
        return message.model_copy(update={"content": str(message.text).replace("say", "SAY")})

    def brain(messages: Any, body: Body) -> Any:
        words = " ".join(f"say{n}" for n in range(900))
        return str(BRAIN(messages, body)).replace("this is what the sources say", words)

    with OpenAIServer(brain) as server:
        trace = traced(server, louder, continuations=0, max_output_tokens=500)
    cut = [failure for failure in trace.failures if failure.name == "cut" and failure.branch]
    assert len(cut) == 2
    answers = [step for step in trace.steps if step.kind == "subtask_answer"]
    assert [("SAY" in step.text, step.closed) for step in answers] == [(True, None)] * 2


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


def test_a_response_may_set_state_that_is_its_own(server: OpenAIServer):
    counts: list[int] = []

    @wrap_model_call(state_schema=Counting)
    async def count(request: Any, handler: Any) -> Any:
        nth = request.state.get("turns", 0) + 1
        counts.append(nth)
        return ExtendedModelResponse(await handler(request), Command(update={"turns": nth}))

    trace = traced(server, count)
    assert sorted(counts) == [1, 1, 2, 2, 3, 3]
    assert trace.changed_by == ()


def test_hooks_and_the_model_share_the_time_of_a_step(server: OpenAIServer):
    """Each of them alone would have been in time."""

    @before_model
    async def slow(state: Any, runtime: Any) -> None:
        await asyncio.sleep(0.6)

    @after_model
    async def slow_too(state: Any, runtime: Any) -> None:
        await asyncio.sleep(0.6)

    trace = traced(server, slow, slow_too, subtask_timeout=1.0)
    assert {f.name for f in trace.failures if f.branch} == {"timeout"}
    assert len(of_researchers(server)) == 2
    assert "web_search" not in [step.kind for step in trace.steps]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["think", "web_search", "crawl_page", "look_up", "stray", "subtask"]),
        st.text("ab |<>/&=\n{}", max_size=12), st.integers(1, 2),
    ),
    max_size=9,
)  # fmt: skip


@given(STEPS, st.booleans(), st.none() | st.integers(0, 12), st.text(max_size=9))
def test_messages_that_nobody_changed_are_the_thread(
    parts: list[tuple[str, str, int]], opens: bool, reply: int | None, pending: str
):
    steps: list[Step] = []
    if opens:
        steps += [world_step("subtask_list", "1. a"), world_step("subtask", "a", branch=1)]
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
    conversation = Conversation(thread, Tools(("look_up",)), reply)
    assert conversation.edited(conversation.messages) == thread
    anonymous = [m.model_copy(update={"id": None}) for m in conversation.messages]
    assert conversation.edited(anonymous) == thread
    told = [m for m in conversation.messages if isinstance(m, HumanMessage)]
    assert len(told) == 1, "what reads the last of them reads all that a researcher is given"
    calls = [c["id"] for m in conversation.messages for c in getattr(m, "tool_calls", ())]
    answers = [m.tool_call_id for m in conversation.messages if isinstance(m, ToolMessage)]
    assert len(answers) == len(set(answers)) == sum(map(asks, steps))
    assert set(calls) <= set(answers)


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
