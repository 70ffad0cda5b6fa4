"""The plan in a chat: seen while research goes on, with what is called, gone with the report."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.graph.build import ResearchGraph
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

CHAT: Any = {"messages": [HumanMessage("What causes tides?")]}
SUBTASKS = ["What causes tides?", "How large are tides?"]
THREAD: Any = {"configurable": {"thread_id": "1"}}


def graph(search: Any = None, **settings: Any) -> ResearchGraph:
    return create_research_graph(
        ScriptedPolicy(research_script(turns=2)), search=search or Documents(PAGES),
        settings=ResearchSettings(**settings), checkpointer=InMemorySaver(),
    )  # fmt: skip


class Chat:
    """What useStream, of which agent-chat-ui is made, shows of a run: each message that is streamed
    stands where the list ended when it first came, and a state replaces them all."""

    def __init__(self, *shown: AnyMessage) -> None:
        self.shown: list[AnyMessage] = list(shown)
        self.calls: list[list[str]] = []
        """Of the plan, each time it was shown."""
        self._chunks: dict[str, Any] = {}
        self._places: dict[str, int] = {}

    def hear(self, mode: str, value: Any) -> None:
        if mode == "values":
            self.shown = list(value["messages"])
            return
        message, _ = value
        before = self._chunks.get(message.id)
        merged = (
            message
            if before is None
            or (isinstance(message, AIMessage) and not isinstance(message, type(before)))
            else before + message
        )
        self._chunks[message.id] = merged
        place = self._places.setdefault(message.id, len(self.shown))
        assert place <= len(self.shown), "a hole: the page breaks"
        self.shown[place : place + 1] = [merged]
        if merged.id.endswith("-plan"):
            self.calls.append([call["name"] for call in merged.tool_calls])


async def seen(built: ResearchGraph, asked: Any, *shown: AnyMessage, **options: Any) -> Chat:
    chat = Chat(*shown)
    modes: Any = ["messages", "values"]
    async for part in built.astream(asked, THREAD, stream_mode=modes, **options):
        if len(part) == 2 or part[0] == ():  # it hears the graph, and no subgraph
            chat.hear(*part[-2:])
    return chat


@pytest.mark.parametrize("subgraphs", [False, True])
@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_a_chat_sees_the_plan_and_what_is_called(execution: Any, subgraphs: bool):
    built = graph(execution=execution)
    chat = await seen(built, CHAT, CHAT["messages"][0], subgraphs=subgraphs)
    planned, *later = chat.calls
    assert planned == ["research", "research"]
    assert max(later, key=len) == ["research", "research", *["web_search"] * 4]
    assert [m.type for m in chat.shown] == ["human", "ai"]
    assert chat.shown[-1].text.startswith("## Introduction")


async def test_a_second_question_of_a_chat_is_shown_alike():
    built = graph()
    first = await seen(built, CHAT, CHAT["messages"][0])
    asked = HumanMessage("And the Sun?")
    second = await seen(built, {"messages": [asked]}, *first.shown, asked)
    assert second.calls[0][:1] == ["research"]
    assert [m.type for m in second.shown] == ["human", "ai", "human", "ai"]


@pytest.mark.parametrize("answer", [
    {"action": "approve"}, {"action": "edit", "subtasks": ["The Moon?"]}, {"action": "reject"},
])  # fmt: skip
async def test_a_plan_is_the_last_message_while_a_person_decides(answer: Any):
    built = graph(approve_plan=True)
    chat = await seen(built, CHAT, CHAT["messages"][0])
    plan = chat.shown[-1]
    assert isinstance(plan, AIMessage)
    assert [call["args"]["subtask"] for call in plan.tool_calls] == SUBTASKS
    ended = await seen(built, Command(resume=answer), *chat.shown)
    assert [m.type for m in ended.shown] == ["human", "ai"]


async def test_a_plan_that_was_left_goes_with_the_next_question():
    built = graph(approve_plan=True)
    plan = (await built.ainvoke(CHAT, THREAD))["messages"][-1]
    handled = [ToolMessage("Successfully handled.", tool_call_id=c["id"]) for c in plan.tool_calls]
    await built.ainvoke({"messages": [*handled, HumanMessage("And the Sun?")]}, THREAD)
    ended = await built.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert [m.type for m in ended["messages"]] == ["human", "human", "ai"]


async def test_a_question_that_is_no_message_has_no_plan_among_messages():
    asked: Any = {"question": "What causes tides?"}
    chat = await seen(graph(), asked)
    assert chat.calls == []
    assert [m.type for m in chat.shown] == ["human", "ai"]


async def test_a_run_without_a_report_takes_its_plan_along():
    chat = await seen(graph(search=Documents({})), CHAT, CHAT["messages"][0])
    assert [m.type for m in chat.shown] == ["human", "ai"]
