"""What counts as the question when a thread of messages has already had one."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}


def graph(**options: Any) -> Any:
    policy = ScriptedPolicy(research_script())
    return create_research_graph(policy, search=Documents(PAGES), **options)


async def test_a_follow_up_given_as_a_question_refers_to_the_one_before():
    built = graph(checkpointer=InMemorySaver())
    await built.ainvoke({"question": "What causes tides?"}, THREAD)
    second = await built.ainvoke({"question": "And why the Moon?"}, THREAD)
    assert "This follows up on the question: What causes tides?" in second["trace"].question
    third = await built.ainvoke({"question": "And the Sun?"}, THREAD)
    assert "This follows up on the question: And why the Moon?" in third["trace"].question


async def test_a_new_question_is_not_taken_for_one_that_was_never_answered():
    saver = InMemorySaver()
    cut_short = graph(checkpointer=saver, interrupt_before=["summarize"])
    await cut_short.ainvoke({"messages": [HumanMessage("What causes tides?")]}, THREAD)
    asked = await graph(checkpointer=saver).ainvoke({"question": "What causes rain?"}, THREAD)
    assert asked["trace"].question == "What causes rain?"
    assert [message.type for message in asked["messages"]] == ["human", "human", "ai"]


async def test_a_message_is_the_question_whatever_was_asked_before():
    built = graph(checkpointer=InMemorySaver())
    await built.ainvoke({"question": "What causes tides?"}, THREAD)
    second = await built.ainvoke({"messages": [HumanMessage("And why?")]}, THREAD)
    assert second["question"] == "And why?"
    assert second["trace"].question.startswith("And why?\n")


async def test_a_person_is_asked_through_a_parent_graph():
    parent = StateGraph(MessagesState)
    parent.add_node("research", graph(settings=ResearchSettings(approve_plan=True)))
    parent.add_edge(START, "research")
    chat = parent.compile(checkpointer=InMemorySaver())
    asked: Any = {"messages": [HumanMessage("What causes tides?")]}
    (stop,) = (await chat.ainvoke(asked, THREAD))["__interrupt__"]
    assert stop.value["type"] == "oresearch.plan_approval"
    done = await chat.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert "The Moon causes tides [1]" in done["messages"][-1].text
