"""The tools of a training rollout: whose fault, how often tried, which documents."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.tools.recorded import Recorder
from oresearch_graph.trace import Trace
from rl.settings import RLSettings, ToolSettings
from rl.tools import training_tools as training_tools_module
from rl.tools.documents import check_documents, open_documents
from rl.tools.training_tools import ToolCounts, TrainingTools, shuffled, training_tools
from tests.helpers.faulty_tools import FaultyTools
from tests.helpers.scripted import PAGES, Documents, Script, ScriptedPolicy, research_script


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(training_tools_module, "_WAITS", lambda _: 0.001)
    return iter(())


class Flaky:
    """A service whose first `fails` answers are errors, or which is silent; and a reader that
    hangs on addresses with `hang` in them."""

    name = "flaky"

    def __init__(self, fails: int = 0, error: Exception | None = None) -> None:
        self.fails, self.error = fails, error or ToolError("the service is down: start it")
        self.asked = 0
        self.at_once = self.most = 0

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        await self._answer()
        return [Hits(query=query, hits=(Hit(url=f"doc:{query}"),)) for query in queries]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        if any("hang" in url for url in urls):
            await asyncio.Event().wait()
        await self._answer()
        return [
            Page(url=url, fault="answered 404") if "404" in url else Page(url=url, text="read")
            for url in urls
        ]

    async def _answer(self) -> None:
        self.asked += 1
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.001)
        self.at_once -= 1
        if self.asked <= self.fails:
            raise self.error


def tools(documents: Flaky | FaultyTools | Documents, **settings: object) -> TrainingTools:
    wanted = ToolSettings.model_validate({"timeout": 0.05, "page_timeout": 0.05, **settings})
    return training_tools(RLSettings(tools=wanted), (documents, documents))


async def test_a_retry_that_succeeds_is_counted_and_nothing_else_is_seen():
    own = tools(Flaky(fails=2))
    [hits] = await own.search.search(["tides"], 3)
    assert [hit.url for hit in hits.hits] == ["doc:tides"]
    assert own.counts == ToolCounts(searches=1, retries=2, failed_tries=Counter(ToolError=2))


async def test_a_service_that_stays_down_is_infrastructure():
    own = tools(Flaky(fails=9), tries=3)
    with pytest.raises(ToolError, match="the service is down: start it"):
        await own.search.search(["tides"], 3)
    assert own.counts.given_up == 1
    assert own.counts.metrics()["failed_tries"] == 3


async def test_a_silent_search_is_tried_again_then_raised():
    silent = FaultyTools(Flaky(), Flaky(), timeouts=1.0)
    own = tools(silent, tries=2)
    with pytest.raises(ToolError, match=r"no answer within 0.05 s: .* oresearch\.tools\.timeout"):
        await own.search.search(["tides"], 3)
    assert silent.played == {"timeout": 2}
    assert (own.counts.timeouts, own.counts.retries, own.counts.given_up) == (2, 1, 1)


async def test_a_hung_page_is_the_webs_fault_and_its_siblings_are_read():
    own = tools(Flaky())
    first, hung, last = await own.reader.read(["a", "hang", "b"], "")
    assert (first.text, last.text) == ("read", "read")
    assert hung == Page(url="hang", fault="gave no answer within 0.05 s")
    assert own.counts == ToolCounts(pages=3, page_timeouts=1)


async def test_a_page_that_is_not_there_is_an_observation():
    own = tools(Flaky())
    [page] = await own.reader.read(["404"], "")
    assert page.fault == "answered 404"
    assert own.counts == ToolCounts(pages=1, page_faults=1)


async def test_one_page_of_a_reader_out_of_order_fails_the_call():
    own = tools(Flaky(fails=9), tries=2)
    with pytest.raises(ToolError, match="the service is down"):
        await own.reader.read(["a", "b"], "")
    assert asyncio.all_tasks() == {asyncio.current_task()}, "its sibling was cancelled"


async def test_one_query_that_fails_alone_is_not_shown_as_an_empty_web():
    class Half(Flaky):
        async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
            found = await super().search(queries, k)
            bad = self.asked == 1
            return [found[0], Hits(query=queries[1], fault="HTTP 502") if bad else found[1]]

    own = tools(Half())
    found = await own.search.search(["tides", "moons"], 3)
    assert [hits.fault for hits in found] == [None, None]
    assert own.counts.failed_tries == {"ToolError": 1}


async def test_a_fault_in_code_is_not_asked_again():
    faulty = FaultyTools(Flaky(), Flaky(), raising="tides")
    own = tools(faulty)
    with pytest.raises(RuntimeError):
        await own.search.search(["tides"], 3)
    assert faulty.played == {"raising": 1}
    assert own.counts.failed_tries == {"RuntimeError": 1}


async def test_all_rollouts_of_a_process_share_one_number_of_calls():
    flaky = Flaky()
    rollouts = [tools(flaky, concurrency=4, timeout=5, page_timeout=5) for _ in range(10)]
    await asyncio.gather(
        *(own.search.search(["tides"], 3) for own in rollouts),
        *(own.reader.read(["a", "b", "c"], "") for own in rollouts),
    )
    assert flaky.asked == 40
    assert flaky.most == 4
    assert {own.counts.calls for own in rollouts} == {4}, "counts are each rollout's own"


async def test_the_wait_for_a_turn_counts_into_no_time_out():
    flaky = FaultyTools(Flaky(), Flaky(), hung_page="hang")
    own = tools(flaky, concurrency=1)
    hung, *others = await own.reader.read(["hang", *"abcdefgh"], "")
    assert hung.fault
    assert [page.text for page in others] == ["read"] * 8
    assert own.counts.page_timeouts == 1


async def test_a_query_that_the_service_refuses_is_shown_and_not_asked_again():
    class Picky(Flaky):
        async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
            await self._answer()
            return [Hits(query=query, fault="reword it", refused=True) for query in queries]

    picky = Picky()
    own = tools(picky)
    [hits] = await own.search.search(["odd"], 3)
    assert hits.fault == "reword it"
    assert (picky.asked, own.counts.given_up) == (1, 0)


async def test_faults_are_the_same_at_every_run():
    async def played() -> list[bool]:
        own = tools(FaultyTools(Flaky(), Flaky(), timeouts=0.2, seed=7), timeout=0.3, tries=1)
        found = await asyncio.gather(
            *(own.search.search([f"query {n}"], 1) for n in range(100)), return_exceptions=True
        )
        return [isinstance(one, ToolError) for one in found]

    first = await played()
    assert first == await played()
    assert 10 <= sum(first) <= 30


async def test_shuffled_observations_are_another_questions():
    documents = Documents(PAGES)
    plain = tools(documents)
    other = shuffled(plain, "which moons has Mars")
    found = await other.search.search(["tides of the sea", "spring tides"], 4)
    assert documents.searched == ["which moons has Mars"]
    assert [hits.query for hits in found] == ["tides of the sea", "spring tides"]
    assert found[0].hits == found[1].hits
    assert other.reader is plain.reader
    assert other.counts is plain.counts


async def test_a_record_is_replayed_and_what_it_lacks_is_not_to_be_found(tmp_path: Path):
    documents, file = Documents(PAGES), tmp_path / "record.jsonl"
    recorder = Recorder(documents, documents, file)
    recorded = await recorder.search(["tides"], 3)
    pages = await recorder.read(list(PAGES)[:2], "tides")
    settings = RLSettings(tools=ToolSettings(source="recorded", path=file))
    own = training_tools(settings)
    assert await own.search.search(["tides"], 3) == recorded
    assert await own.reader.read(list(PAGES)[:2], "tides") == pages
    assert await own.search.search(["moons"], 3) == [Hits(query="moons")]
    [page] = await own.reader.read(["https://example.org/never"], "")
    assert page.fault is not None
    assert own.counts.given_up == 0


async def test_a_folder_is_opened_once_for_all_rollouts(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "tides.md").write_text("# Tides\n\nThe moon raises tides in the sea.")
    settings = RLSettings(tools=ToolSettings(source="corpus", path=folder))
    check_documents(settings)
    assert open_documents(settings) is open_documents(settings)
    own = training_tools(settings)
    [hits] = await own.search.search(["moon and tides"], 3)
    [page] = await own.reader.read([hits.hits[0].url], "")
    assert "raises tides" in page.text


async def test_source_rules_hold_for_the_documents_of_training(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path / "cache"))
    (tmp_path / "old.md").write_text("---\ndate: 2001-02-03\n---\n# Tides\n\nThe moon and tides.")
    settings = RLSettings(
        tools=ToolSettings(source="corpus", path=tmp_path),
        research={"exclude_domains": ("example.com",)},
    )
    own = training_tools(settings)
    [page] = await own.reader.read(["https://example.com/x"], "")
    assert page.fault == "example.com is excluded by the source rules"


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"source": "corpus"}, r"needs the folder: set oresearch\.tools\.path"),
        ({"source": "recorded"}, r"needs the file of recorded answers"),
        ({"source": "corpus", "path": "nowhere"}, "does not exist: correct it"),
        ({"source": "service", "path": "nowhere"}, "does not exist: correct it"),
        ({"source": "recorded", "path": "nowhere.jsonl"}, "cannot be read"),
        ({"source": "service"}, r"set oresearch\.tools\.path"),
    ],
)
def test_documents_that_cannot_be_had_are_refused_with_the_fix(chosen, message: str):
    settings = RLSettings(tools=ToolSettings.model_validate(chosen))
    with pytest.raises(ConfigurationError, match=message):
        check_documents(settings)


def test_a_live_provider_without_its_key_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    settings = RLSettings(tools=ToolSettings(source="live"), research={"search": "tavily"})
    with pytest.raises(ConfigurationError, match="set TAVILY_API_KEY"):
        check_documents(settings)


def test_the_graphs_own_time_out_leaves_room_for_all_tries():
    settings = RLSettings(tools=ToolSettings(timeout=10, tries=4, turn_timeout=20))
    assert settings.research_settings.tool_timeout >= 4 * (10 + 20)


async def researched(faulty: FaultyTools, script: Script, **settings: object) -> Trace:
    """A run of the graph as a rollout makes it."""
    own = tools(faulty, **settings)
    wanted = RLSettings(tools=ToolSettings.model_validate({"timeout": 0.05, **settings}))
    graph = create_research_graph(
        ScriptedPolicy(script),
        search=own.search,
        reader=own.reader,
        settings=wanted.research_settings,
    )
    trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    assert isinstance(trace, Trace)
    return trace


async def test_in_the_trace_a_hung_page_is_an_observation_and_no_failure():
    write = research_script()

    def opening(thread: Thread) -> str:
        text = write(thread)
        return re.sub(
            r"<web_search>.*</web_search>",
            "<crawl_page>https://example.org/tides | https://example.org/moon</crawl_page>",
            text,
        )

    documents = Documents(PAGES)
    faulty = FaultyTools(documents, documents, hung_page="moon")
    trace = await researched(faulty, opening, page_timeout=0.05)
    observed = [step.text for step in trace.steps if step.kind == "observation"]
    assert len(observed) == 2
    for text in observed:
        assert "Bay of Fundy" in text
        assert "https://example.org/moon: could not be read: gave no answer within 0.05 s" in text
    assert not trace.failures


@pytest.mark.parametrize(
    ("fault", "name"),
    [({"timeouts": 1.0}, "tool_error"), ({"raising": "tides"}, "internal")],
)
async def test_in_the_trace_a_tool_out_of_order_is_infrastructures(fault, name: str):
    documents = Documents(PAGES)
    faulty = FaultyTools(documents, documents, **fault)
    trace = await researched(faulty, research_script(), tries=2)
    found = {(failure.name, failure.fault) for failure in trace.failures if failure.branch}
    assert found == {(name, "infrastructure")}
