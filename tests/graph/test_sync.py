"""Invoked or awaited, the graph gives the same: as itself, as a tool, in a chain and in a parent
graph; from a script, from a loop that runs (a notebook's) and from a thread."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph, research_tool
from oresearch_graph.errors import ConfigurationError
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.server_habits import Habits

QUESTION: Any = {"question": "What causes tides?"}
APPROVED: Any = Command(resume={"action": "approve"})
TIDES = ("tides and the Moon", "tides and the Sun")
THREAD: Any = {"configurable": {"thread_id": "1"}}


def graph(**options: Any) -> Any:
    return create_research_graph(
        ScriptedPolicy(research_script()), **{"search": Documents(PAGES)} | options
    )


class Parent(TypedDict, total=False):
    question: str
    report: str


def parent() -> Any:
    builder = StateGraph(Parent)
    builder.add_node("research", graph())
    builder.add_edge(START, "research")
    builder.add_edge("research", END)
    return builder.compile()


def chain() -> Any:
    """`|` on both sides."""
    questions: Any = RunnableLambda(lambda topic: {"question": f"What causes {topic}?"})
    return questions | graph() | RunnableLambda(lambda result: result["report"])


WAYS: dict[str, tuple[Callable[[], Any], Any, Callable[[Any], Any]]] = {
    "graph": (graph, QUESTION, lambda result: result["report"]),
    "tool": (lambda: research_tool(graph()), QUESTION, lambda report: report),
    "chain": (chain, "tides", lambda report: report),
    "parent": (parent, QUESTION, lambda result: result["report"]),
}
PLACES: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "script": lambda work: work(),
    "notebook": lambda work: asyncio.run(_in_a_loop(work)),
    "thread": lambda work: ThreadPoolExecutor(1).submit(work).result(),
}


async def _in_a_loop(work: Callable[[], Any]) -> Any:
    return work()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", WAYS)
def test_what_is_invoked_is_what_is_awaited(way: str, place: str):
    make, question, report_of = WAYS[way]
    awaited = report_of(asyncio.run(make().ainvoke(question)))
    assert "The Moon causes tides [1]" in awaited
    assert PLACES[place](lambda: report_of(make().invoke(question))) == awaited
    batched = PLACES[place](lambda: make().batch([question] * 3))
    assert [report_of(each) for each in batched] == [awaited] * 3


def test_what_is_streamed_is_the_same_either_way():
    modes, subject = ["custom", "updates"], graph()

    async def streamed() -> list[Any]:
        stream = subject.astream(QUESTION, stream_mode=modes, subgraphs=True)
        return [(mode, kind(value)) async for _, mode, value in stream]

    def kind(value: Any) -> Any:
        return value.get("type") or sorted(value)

    invoked = [
        (mode, kind(value))
        for _, mode, value in subject.stream(QUESTION, stream_mode=modes, subgraphs=True)
    ]
    assert sorted(map(str, invoked)) == sorted(map(str, asyncio.run(streamed())))


@pytest.mark.parametrize("awaits", [False, True])
def test_a_person_approves_and_the_run_goes_on(awaits: bool):
    subject = graph(checkpointer=InMemorySaver(), settings=ResearchSettings(approve_plan=True))
    (stop,) = subject.invoke(QUESTION, THREAD)["__interrupt__"]
    assert stop.value["type"] == "oresearch.plan_approval"
    if awaits:
        resumed = asyncio.run(subject.ainvoke(APPROVED, THREAD))
    else:
        resumed = subject.invoke(APPROVED, THREAD)
    assert resumed["trace"].outcome == "complete"


def test_a_run_in_sqlite_goes_on_in_another_graph(tmp_path: Path):
    settings = ResearchSettings(approve_plan=True)
    with SqliteSaver.from_conn_string(str(tmp_path / "runs.sqlite")) as saver:
        graph(checkpointer=saver, settings=settings).invoke(QUESTION, THREAD)
        resumed = graph(checkpointer=saver, settings=settings).invoke(APPROVED, THREAD)
    assert resumed["trace"].outcome == "complete"


def test_a_model_object_serves_both_ways_in_turn():
    """Its connections belong to a loop."""
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        settings = ResearchSettings(base_url=server.base_url, rendering="turns", verifier="off")
        subject = create_research_graph("fake", search=Documents(PAGES), settings=settings)
        outcomes = [
            subject.invoke(QUESTION)["trace"].outcome,
            asyncio.run(subject.ainvoke(QUESTION))["trace"].outcome,
            *(r["trace"].outcome for r in subject.batch([QUESTION] * 2)),
        ]
    assert outcomes == ["complete"] * 4


def test_ctrl_c_stops_what_was_invoked():
    brain = ResearchBrain(TIDES, calls=9)
    with OpenAIServer(brain, Habits(latency=0.2)) as server:
        settings = ResearchSettings(base_url=server.base_url, rendering="turns")
        subject = create_research_graph("fake", search=Documents(PAGES), settings=settings)
        counts, began = list[int](), time.monotonic()

        def interrupt() -> None:
            counts.append(len(server.requests))
            signal.raise_signal(signal.SIGINT)

        threading.Timer(1.5, interrupt).start()
        with pytest.raises(KeyboardInterrupt):
            subject.invoke(QUESTION)
        assert time.monotonic() - began < 6
        time.sleep(1)
        assert len(server.requests) <= counts[0] + 4, "of more than twenty"


def test_who_stops_listening_stops_what_is_invoked():
    brain = ResearchBrain(TIDES, calls=9)
    with OpenAIServer(brain, Habits(latency=0.2)) as server:
        settings = ResearchSettings(base_url=server.base_url, rendering="turns")
        subject = create_research_graph("fake", search=Documents(PAGES), settings=settings)
        events: Any = subject.stream(QUESTION, stream_mode="custom", subgraphs=True)
        for _, event in events:
            if event["type"] == "oresearch.observation":
                break
        events.close()
        count = len(server.requests)
        time.sleep(1)
        assert len(server.requests) <= count + 2


def test_a_branch_that_fails_for_good_stops_its_siblings():
    times = list[float]()

    def script(thread: Any) -> str:
        if thread.branch == 1:
            times.append(time.monotonic())
            raise ConfigurationError("the key is refused")
        if thread.branch == 2:
            time.sleep(0.3)
            times.append(time.monotonic())
        return research_script(turns=8)(thread)

    subject = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES))
    with pytest.raises(ConfigurationError, match="the key is refused"):
        subject.invoke(QUESTION)
    assert sum(at > times[0] for at in times) <= 2


def test_a_coroutine_of_a_run_that_invokes_is_told_to_await():
    async def nested(query: str) -> str:
        """Looks it up."""
        return str(graph().invoke({"question": query})["report"])

    def script(thread: Any) -> str:
        written = research_script()(thread)
        return re.sub("<web_search>.*</web_search>", '<nested>{"query": "Why?"}</nested>', written)

    subject = create_research_graph(ScriptedPolicy(script), [nested], search=Documents(PAGES))
    with pytest.raises(ConfigurationError, match="await ainvoke there"):
        subject.invoke(QUESTION)
