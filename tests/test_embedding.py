"""The graph inside other people's programs: as a node, in chains, with their own settings, tools
and models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Annotated, Any

import pytest
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from oresearch_graph import (
    Policies,
    ResearchSettings,
    Trace,
    create_research_graph,
    violations,
)
from oresearch_graph.threads import Thread
from tests.scripted import PAGES, Documents, ScriptedPolicy, research_script


def graph(policy: ScriptedPolicy | None = None, **options: Any) -> Any:
    options.setdefault("search", Documents(PAGES))
    return create_research_graph(policy or ScriptedPolicy(research_script()), **options)


async def test_five_lines_are_enough():
    result = await create_research_graph(search="python").ainvoke(
        {"question": "How does asyncio cancel tasks?"}
    )
    assert result["report"].startswith("## Introduction")
    assert isinstance(result["trace"], Trace)


async def test_as_a_node_of_a_parent_with_a_context_of_its_own():
    @dataclass
    class Tenant:
        name: str

    class Chat(TypedDict):
        messages: Annotated[list[AnyMessage], add_messages]

    parent = StateGraph(Chat, context_schema=Tenant)
    parent.add_node("research", graph())
    parent.add_edge(START, "research")
    parent.add_edge("research", END)
    asked: Any = {"messages": [HumanMessage("What causes tides?")]}
    state = await parent.compile().ainvoke(asked, context=Tenant("Ada"))
    assert [message.type for message in state["messages"]] == ["human", "ai"]
    assert "The Moon causes tides [1]" in state["messages"][-1].text


async def test_inside_a_chain():
    asked: Any = RunnableLambda(lambda topic: {"question": f"What causes {topic}?"})
    chain = asked | graph().bind(context={"effort": "quick"}) | itemgetter("report")
    assert "The Moon causes tides" in await chain.ainvoke("tides")


async def test_the_message_carries_standard_citations():
    result = await graph().ainvoke({"question": "q"})
    (block,) = result["messages"][-1].content_blocks
    assert block["annotations"]
    for citation in block["annotations"]:
        assert block["text"][citation["start_index"] : citation["end_index"]] == "[1]"
        assert citation["type"] == "citation"
        assert citation["url"] == "https://example.org/tides"


async def test_explicit_beats_environment_beats_default(monkeypatch: pytest.MonkeyPatch):
    async def subtask_limit(context: object = None, **fixed: Any) -> int:
        policy = ScriptedPolicy(research_script(["a tides", "b tides", "c tides", "d tides"]))
        built = graph(policy, settings=ResearchSettings(**fixed))
        await built.ainvoke({"question": "q"}, context=context)
        return sum(thread.role == "researcher" for thread in policy.threads) // 2

    assert await subtask_limit() == 4
    monkeypatch.setenv("ORESEARCH_MAX_SUBTASKS", "3")
    assert await subtask_limit() == 3
    assert await subtask_limit(max_subtasks=2) == 2
    assert await subtask_limit({"max_subtasks": 1}, max_subtasks=2) == 1


async def test_an_extra_tool_is_called_and_its_answer_can_be_cited():
    @tool
    def tide_table(harbour: str) -> str:
        """Heights of the tide in a harbour."""
        return f"The Moon causes tides of 16 metres in {harbour}."

    def script(thread: Thread) -> str:
        if thread.role == "researcher" and not any(s.kind == "observation" for s in thread.steps):
            return '\n\n<think>Ask.</think>\n\n<tide_table>{"harbour": "Fundy"}</tide_table>'
        text = research_script(["tides"])(thread)
        return text.replace("https://example.org/tides", "tool:tide_table?harbour=Fundy")

    policy = ScriptedPolicy(script)
    result = await create_research_graph(policy, [tide_table], search=Documents(PAGES)).ainvoke(
        {"question": "q"}
    )
    trace = result["trace"]
    assert violations(trace) == ()
    assert "16 metres in Fundy" in trace.steps[4].text
    assert trace.protocol.tools == ("tide_table",)
    assert "<tide_table>{JSON arguments}</tide_table>" in policy.threads[0].system


async def test_researchers_are_drawn_from_a_pool_by_the_seed():
    def named(name: str) -> ScriptedPolicy:
        policy = ScriptedPolicy(research_script([f"tides {i}" for i in range(5)]))
        policy.name = name
        return policy

    async def draw(seed: int) -> Sequence[str]:
        one, two = named("one"), named("two")
        pool = Policies(one, (one, two), one, seed=seed)
        trace = (await create_research_graph(pool, search=Documents(PAGES)).ainvoke(
            {"question": "q"}))["trace"]  # fmt: skip
        return [u.model for u in trace.usage if u.role == "researcher" and u.tool_calls]

    assert await draw(1) == await draw(1)
    assert {tuple(await draw(seed)) for seed in range(4)} != {tuple(await draw(1))}
