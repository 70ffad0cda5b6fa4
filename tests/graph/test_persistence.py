"""Runs that outlive their process: savers, follow-up questions, crashes."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde import jsonplus
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph import ResearchSettings, Trace, create_research_graph, violations
from oresearch_graph.records import NAMES
from oresearch_graph.threads import Thread
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
OTHER: RunnableConfig = {"configurable": {"thread_id": "two"}}
QUESTION: Any = {"question": "What causes tides?"}
FOLLOW_UP: Any = {"messages": [HumanMessage("And why the Moon?")]}


class Keeping:
    """A saver of one kind; SQLite's is opened anew, as another process would open it."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind, self.path, self.memory = kind, folder / "state.sqlite", InMemorySaver()

    @asynccontextmanager
    async def saver(self) -> AsyncIterator[BaseCheckpointSaver[Any]]:
        if self.kind == "memory":
            yield self.memory
            return
        async with AsyncSqliteSaver.from_conn_string(str(self.path)) as saver:
            yield saver


@pytest.fixture(params=["memory", "sqlite"])
def keeping(request: pytest.FixtureRequest, tmp_path: Path) -> Keeping:
    return Keeping(request.param, tmp_path)


def graph(
    saver: BaseCheckpointSaver[Any],
    policy: ScriptedPolicy | None = None,
    documents: Documents | None = None,
    **settings: Any,
) -> Any:
    return create_research_graph(
        policy or ScriptedPolicy(research_script()),
        search=documents or Documents(PAGES),
        checkpointer=saver,
        settings=ResearchSettings(**settings),
    )


def follow_up(thread: Thread) -> str:
    """One subtask asks what the ledger holds, the other what it does not."""
    text = research_script(["Moon and tides", "volcanoes"])(thread)
    query = "caused Moon" if thread.branch == 1 else "volcanoes lava"
    return text.replace("tides Moon Sun 1", query)


