"""Thinking that a server cuts, or takes for all there is: what is a call, what is a mention."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from oresearch_graph.errors import PolicyError
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, world_step
from oresearch_graph.trace.tags import parse_policy_text
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import (
    Habits,
    Thinking,
)

CALLS = ("</web_search>", "</crawl_page>", "</subtask_answer>")
STEPS = (Step(kind="subtask_list", text="1. One"), world_step("subtask", "One", branch=1))
TURN = Thread(id="t", system="S", question="Q", role="researcher", branch=1, steps=STEPS)
PLAN = Thread(id="t", system="S", question="Q", role="planner")
REPORT = Thread(id="t", system="S", question="Q", role="summarizer", steps=STEPS)
MENTION = (
    "<think>I could write <web_search>some query</web_search> but the question is narrower.</think>"
    "\n<web_search>the real query</web_search>"
)
Make = Callable[..., ChatPolicy]


@pytest.fixture
async def policy() -> AsyncIterator[Make]:
    """Makes policies, and closes their connections."""
    policies: list[ChatPolicy] = []

    def make(server: OpenAIServer, rendering: Any = "turns") -> ChatPolicy:
        policies.append(ChatPolicy("fake", base_url=server.base_url, rendering=rendering))
        return policies[-1]

    yield make
    for each in policies:
        await each.aclose()


def continuing(whole: str) -> Callable[..., str]:
    """A brain that goes on where what it wrote of the text ends."""

    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> str:
        written = "".join(str(m["content"]) for m in messages if m["role"] == "assistant")
        begun = written[written.find(whole[:10]) :] if whole[:10] in written else ""
        assert whole.startswith(begun)
        return whole[len(begun) :]

    return brain


@pytest.mark.parametrize(
    ("keeps", "names", "honours"),
    [(True, True, True), (False, True, True), (False, False, True), (True, True, False)],
)
@pytest.mark.parametrize("rendering", ["prefill", "turns", "tools"])
async def test_a_call_that_the_thinking_mentions_is_not_carried_out(
    rendering: str, keeps: bool, names: bool, honours: bool, policy: Make
) -> None:
    on_final: Any = "continue" if rendering == "prefill" else "restart"
    habits = Habits(
        keeps_stop=keeps, names_stop=names, honours_stop=honours, on_final_assistant=on_final
    )
    with OpenAIServer(continuing(MENTION), habits) as server:
        reply = await policy(server, rendering).continue_thread(TURN, CALLS)
        assert len(server.requests) == (2 if honours else 1)
        assert reply.usage.calls == len(server.requests)
    assert reply.text == MENTION
    assert reply.stop == "stop"
    assert [(s.kind, s.text) for s in parse_policy_text(reply.text)][1:] == [
        ("web_search", "the real query")
    ]


async def test_a_plan_is_had_after_thinking_that_mentions_it(policy: Make) -> None:
    whole = (
        "<think>A <subtask_list>short one</subtask_list> would do, or not.</think>"
        "<subtask_list>\n1. One\n</subtask_list>"
    )
    with OpenAIServer(continuing(whole), Habits(keeps_stop=False, names_stop=False)) as server:
        reply = await policy(server).continue_thread(PLAN, ("</subtask_list>",))
    assert reply.text == "<subtask_list>\n1. One\n</subtask_list>"
    assert "short one" in str(reply.reasoning)


async def test_a_listener_hears_the_report_alone(policy: Make) -> None:
    whole = (
        "<think>I end with </suggested_answer> later.</think>"
        "<suggested_answer>It is so.</suggested_answer>"
    )
    heard: list[str] = []
    with OpenAIServer(continuing(whole), Habits(keeps_stop=False)) as server:
        reply = await policy(server).continue_thread(
            REPORT, ("</suggested_answer>",), on_text=heard.append
        )
    assert reply.text == "<suggested_answer>It is so.</suggested_answer>"
    assert "".join(heard) == reply.text.removesuffix("</suggested_answer>")


async def test_thinking_without_end_is_closed_and_calls_nothing(policy: Make) -> None:
    text = "<think>Again <web_search>some query</web_search>"
    with OpenAIServer(lambda *_: text, Habits(keeps_stop=False, names_stop=False)) as server:
        reply = await policy(server).continue_thread(TURN, CALLS)
        assert len(server.requests) == 3
    assert reply.closed_by_world
    assert reply.stop == "end"
    assert [step.kind for step in parse_policy_text(reply.text)] == ["think"]


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize(
    ("thread", "text", "expected"),
    [
        (PLAN, "<subtask_list>\n1. One\n</subtask_list>", "<subtask_list>\n1. One\n"
         "</subtask_list>"),
        (PLAN, "Let me see.\n<subtask_list>\n1. One\n", "<subtask_list>\n1. One\n"
         "</subtask_list>"),
        (TURN, "<think>Look.</think>\n<web_search>a</web_search>",
         "<think>Look.</think>\n<web_search>a</web_search>"),
        (TURN, "<think>Look.</think><plan>b</plan>\n<web_search>a",
         "<think>Look.</think><plan>b</plan>\n<web_search>a</web_search>"),
        (REPORT, "I write.\n\n<suggested_answer>It is so.</suggested_answer>",
         "<suggested_answer>It is so.</suggested_answer>"),
        (TURN.model_copy(update={"forced": "subtask_answer"}), "It is so [1].</subtask_answer>",
         "It is so [1].</subtask_answer>"),
    ],
)  # fmt: skip
async def test_protocol_text_in_the_reasoning_is_used(
    thread: Thread, text: str, expected: str, streams: bool, policy: Make
) -> None:
    stop = {
        "planner": ("</subtask_list>",), "researcher": CALLS, "summarizer": ("</suggested_answer>",)
    }[thread.role]  # fmt: skip
    heard: list[str] = []
    with OpenAIServer(lambda *_: Thinking(text, ""), Habits(names_stop=False)) as server:
        reply = await policy(server).continue_thread(
            thread, stop, on_text=heard.append if streams else None
        )
        assert len(server.requests) == 1
    assert reply.text.strip() == expected
    assert bool(heard) is streams


async def test_a_whole_run_out_of_the_reasoning() -> None:
    """Seen: "there is no <subtask_list>", blamed on the policy."""
    brain = ResearchBrain(subtasks=("What causes tides", "How large tides are"))
    with OpenAIServer(lambda *request: Thinking(str(brain(*request)), "")) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns")
        documents, settings = Documents(PAGES), ResearchSettings(effort="quick")
        graph = create_research_graph(chat, search=documents, reader=documents, settings=settings)
        state = await graph.ainvoke({"question": "Why are there tides?"})
        await chat.aclose()
    assert state["trace"].outcome == "complete"


@pytest.mark.parametrize("thread", [PLAN, TURN, REPORT])
async def test_thinking_alone_names_the_servers_parser(thread: Thread, policy: Make) -> None:
    reasoning = "I could write <web_search>some query</web_search> but I think about it."
    with OpenAIServer(lambda *_: Thinking(reasoning, "")) as server:
        with pytest.raises(PolicyError, match=r"reasoning parser .*--reasoning-parser") as raised:
            await policy(server).continue_thread(thread, CALLS)
        assert ["stop" in body for body in server.requests] == [True, False]
    assert "\n" not in str(raised.value)


async def test_a_stop_string_that_cut_the_thinking_is_not_sent_again(policy: Make) -> None:
    def brain(messages: Any, body: dict[str, Any]) -> Thinking:
        cut = "I could write <web_search>some query"
        if "stop" in body:
            return Thinking(cut, "")
        return Thinking(f"{cut}</web_search> but no.", "<web_search>real</web_search> and more")

    with OpenAIServer(brain, Habits(names_stop=False)) as server:
        reply = await policy(server).continue_thread(TURN, CALLS)
    assert reply.text.endswith("</think>\n<web_search>real</web_search>")
    assert [s.text for s in parse_policy_text(reply.text) if s.is_call] == ["real"]
    assert reply.usage.calls == 2
