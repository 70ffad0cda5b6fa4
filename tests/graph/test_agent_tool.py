"""The graph as a tool of somebody else's agent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, Trace, create_research_graph, research_tool
from oresearch_graph.errors import ConfigurationError
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
ASKED: Any = {"messages": [HumanMessage("Tides?")]}
APPROVED = ResearchSettings(approve_plan=True)


class Calling(GenericFakeChatModel):
    """A chat model that calls tools as its script says."""

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self


def graph(**options: Any) -> Any:
    return create_research_graph(
        ScriptedPolicy(research_script()), **{"search": Documents(PAGES)} | options
    )


def agent(questions: Sequence[str], saver: InMemorySaver | None = None, **options: Any) -> Any:
    """An agent that researches all `questions` at once, then answers."""
    calls: Any = [
        {"name": "research", "args": {"question": question}, "id": str(number)}
        for number, question in enumerate(questions)
    ]
    replies = iter([AIMessage("", tool_calls=calls), AIMessage("The Moon.")])
    tools = [research_tool(graph(**options))]
    return create_agent(Calling(messages=replies), tools, checkpointer=saver)


def answers(result: dict[str, Any]) -> list[ToolMessage]:
    return [message for message in result["messages"] if isinstance(message, ToolMessage)]


async def test_the_report_is_the_answer_and_the_trace_its_artifact():
    (answer,) = answers(await agent(["What causes tides?"]).ainvoke(ASKED))
    assert "The Moon causes tides [1]" in answer.text
    assert isinstance(answer.artifact, Trace)
    assert answer.artifact.question == "What causes tides?"


def test_agents_that_are_invoked_synchronously_can_use_it():
    (answer,) = answers(agent(["What causes tides?"], InMemorySaver()).invoke(ASKED, THREAD))
    assert "The Moon causes tides [1]" in answer.text


@pytest.mark.parametrize("saver", [None, InMemorySaver()], ids=["no saver", "memory"])
async def test_two_questions_at_once_do_not_mix(saver: InMemorySaver | None):
    one, two = answers(await agent(["tides?", "volcanoes?"], saver).ainvoke(ASKED, THREAD))
    assert (one.artifact.question, two.artifact.question) == ("tides?", "volcanoes?")
    assert one.artifact.id != two.artifact.id


async def test_a_failed_run_is_the_tools_error():
    (answer,) = answers(await agent(["q"], search=Documents({})).ainvoke(ASKED))
    assert answer.status == "error"
    assert "no evidence" in answer.text


async def test_a_plan_is_approved_through_the_agent():
    built = agent(["What causes tides?"], InMemorySaver(), settings=APPROVED)
    (stop,) = (await built.ainvoke(ASKED, THREAD))["__interrupt__"]
    assert stop.value["type"] == "oresearch.plan_approval"
    result = await built.ainvoke(Command(resume={"action": "reject", "reason": "no"}), THREAD)
    (answer,) = answers(result)
    assert answer.status == "error"
    assert "the plan was rejected: no" in answer.text


async def test_a_plan_that_nobody_can_approve_is_one_clear_line():
    with pytest.raises(ConfigurationError, match="give the agent a checkpointer"):
        await research_tool(graph(settings=APPROVED)).ainvoke({"question": "q"})


async def test_it_makes_a_graph_of_its_own_with_the_name_an_agent_knows():
    own = research_tool(
        model=ScriptedPolicy(research_script()),
        search=Documents(PAGES),
        settings=ResearchSettings(max_subtasks=1),
        name="look_into",
        description="Looks into it.",
    )
    assert (own.name, own.description) == ("look_into", "Looks into it.")
    assert list(own.args) == ["question"]
    called = {"name": "look_into", "args": {"question": "q"}, "id": "1", "type": "tool_call"}
    answer = await own.ainvoke(called)
    assert len(answer.artifact.branches) == 1
