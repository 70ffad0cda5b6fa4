"""The graph inside other people's programs: nodes, chains, savers, streams, agents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command
from pydantic import BaseModel
from typing_extensions import TypedDict

from oresearch_graph import (
    Policies,
    ResearchSettings,
    Trace,
    create_research_graph,
    event_from,
    research_tool,
    violations,
)
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.threads import Thread
from tests.openai_server import OpenAIServer, ToolCalls
from tests.research_brain import ResearchBrain
from tests.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}


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


async def test_state_survives_in_sqlite_and_a_follow_up_is_answered_from_the_ledger(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path, documents = str(tmp_path / "state.sqlite"), Documents(PAGES)
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        first = await graph(search=documents, checkpointer=saver).ainvoke(
            {"question": "What causes tides?"}, THREAD
        )
    searched = len(documents.searched)

    def follow_up(thread: Thread) -> str:
        text = research_script(["Moon and tides", "volcanoes"])(thread)
        query = "caused Moon" if thread.branch == 1 else "volcanoes lava"
        return text.replace("tides Moon Sun 1", query)

    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        again = graph(ScriptedPolicy(follow_up), search=documents, checkpointer=saver)
        second = await again.ainvoke({"messages": [HumanMessage("And why the Moon?")]}, THREAD)
    assert documents.searched[searched:] == ["volcanoes lava"]
    assert "This follows up on the question: What causes tides?" in second["trace"].question
    earlier = {(source.url, source.id) for source in first["trace"].sources}
    assert {(source.url, source.id) for source in second["trace"].sources} == earlier
    assert [message.type for message in second["messages"]] == ["human", "ai", "human", "ai"]
    assert "unregistered type" not in caplog.text


async def test_every_stream_mode_with_and_without_subgraphs():
    for mode in ("values", "updates", "custom"):
        parts = [part async for part in graph().astream({"question": "q"}, stream_mode=mode)]
        assert parts
        deep = [
            part
            async for part in graph().astream({"question": "q"}, stream_mode=mode, subgraphs=True)
        ]
        assert len(deep) > len(parts)


async def test_events_tell_the_run_in_order():
    events = [
        event_from(value)
        async for _, value in graph().astream(
            {"question": "q"}, stream_mode="custom", subgraphs=True
        )
    ]
    assert None not in events
    types = [event.type.removeprefix("oresearch.") for event in events if event]
    assert types[0] == "plan"
    assert types[-2:] == ["report_text", "verified"]
    branch = [e.type.rpartition(".")[2] for e in events if e and getattr(e, "branch", 0) == 1]
    assert branch == ["subtask_started", "call", "observation", "subtask_finished"]


async def test_updates_of_researchers_carry_their_steps():
    parts = [
        update
        async for namespace, update in graph().astream(
            {"question": "q"}, stream_mode="updates", subgraphs=True
        )
        if namespace
    ]
    assert all(update for part in parts for update in part.values())
    assert {name for part in parts for name in part} == {"reason", "observe", "conclude"}


async def test_callbacks_see_every_model_call_with_its_role():
    class Seen(BaseCallbackHandler):
        def __init__(self) -> None:
            self.tags: list[list[str]] = []

        def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
            self.tags.append(more.get("tags") or [])

    seen = Seen()
    with OpenAIServer(ResearchBrain(("tides",))) as server:
        built = create_research_graph(
            "fake",
            search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        )
        await built.ainvoke({"question": "q"}, {"callbacks": [seen]})
    roles = {role for tags in seen.tags for role in ("planner", "researcher", "summarizer")
             if any(role in tag for tag in tags)}  # fmt: skip
    assert roles == {"planner", "researcher", "summarizer"}


class Answer(BaseModel):
    """What an embedder wants to know."""

    cause: str


async def test_response_format_gives_the_report_as_a_structure():
    plain = ResearchBrain(("tides",))

    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        if "Answer" in str(body.get("response_format")) or "Answer" in str(body.get("tools")):
            if body.get("tools"):
                return ToolCalls((("Answer", {"cause": "the Moon"}),))
            return '{"cause": "the Moon"}'
        return plain(messages, body)

    with OpenAIServer(brain) as server:
        built = create_research_graph(
            "fake",
            search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
            response_format=Answer,
        )
        result = await built.ainvoke({"question": "q"})
    assert result["structured_response"] == Answer(cause="the Moon")


async def test_response_format_without_a_chat_model_is_one_clear_line():
    with pytest.raises(ConfigurationError, match="needs a chat model"):
        await graph(response_format=Answer).ainvoke({"question": "q"})


class Calling(GenericFakeChatModel):
    """A chat model that calls the research tool once, then answers."""

    def bind_tools(self, tools: Any, **more: Any) -> Any:
        return self


async def test_as_a_tool_of_an_agent():
    call = {"name": "research", "args": {"question": "What causes tides?"}, "id": "1"}
    replies = iter([AIMessage("", tool_calls=[call]), AIMessage("The Moon.")])
    agent = create_agent(Calling(messages=replies), [research_tool(graph())])
    asked: Any = {"messages": [HumanMessage("Tides?")]}
    result = await agent.ainvoke(asked)
    (answer,) = [m for m in result["messages"] if isinstance(m, ToolMessage)]
    assert "The Moon causes tides [1]" in answer.text
    assert isinstance(answer.artifact, Trace)


async def test_a_failed_run_is_the_tools_error():
    answer = await research_tool(graph(search=Documents({}))).ainvoke(
        {"name": "research", "args": {"question": "q"}, "id": "1", "type": "tool_call"}
    )
    assert answer.status == "error"
    assert "no evidence" in answer.content


async def test_the_message_carries_standard_citations():
    result = await graph().ainvoke({"question": "q"})
    (block,) = result["messages"][-1].content_blocks
    assert block["annotations"]
    for citation in block["annotations"]:
        assert block["text"][citation["start_index"] : citation["end_index"]] == "[1]"
        assert citation["type"] == "citation"
        assert citation["url"] == "https://example.org/tides"


@pytest.mark.parametrize(
    ("answer", "subtasks", "outcome"),
    [
        ({"action": "approve"}, 2, "complete"),
        ({"action": "edit", "subtasks": ["What causes tides?"]}, 1, "complete"),
        ({"action": "reject", "reason": "too broad"}, 0, "failed"),
    ],
)
async def test_a_person_approves_edits_or_rejects_the_plan(answer, subtasks, outcome):
    built = graph(checkpointer=InMemorySaver(), settings=ResearchSettings(approve_plan=True))
    await built.ainvoke({"question": "q"}, THREAD)
    (stop,) = (await built.aget_state(THREAD)).interrupts
    assert stop.value["subtasks"] == ["What causes tides?", "How large are tides?"]
    assert stop.value["at_most"]["tool_calls"] == 16
    result = await built.ainvoke(Command(resume=answer), THREAD)
    trace = result["trace"]
    assert (len(trace.branches), trace.outcome) == (subtasks, outcome)
    assert all(violation.declared for violation in violations(trace))


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


class Killed(BaseException):
    """The end of a process, as far as a graph can see it."""


async def test_a_run_that_was_killed_goes_on_without_repeating_a_finished_branch():
    calls: list[int | None] = []
    alive = False

    def script(thread: Thread) -> str:
        own = [step.kind for step in thread.steps if step.branch == thread.branch]
        if thread.branch == 2 and "observation" in own and not alive:
            raise Killed
        calls.append(thread.branch)
        return research_script()(thread)

    saver = InMemorySaver()
    built = graph(
        ScriptedPolicy(script),
        checkpointer=saver,
        settings=ResearchSettings(execution="sequential"),
    )
    with pytest.raises(Killed):
        await built.ainvoke({"question": "q"}, THREAD, durability="sync")
    alive, before = True, list(calls)
    result = await built.ainvoke(None, THREAD)
    assert result["trace"].outcome == "complete"
    assert before == [None, 1, 1, 2]
    assert calls[len(before) :] == [2, None]
