"""ChatPolicy against a real loopback server, in all three renderings."""

import asyncio
import itertools
from typing import Any, TypedDict, cast

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, StateGraph

from oresearch_graph.errors import PolicyRefused
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.probe import PROBES
from oresearch_graph.threads import Thread, visible
from oresearch_graph.trace import Step, world_step
from oresearch_graph.trace.tags import parse_policy_text
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import INVENTED, ResearchBrain, research_brain
from tests.helpers.server_habits import (
    Habits,
    Thinking,
    ToolCalls,
)

CALLS = ("</web_search>", "</crawl_page>", "</subtask_answer>")
RENDERINGS = ("prefill", "turns", "tools")
OBSERVATION = "\n[1001] A title\nhttps://example.org/page\nSome text.\n"


@pytest.fixture(autouse=True)
def _no_probes_from_other_tests() -> None:
    PROBES.forget()


def thread(role: Any = "researcher", **more: Any) -> Thread:
    branch = 1 if role == "researcher" else None
    return Thread(id="t", system="You research.", question="Why?", role=role, branch=branch, **more)


def policy(server: OpenAIServer, **more: Any) -> ChatPolicy:
    return ChatPolicy("fake", base_url=server.base_url, timeout=10.0, **more)


def habits(rendering: str, **more: Any) -> Habits:
    return Habits(on_final_assistant="continue" if rendering == "prefill" else "restart", **more)


async def research(policy: ChatPolicy, *, on_text: Any = None) -> list[Step]:
    """A parallel run with one subtask, the loop of the graph in small."""
    steps: list[Step] = []

    async def go_on(role: Any, stop: tuple[str, ...]) -> list[Step]:
        branch = 1 if role == "researcher" else None
        shown = visible(steps, role, branch, "parallel")
        made = await policy.continue_thread(thread(role, steps=shown), stop, on_text=on_text)
        if made.hidden_reasoning:
            steps.append(world_step("think", "", branch=branch))
        wrote = [s.model_copy(update={"branch": branch}) for s in parse_policy_text(made.text)]
        steps.extend(wrote)
        return wrote

    await go_on("planner", ("</subtask_list>",))
    steps.append(world_step("subtask", "What it is", branch=1))
    for _ in range(8):
        last = (await go_on("researcher", CALLS))[-1]
        if last.kind == "subtask_answer":
            break
        steps.append(world_step("observation", OBSERVATION, branch=1))
    await go_on("summarizer", ("</suggested_answer>",))
    return steps


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_a_run_gives_the_same_steps_in_every_rendering(rendering: Any, streams: bool) -> None:
    heard: list[str] = []
    with OpenAIServer(ResearchBrain(subtasks=("What it is",)), habits(rendering)) as server:
        steps = await research(
            policy(server, rendering=rendering), on_text=heard.append if streams else None
        )
    kinds = [step.kind for step in steps if step.text.strip() or step.kind != "stray"]
    assert kinds == [
        "subtask_list", "subtask", "think", "web_search", "observation", "think", "crawl_page",
        "observation", "think", "subtask_answer", "suggested_answer",
    ]  # fmt: skip
    assert steps[3].text == "What it is"
    assert steps[6].text == "https://example.org/page"
    assert "[1001]" in steps[-1].text
    assert "INVENTED" not in "".join(step.text for step in steps)
    assert "INVENTED" not in "".join(heard)
    assert bool(heard) is streams


@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_later_prompts_extend_earlier_ones(rendering: Any) -> None:
    with OpenAIServer(ResearchBrain(subtasks=("One",)), habits(rendering)) as server:
        await research(policy(server, rendering=rendering))
        turns = server.requests[1:4]
    for before, after in itertools.pairwise(turns):
        if rendering == "prefill":
            assert after["messages"][2]["content"].startswith(before["messages"][2]["content"])
        else:
            assert after["messages"][: len(before["messages"])] == before["messages"]


