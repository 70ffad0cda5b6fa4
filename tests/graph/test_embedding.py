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
from langchain_core.tools import ToolException, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from pydantic import ValidationError
from typing_extensions import TypedDict

from oresearch_graph import (
    Policies,
    ResearchSettings,
    Trace,
    create_research_graph,
    violations,
)
from oresearch_graph.graph.checkpoints import record_serializer
from oresearch_graph.threads import Thread
from tests.helpers.scripted import PAGES, REPORT, Documents, ScriptedPolicy, research_script


def graph(policy: ScriptedPolicy | None = None, **options: Any) -> Any:
    options.setdefault("search", Documents(PAGES))
    return create_research_graph(policy or ScriptedPolicy(research_script()), **options)


async def test_five_lines_are_enough():
    result = await create_research_graph(search="python").ainvoke(
        {"question": "How does asyncio cancel tasks?"}
    )
    assert result["report"].startswith("## Introduction")
    assert isinstance(result["trace"], Trace)


class Chat(TypedDict):
    """State of a parent graph."""

    messages: Annotated[list[AnyMessage], add_messages]


def parent(child: Any, context: type | None = None, **compiled: Any) -> Any:
    around = StateGraph(Chat, context_schema=context)
    around.add_node("research", child)
    around.add_edge(START, "research")
    around.add_edge("research", END)
    return around.compile(**compiled)


ASKED: Any = {"messages": [HumanMessage("What causes tides?")]}


async def test_as_a_node_of_a_parent_with_a_context_of_its_own():
    @dataclass
    class Tenant:
        name: str
        effort: str

    state = await parent(graph(), Tenant).ainvoke(ASKED, context=Tenant("Ada", "none of yours"))
    assert [message.type for message in state["messages"]] == ["human", "ai"]
    assert "The Moon causes tides [1]" in state["messages"][-1].text


async def test_a_parents_saver_keeps_a_plan_until_it_is_approved():
    child = graph(settings=ResearchSettings(approve_plan=True))
    built = parent(child, checkpointer=InMemorySaver(serde=record_serializer()))
    thread: Any = {"configurable": {"thread_id": "one"}}
    (stop,) = (await built.ainvoke(ASKED, thread))["__interrupt__"]
    assert stop.value["type"] == "oresearch.plan_approval"
    state = await built.ainvoke(Command(resume={"action": "approve"}), thread)
    assert "The Moon causes tides [1]" in state["messages"][-1].text


@pytest.mark.parametrize("context", [{"efort": "quick"}, {"effort": "little"}])
async def test_a_context_of_ours_that_cannot_be_is_refused(context: dict[str, str]):
    with pytest.raises(ValidationError, match=next(iter(context))):
        await graph().ainvoke({"question": "q"}, context=context)


async def test_inside_a_chain():
    asked: Any = RunnableLambda(lambda topic: {"question": f"What causes {topic}?"})
    chain = asked | graph().bind(context={"effort": "quick"}) | itemgetter("report")
    assert "The Moon causes tides" in await chain.ainvoke("tides")


async def test_the_message_carries_standard_citations():
    def script(thread: Thread) -> str:
        if thread.role != "summarizer":
            return research_script(["tides"])(thread)
        findings = "The Moon causes tides [1][2]. The Sun causes spring tides [3]."
        references = "\n".join(f"[{n + 1}]. {url} - page" for n, url in enumerate(PAGES))
        return REPORT.format(findings=findings, references=references)

    result = await graph(ScriptedPolicy(script)).ainvoke({"question": "q"})
    (block,) = result["messages"][-1].content_blocks
    assert block["text"] == result["report"]
    cited = [
        (block["text"][c["start_index"] : c["end_index"]], c["url"], c["title"], c["type"])
        for c in block["annotations"]
    ]
    expected = [
        (f"[{n}]", f"https://example.org/{name}", name, "citation")
        for n, name in enumerate(("tides", "moon", "sun"), start=1)
    ]
    assert cited == expected


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


def asking(call: str) -> ScriptedPolicy:
    """A policy whose researchers call an extra tool before they search."""

    def script(thread: Thread) -> str:
        if thread.role == "researcher" and not any(s.kind == "observation" for s in thread.steps):
            return f"\n\n<think>Ask.</think>\n\n{call}"
        return research_script(["tides"], turns=2)(thread)

    return ScriptedPolicy(script)


async def test_a_plain_function_is_a_tool_and_may_answer_in_a_structure():
    def tide_table(harbour: str) -> dict[str, float]:
        """Heights of the tide in a harbour."""
        return {harbour: 16.3}

    policy = asking('<tide_table>{"harbour": "Fundy"}</tide_table>')
    built = create_research_graph(policy, [tide_table], search=Documents(PAGES))
    trace = (await built.ainvoke({"question": "q"}))["trace"]
    assert '{"Fundy": 16.3}' in trace.steps[4].text
    assert trace.outcome == "complete"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [('{"harbour": "Fundy"}', "no table for Fundy"), ('{"port": "Fundy"}', "harbour")],
    ids=["raises", "wrong arguments"],
)
async def test_a_tool_that_fails_is_observed_and_the_branch_goes_on(arguments: str, told: str):
    @tool
    def tide_table(harbour: str) -> str:
        """Heights of the tide in a harbour."""
        raise ToolException(f"no table for {harbour}")

    policy = asking(f"<tide_table>{arguments}</tide_table>")
    built = create_research_graph(policy, [tide_table], search=Documents(PAGES))
    trace = (await built.ainvoke({"question": "q"}))["trace"]
    assert told in trace.steps[4].text
    assert trace.branches[1][-1].kind == "subtask_answer"
    assert [failure.branch for failure in trace.failures] == [1]


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