async def test_state_is_as_it_was_without_a_warning(
    keeping: Keeping, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    # LangGraph warns once per type and process: other tests must not use the warning up.
    monkeypatch.setattr(jsonplus, "_warned_unregistered_types", set())
    async with keeping.saver() as saver:
        result = await graph(saver).ainvoke(QUESTION, THREAD)
    with caplog.at_level(logging.DEBUG, "langgraph"):
        async with keeping.saver() as saver:
            state = (await graph(saver).aget_state(THREAD)).values
    assert state["trace"] == result["trace"]
    assert state["report"] == result["report"]
    assert {(type(each).__module__, type(each).__name__) for each in state["sources"]} <= set(NAMES)
    assert "unregistered type" not in caplog.text


async def test_a_follow_up_is_answered_from_the_ledger_where_it_can_be(keeping: Keeping):
    documents = Documents(PAGES)
    async with keeping.saver() as saver:
        first = await graph(saver, documents=documents).ainvoke(QUESTION, THREAD)
    documents.searched.clear()
    async with keeping.saver() as saver:
        again = graph(saver, ScriptedPolicy(follow_up), documents)
        second = await again.ainvoke(FOLLOW_UP, THREAD)
    assert documents.searched == ["volcanoes lava"]
    assert "This follows up on the question: What causes tides?" in second["trace"].question
    earlier = {(source.url, source.id) for source in first["trace"].sources}
    assert {(source.url, source.id) for source in second["trace"].sources} == earlier
    assert "https://example.org/tides" in second["report"]
    assert [message.type for message in second["messages"]] == ["human", "ai", "human", "ai"]


async def test_a_follow_up_may_extend_the_sources():
    documents, saver = Documents(dict(PAGES)), InMemorySaver()
    first = await graph(saver, documents=documents).ainvoke(QUESTION, THREAD)
    documents.pages["https://example.org/lava"] = "Volcanoes throw out lava; no Moon causes it."
    second = await graph(saver, ScriptedPolicy(follow_up), documents).ainvoke(FOLLOW_UP, THREAD)
    earlier = {source.url: source.id for source in first["trace"].sources}
    later = {source.url: source.id for source in second["trace"].sources}
    assert {url: later[url] for url in earlier} == earlier
    assert later["https://example.org/lava"] not in earlier.values()


async def test_threads_of_messages_share_nothing():
    documents, saver = Documents(PAGES), InMemorySaver()
    built = graph(saver, documents=documents)
    await built.ainvoke(QUESTION, THREAD)
    searched = len(documents.searched)
    other = await built.ainvoke(QUESTION, OTHER)
    assert len(documents.searched) == 2 * searched
    assert other["trace"].question == "What causes tides?"
    assert len(other["messages"]) == 2


async def test_a_second_question_leaves_nothing_of_the_first_run_in_its_record():
    policy, saver = ScriptedPolicy(research_script(turns=2)), InMemorySaver()
    first = (await graph(saver, policy).ainvoke(QUESTION, THREAD))["trace"]
    second = (await graph(saver, policy).ainvoke(FOLLOW_UP, THREAD))["trace"]
    assert len(second.steps) == len(first.steps)
    assert sum(u.calls for u in second.usage) == sum(u.calls for u in first.usage)
    assert second.id != first.id
    assert violations(second) == ()


async def test_runs_at_one_time_do_not_mix():
    built = graph(InMemorySaver(), ScriptedPolicy(research_script(), seconds=0.01))

    async def ask(number: int) -> Trace:
        thread: RunnableConfig = {"configurable": {"thread_id": str(number)}}
        result = await built.ainvoke({"question": f"question {number}"}, thread)
        trace: Trace = result["trace"]
        return trace

    traces = await asyncio.gather(*(ask(number) for number in range(6)))
    assert [trace.question for trace in traces] == [f"question {n}" for n in range(6)]
    assert {trace.outcome for trace in traces} == {"complete"}
    assert {sum(u.calls for u in trace.usage) for trace in traces} == {6}


class Killed(BaseException):
    """The end of a process, as far as a graph can see it."""


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
async def test_a_killed_run_repeats_no_finished_step(keeping: Keeping, execution: str):
    calls: list[int | None] = []
    alive = False

    class Dying(ScriptedPolicy):
        async def continue_thread(self, thread: Thread, *more: Any, **options: Any) -> Any:
            observed = any(step.kind == "observation" and step.branch == 2 for step in thread.steps)
            if thread.branch == 2 and observed and not alive:
                await asyncio.sleep(0.3)  # branch 1 is long done by then
                raise Killed
            calls.append(thread.branch)
            return await super().continue_thread(thread, *more, **options)

    policy = Dying(research_script())
    async with keeping.saver() as saver:
        with pytest.raises(Killed):
            await graph(saver, policy, execution=execution).ainvoke(
                QUESTION, THREAD, durability="sync"
            )
    alive, before = True, list(calls)
    async with keeping.saver() as saver:
        result = await graph(saver, policy, execution=execution).ainvoke(None, THREAD)
    trace = result["trace"]
    assert sorted(str(branch) for branch in before) == ["1", "1", "2", "None"]
    assert calls[len(before) :] == [2, None]
    assert (trace.outcome, violations(trace)) == ("complete", ())
    assert sum(usage.calls for usage in trace.usage) == 6


STRICT = """
import asyncio, logging, sys
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from oresearch_graph import Trace, create_research_graph
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

logging.basicConfig(level=logging.WARNING, stream=sys.stdout)

async def ask(given):
    async with AsyncSqliteSaver.from_conn_string(sys.argv[1]) as saver:
        policy = ScriptedPolicy(research_script())
        graph = create_research_graph(policy, search=Documents(PAGES), checkpointer=saver)
        await graph.ainvoke(given, {"configurable": {"thread_id": "one"}})
        return (await graph.aget_state({"configurable": {"thread_id": "one"}})).values

asyncio.run(ask({"question": "What causes tides?"}))
state = asyncio.run(ask({"messages": [HumanMessage("And the Sun?")]}))
assert isinstance(state["trace"], Trace), type(state["trace"])
print(state["trace"].outcome, len(state["messages"]))
"""


def test_savers_that_allow_known_types_only(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", STRICT, str(tmp_path / "state.sqlite")],
        env=os.environ | {"LANGGRAPH_STRICT_MSGPACK": "true"},
        cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.stdout.strip(), done.returncode) == ("complete 4", 0), done.stderr[-2000:]