@pytest.mark.parametrize(
    ("keeps", "names", "honours"),
    [(True, True, True), (False, True, True), (False, False, True), (True, True, False)],
)
@pytest.mark.parametrize("rendering", ["prefill", "turns"])
async def test_the_stop_tag_is_there_whatever_the_server_does(
    rendering: Any, keeps: bool, names: bool, honours: bool
) -> None:
    servant = habits(rendering, keeps_stop=keeps, names_stop=names, honours_stop=honours)
    with OpenAIServer(lambda *_: "<think>x</think><web_search>a" + INVENTED, servant) as server:
        unfinished = await policy(server, rendering=rendering).continue_thread(thread(), CALLS)
    with OpenAIServer(
        lambda *_: "<think>x</think><web_search>a</web_search>" + INVENTED, servant
    ) as server:
        made = await policy(server, rendering=rendering).continue_thread(thread(), CALLS)
    assert made.text == "<think>x</think><web_search>a</web_search>"
    assert made.stop == "stop"
    sent_with_include = rendering == "prefill" and keeps
    assert made.closed_by_world is (honours and not sent_with_include)
    if names:
        assert unfinished.stop == "end"
        assert not unfinished.closed_by_world


@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_a_forced_answer_is_continued_inside_its_tag(rendering: Any) -> None:
    steps = (world_step("subtask", "One", branch=1),)
    forced = thread(steps=steps, forced="subtask_answer")
    heard: list[str] = []
    brain = research_brain
    with OpenAIServer(
        lambda m, b: ("" if rendering == "prefill" else "\n<subtask_answer>") + str(brain(m, b)),
        habits(rendering),
    ) as server:
        made = await policy(server, rendering=rendering).continue_thread(
            forced, ("</subtask_answer>",), on_text=heard.append
        )
        sent = server.requests[-1]
    assert made.text.count("<subtask_answer>") == 0
    assert made.text.strip().startswith("One: this is what")
    assert made.text.endswith("</subtask_answer>")
    assert "<subtask_answer>" not in "".join(heard)
    assert "tools" not in sent
    if rendering == "prefill":
        assert sent["messages"][-1]["content"].endswith("\n\n<subtask_answer>")


@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_cut_text_is_continued(rendering: Any) -> None:
    """Law: what is pending plus what comes is one element."""

    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        said = "".join(str(m["content"]) for m in messages if m["role"] == "assistant")
        whole = "<suggested_answer>" + "word " * 40 + "end</suggested_answer>"
        return whole[whole.index(said) + len(said) :] if said else whole

    with OpenAIServer(brain, habits(rendering)) as server:
        chat = policy(server, rendering=rendering, max_output_tokens=20)
        text, stop = "", "length"
        for _ in range(6):
            made = await chat.continue_thread(
                thread("summarizer", pending=text), ("</suggested_answer>",)
            )
            text, stop = text + made.text, made.stop
            if stop != "length":
                break
    assert stop == "stop"
    assert text.replace(" ", "").count("word") == 40
    assert text.endswith("end</suggested_answer>")


@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_corrections_are_shown(rendering: Any) -> None:
    tried = thread(corrections=(("<web_search></web_search>", "the search holds no query."),))
    with OpenAIServer(research_brain, habits(rendering)) as server:
        await policy(server, rendering=rendering).continue_thread(tried, CALLS)
        messages = server.requests[-1]["messages"]
    assert "the search holds no query." in str(messages)
    if rendering == "prefill":
        assert len(messages) == 2
    else:
        assert messages[-2] == {"role": "assistant", "content": "<web_search></web_search>"}
        assert messages[-1]["role"] == "user"


