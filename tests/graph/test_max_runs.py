"""`max_runs`: at no time are more runs of a process under way; those that wait come in order, and
every end of a run gives its place to the next."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

QUESTION: Final[Any] = {"question": "What causes tides?"}
ONE: Final = ResearchSettings(max_runs=1)
SOON: Final = 10


class Runs:
    """A script that counts the runs between their plans and their reports."""

    def __init__(self) -> None:
        self.now = self.most = self.begun = 0
        self.policy = ScriptedPolicy(self._write, seconds=0.02)
        self._lock, self._script = threading.Lock(), research_script()

    def _write(self, thread: Any) -> str:
        with self._lock:
            if thread.role == "planner":
                self.begun += 1
                self.now += 1
                self.most = max(self.most, self.now)
            if thread.role == "summarizer":
                self.now -= 1
        return self._script(thread)

    def graph(self, settings: ResearchSettings = ONE, *tools: Any, **options: Any) -> Any:
        options = {"search": Documents(PAGES), **options}
        return create_research_graph(self.policy, tools, settings=settings, **options)

    async def under_way(self) -> None:
        async with asyncio.timeout(SOON):
            while not self.now:  # noqa: ASYNC110 - a thread may make it so
                await asyncio.sleep(0.01)


@pytest.fixture
def runs() -> Iterator[Runs]:
    yield Runs()
    gc.collect()  # a graph limits for as long as it is there


async def completes(graph: Any) -> None:
    async with asyncio.timeout(SOON):
        assert (await graph.ainvoke(QUESTION))["trace"].outcome == "complete"


async def test_awaited_runs_are_never_more_and_all_complete(runs: Runs):
    graph = runs.graph(ResearchSettings(max_runs=2))
    results = await asyncio.gather(*(graph.ainvoke(QUESTION) for _ in range(6)))
    assert {result["trace"].outcome for result in results} == {"complete"}
    assert (runs.most, runs.begun) == (2, 6)


def test_graphs_loops_and_threads_share_the_limit(runs: Runs):
    graphs = [runs.graph(ResearchSettings(max_runs=limit)) for limit in (2, 5)]
    ways = [
        lambda graph: graph.invoke(QUESTION),
        lambda graph: asyncio.run(graph.ainvoke(QUESTION)),
    ]
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(way, graph) for graph in graphs for way in ways for _ in range(2)]
        results = [call.result(SOON) for call in calls]
    assert {result["trace"].outcome for result in results} == {"complete"}
    assert (runs.most, runs.begun) == (2, 8)


async def test_without_it_there_is_no_limit(runs: Runs):
    graph = runs.graph(ResearchSettings())
    await asyncio.gather(*(graph.ainvoke(QUESTION) for _ in range(6)))
    assert runs.most == 6


async def test_the_environment_sets_it(runs: Runs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORESEARCH_MAX_RUNS", "1")
    graph = runs.graph(ResearchSettings()).copy({"name": "another"})
    await asyncio.gather(*(graph.ainvoke(QUESTION) for _ in range(3)))
    assert runs.most == 1


async def test_a_cancelled_run_gives_its_place_and_one_that_waits_its_turn(runs: Runs):
    graph = runs.graph()
    first, second = (asyncio.create_task(graph.ainvoke(QUESTION)) for _ in range(2))
    await runs.under_way()
    second.cancel()
    await asyncio.wait([second])
    assert runs.begun == 1
    first.cancel()
    await asyncio.wait([first])
    await completes(graph)


@pytest.mark.parametrize("waits", [False, True])
async def test_who_closes_the_stream_of_what_is_invoked_gives_the_place(runs: Runs, waits: bool):
    graph = runs.graph()
    stream = graph.stream(QUESTION, stream_mode="updates")
    next(stream)
    if waits:
        other = graph.stream(QUESTION, stream_mode="updates")
        waiting = threading.Thread(target=lambda: next(other, None), daemon=True)
        waiting.start()
        await asyncio.sleep(0.1)
        assert waiting.is_alive()
    stream.close()
    if waits:
        waiting.join(SOON)
        other.close()
    await completes(graph)


async def test_a_run_that_fails_gives_its_place(runs: Runs):
    def script(thread: Any) -> str:
        raise ConfigurationError("the key is refused")

    broken = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES), settings=ONE)
    for _ in range(2):
        with pytest.raises(ConfigurationError, match="refused"):
            await asyncio.wait_for(broken.ainvoke(QUESTION), SOON)
        with pytest.raises(ConfigurationError, match="refused"):
            broken.invoke(QUESTION)
    await completes(runs.graph())


async def test_a_run_that_waits_for_a_person_holds_no_place(runs: Runs):
    settings = ResearchSettings(max_runs=1, approve_plan=True)
    graph = runs.graph(settings, checkpointer=InMemorySaver())
    threads = [{"configurable": {"thread_id": str(i)}} for i in range(3)]
    for thread in threads:
        stopped = await asyncio.wait_for(graph.ainvoke(QUESTION, thread), SOON)
        assert "__interrupt__" in stopped
    approved: Any = Command(resume={"action": "approve"})
    for thread in threads:
        result = await asyncio.wait_for(graph.ainvoke(approved, thread), SOON)
        assert result["trace"].outcome == "complete"


def test_a_run_within_a_run_does_not_wait_for_it(runs: Runs):
    inner = runs.graph()

    async def awaited(query: str) -> str:
        """Looks it up."""
        return str((await inner.ainvoke({"question": query}))["report"])

    def invoked(query: str) -> str:
        """Looks it up."""
        return str(inner.invoke({"question": query})["report"])

    for nested in (awaited, invoked):
        call = f'<{nested.__name__}>{{"query": "Why?"}}</{nested.__name__}>'

        def script(thread: Any, call: str = call) -> str:
            return re.sub("<web_search>.*</web_search>", call, research_script()(thread))

        outer = create_research_graph(
            ScriptedPolicy(script), [nested], search=Documents(PAGES), settings=ONE
        )
        for run in (outer.invoke, lambda question, o=outer: asyncio.run(o.ainvoke(question))):
            with ThreadPoolExecutor(1) as pool:
                trace = pool.submit(run, QUESTION).result(SOON)["trace"]
            observed = [step.text for step in trace.steps if step.kind == "observation"]
            assert all("The Moon causes tides" in text for text in observed)
            assert len(observed) == 2


async def test_no_run_sets_it_and_none_gets_past_it(runs: Runs, caplog: pytest.LogCaptureFixture):
    graph = runs.graph()
    for context in ({"max_runs": 9}, ResearchSettings(max_runs=9)):
        with pytest.raises(ConfigurationError, match="as ORESEARCH_MAX_RUNS"):
            await graph.ainvoke(QUESTION, context=context)
    forged: Any = {"configurable": {"max_runs": 9, "__oresearch_runs": True}}
    with caplog.at_level(logging.INFO, "oresearch_graph"):
        await asyncio.gather(*(graph.ainvoke(QUESTION, forged) for _ in range(3)))
    assert runs.most == 1
    assert "not taken from configurable: max_runs is of the process" in caplog.text
    assert caplog.text.count("a run waits: max_runs is 1") == 2