@pytest.mark.parametrize(
    ("on_final", "rendering"),
    [
        ("continue", "prefill"),
        ("echo", "prefill"),
        ("restart", "turns"),
        ("refuse", "turns"),
    ],
)
async def test_one_probe_decides_for_all(on_final: Any, rendering: str) -> None:
    with OpenAIServer(research_brain, Habits(on_final_assistant=on_final)) as server:
        chats = [policy(server) for _ in range(4)]
        assert chats[0].rendering_reason is None
        made = await asyncio.gather(
            *(chat.continue_thread(thread("planner"), ("</subtask_list>",)) for chat in chats)
        )
        assert len(server.requests) == 5
    assert str(chats[0].rendering_reason).startswith(f"{rendering}: the server ")
    assert sum(one.usage.calls for one in made) == 5
    assert sum(one.usage.unanswered for one in made) == (on_final == "refuse")


async def test_a_probe_that_failed_is_asked_again() -> None:
    with OpenAIServer(research_brain, models=("other",)) as server:
        chat = policy(server)
        with pytest.raises(PolicyRefused, match="does not exist"):
            await chat.settle()
        server.models = ("fake",)
        assert (await chat.settle()).startswith("turns")


async def test_a_model_that_refuses_stop_is_asked_without() -> None:
    with OpenAIServer(research_brain, Habits(refuses_stop=True)) as server:
        chat = policy(server, rendering="turns")
        for _ in range(2):
            made = await chat.continue_thread(thread("planner"), ("</subtask_list>",))
            assert made.text.endswith("</subtask_list>")
        assert ["stop" in body for body in server.requests] == [True, False, False]


@pytest.mark.parametrize("streams", [False, True])
async def test_usage_and_cost(streams: bool) -> None:
    with OpenAIServer(research_brain) as server:
        chat = policy(server, rendering="turns", price=Price(1.0, 0.5, 2.0))
        listener = (lambda _: None) if streams else None
        first, second = [
            (await chat.continue_thread(thread("planner"), ("</subtask_list>",), on_text=listener))
            .usage
            for _ in range(2)
        ]  # fmt: skip
    assert (first.cached_tokens, second.cached_tokens) == (0, second.prompt_tokens)
    assert second.calls == 1
    assert second.prompt_tokens
    assert second.completion_tokens
    expected = (second.prompt_tokens * 0.5 + second.completion_tokens * 2.0) / 1e6
    assert second.cost == pytest.approx(expected)


async def test_usage_that_the_server_keeps_is_none() -> None:
    with OpenAIServer(research_brain, Habits(usage=False)) as server:
        chat = policy(server, rendering="turns")
        usage = (await chat.continue_thread(thread("planner"), ("</subtask_list>",))).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cost) == (None, None, None)


@pytest.mark.parametrize("streams", [False, True])
async def test_thinking_that_the_server_delivers_apart(streams: bool) -> None:
    def brain(*_: Any) -> Thinking:
        return Thinking("Let me see.", "<web_search>a</web_search>")

    listener = (lambda _: None) if streams else None
    with OpenAIServer(brain) as server:
        chat = policy(server, rendering="turns")
        turn = await chat.continue_thread(thread(), CALLS, on_text=listener)
        plan = await chat.continue_thread(thread("planner"), CALLS, on_text=listener)
    assert turn.text == "\n<think>Let me see.</think>\n<web_search>a</web_search>"
    assert turn.reasoning is None
    assert (plan.text, plan.reasoning) == ("<web_search>a</web_search>", "Let me see.")


async def test_hidden_reasoning_is_told() -> None:
    with OpenAIServer(ResearchBrain(with_think=False)) as server:
        steps = (
            Step(kind="subtask_list", text="1. One"),
            world_step("subtask", "One", branch=1),
        )
        made = await policy(server, rendering="tools").continue_thread(thread(steps=steps), CALLS)
    assert made.hidden_reasoning
    assert made.text == "<web_search>One</web_search>"


async def test_extra_tools_and_the_released_dialect() -> None:
    @tool
    def look_up(word: str) -> str:
        """Look a word up."""
        return word

    def brain(messages: Any, body: Any) -> ToolCalls:
        assert [t["function"]["name"] for t in body["tools"]] == ["web_search", "look_up"]
        search = {"queries": ["AT&T", "R&D"], "num": 5}
        return ToolCalls((("web_search", search), ("look_up", {"word": "x"})), "I look.")

    with OpenAIServer(brain) as server:
        chat = policy(server, rendering="tools", dialect="released", tools=[look_up])
        made = await chat.continue_thread(thread(), ("</web_search>", "</look_up>"))
    assert made.text == (
        "<think>I look.</think>\n<web_search>query=AT&T | R&D&num=5</web_search>\n"
        '<look_up>{"word": "x"}</look_up>'
    )


async def test_broken_arguments_reach_the_text_as_written() -> None:
    with OpenAIServer(lambda *_: ToolCalls((("web_search", '{"queries": ["a"'),))) as server:
        made = await policy(server, rendering="tools").continue_thread(thread(), CALLS)
    assert made.text == '<web_search>{"queries": ["a"</web_search>'


class _State(TypedDict, total=False):
    text: str


async def test_inside_a_langgraph_node_tokens_reach_the_stream() -> None:
    with OpenAIServer(research_brain) as server:
        chat = policy(server, rendering="turns")

        async def node(state: _State) -> _State:
            made = await chat.continue_thread(thread("planner"), ("</subtask_list>",))
            assert made.usage.prompt_tokens is not None
            return {"text": made.text}

        builder = StateGraph(_State)
        builder.add_node("plan", node)
        builder.add_edge(START, "plan")
        builder.add_edge("plan", END)
        graph = builder.compile()
        pieces: list[tuple[str, dict[str, Any]]] = []
        async for item in graph.astream({}, stream_mode="messages"):
            message, metadata = cast("tuple[AIMessage, dict[str, Any]]", item)
            pieces.append((message.text, metadata))
        assert server.requests[-1]["stream"] is True
    assert "".join(text for text, _ in pieces).startswith("<subtask_list>")
    assert len(pieces) > 2
    assert pieces[0][1]["langgraph_node"] == "plan"
    assert "planner" in pieces[0][1]["tags"]
    assert pieces[0][1]["role"] == "planner"


async def test_a_chat_model_object_keeps_its_own_settings() -> None:
    with OpenAIServer(research_brain, habits("prefill")) as server:
        model = ChatOpenAI(
            model="fake", base_url=server.base_url, api_key="x", extra_body={"min_p": 0.1}
        )
        chat = ChatPolicy(model, rendering="prefill", extra={"top_p": 0.5}, temperature=0.2)
        steps = (Step(kind="subtask_list", text="1. One"), world_step("subtask", "One", branch=1))
        heard: list[str] = []
        made = await chat.continue_thread(thread(steps=steps), CALLS, on_text=heard.append)
        sent = server.requests[-1]
    assert made.usage.prompt_tokens is not None, "streamed usage is asked for"
    assert (sent["min_p"], sent["top_p"], sent["temperature"]) == (0.1, 0.5, 0.2)
    assert sent["continue_final_message"] is True
    assert sent["add_generation_prompt"] is False


async def test_any_other_chat_model_gets_turns() -> None:
    model = GenericFakeChatModel(
        messages=iter([AIMessage("<subtask_list>\n1. a\n</subtask_list> more")] * 2)
    )
    chat = ChatPolicy(model)
    assert chat.rendering_reason == "turns: GenericFakeChatModel has no tool calling"
    heard: list[str] = []
    made = await chat.continue_thread(thread("planner"), ("</subtask_list>",))
    streamed = await chat.continue_thread(
        thread("planner"), ("</subtask_list>",), on_text=heard.append
    )
    assert made.text == streamed.text == "".join(heard) == "<subtask_list>\n1. a\n</subtask_list>"
    assert made.usage.prompt_tokens is None
