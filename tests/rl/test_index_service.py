"""One index for all workers: the same answers as at home, made once, and never a silent fault."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.tools.backend import Hit
from oresearch_graph.tools.corpus.index import CorpusIndex
from oresearch_graph.tools.corpus.local import LocalCorpus
from rl.settings import RLSettings, ToolSettings
from rl.tools.documents import IndexClient, check_documents, open_documents
from rl.tools.index_service import AnswerCache, IndexService, Overloaded, main, serving
from rl.tools.training_tools import training_tools
from tests.helpers.loopback_site import Answer, running_site

TEXTS = {
    "tides.md": "# Tides\n\nThe moon raises tides in the sea, twice a day.",
    "moons.md": "# Moons of Mars\n\nPhobos and Deimos are the moons of Mars.",
    "月.md": "# 月\n\n月球引起潮汐。",
}


@pytest.fixture
def corpus(tmp_path: Path) -> LocalCorpus:
    folder = tmp_path / "documents"
    folder.mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    corpus = LocalCorpus(folder, cache=tmp_path / "cache")
    corpus.update()
    return corpus


@pytest.fixture
def service(corpus: LocalCorpus) -> IndexService:
    return IndexService(corpus, threads=2)


@pytest.fixture
def address(service: IndexService) -> Iterator[str]:
    with serving(service) as address:
        yield address


@asynccontextmanager
async def client_of(address: str | Callable[[], str]) -> AsyncIterator[IndexClient]:
    client = IndexClient(address, seconds=5)
    yield client
    await client.aclose()


async def until(there: Callable[[], bool]) -> None:
    """The service runs in a thread of its own: look again until it has got so far."""
    async with asyncio.timeout(10):
        while not there():  # noqa: ASYNC110 - no event of this loop tells it
            await asyncio.sleep(0.01)


async def test_the_service_answers_as_the_corpus_itself(corpus: LocalCorpus, address: str):
    queries = ["moon and tides", "潮汐", "moons of Mars", "nothing of that kind", "?!"]
    async with client_of(address) as client:
        found = await client.search(queries, 3)
        assert found == await corpus.search(queries, 3)
        assert found[0].hits, "something was compared"
        urls = [found[0].hits[0].url, f"{found[1].hits[0].url}#part", "tides.md", "file:///none"]
        assert await client.read(urls, "") == await corpus.read(urls, "")


async def test_equal_searches_at_one_time_search_the_index_once(
    service: IndexService, address: str, monkeypatch: pytest.MonkeyPatch
):
    searched: list[str] = []
    may_go_on = threading.Event()

    def search(self: CorpusIndex, query: str, k: int) -> list[Hit]:
        searched.append(query)
        assert may_go_on.wait(10)
        return [Hit(url=f"doc:{query}")]

    monkeypatch.setattr(CorpusIndex, "search", search)
    async with client_of(address) as client:
        group = [asyncio.create_task(client.search(["tides", "moon"], 3)) for _ in range(8)]
        await until(lambda: service.cache.requests == 16)
        may_go_on.set()
        answers = await asyncio.gather(*group)
        await client.search(["moon"], 3)
        await client.search(["moon"], 4)
    assert sorted(searched) == ["moon", "moon", "tides"], "k=4 is another search"
    assert all(answer == answers[0] for answer in answers)
    assert (service.cache.requests, service.cache.computed) == (18, 3)


async def test_too_much_to_do_is_said_waited_for_and_then_raised(
    corpus: LocalCorpus, monkeypatch: pytest.MonkeyPatch
):
    may_go_on = threading.Event()
    monkeypatch.setattr(CorpusIndex, "search", lambda *_: may_go_on.wait(10) and [])
    monkeypatch.setattr("oresearch_graph.tools.providers.service_calls.LONGEST_WAIT", 0.01)
    service = IndexService(corpus, threads=1, backlog=2)
    with serving(service) as address:
        async with client_of(address) as client:
            busy = [asyncio.create_task(client.search([query], 3)) for query in ("one", "two")]
            await until(lambda: service.cache.waiting == 2)
            async with httpx.AsyncClient(trust_env=False) as plain:
                asked = {"queries": ["three"], "k": 3}
                refused = await plain.post(f"{address}/search", json=asked)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            with pytest.raises(ToolError, match=r"is overloaded .* --threads"):
                await client.search(["three"], 3)
            may_go_on.set()
            await asyncio.gather(*busy)
            assert await client.search(["three"], 3), "and it goes on"


async def test_an_index_out_of_order_is_a_tool_error(address: str, monkeypatch: pytest.MonkeyPatch):
    def broken(*_: object) -> list[Hit]:
        raise ToolError("the corpus index cannot be used: delete it")

    monkeypatch.setattr(CorpusIndex, "search", broken)
    async with client_of(address) as client:
        with pytest.raises(ToolError, match=r"answered 500 .*delete it"):
            await client.search(["tides"], 3)


async def test_a_service_that_is_gone_is_named_and_found_again(service: IndexService):
    places: list[str] = []
    with serving(service) as first:
        places.append(first)
        async with client_of(lambda: places[-1]) as client:
            assert await client.search(["tides"], 3)
    async with client_of(lambda: places[-1]) as client:
        with pytest.raises(ToolError, match=rf"{first} does not answer .* start it"):
            await client.search(["tides"], 3)
        with pytest.raises(ToolError, match="does not answer"):
            await asyncio.to_thread(client.check)
        with serving(service) as second:
            places.append(second)
            assert await client.search(["tides"], 3)


async def test_a_rollout_without_its_service_is_dropped_not_scored(
    monkeypatch: pytest.MonkeyPatch, address: str
):
    monkeypatch.setattr("rl.tools.training_tools._WAITS", lambda _: 0.001)
    documents = IndexClient("http://127.0.0.1:9", seconds=2)
    own = training_tools(RLSettings(tools=ToolSettings(tries=3)), (documents, documents))
    with pytest.raises(ToolError, match=r"http://127.0.0.1:9 does not answer"):
        await own.reader.read(["file:///a"], "")
    assert (own.counts.retries, own.counts.given_up, own.counts.page_faults) == (2, 1, 0)
    await documents.aclose()


async def test_training_searches_a_service_that_runs_already(address: str):
    settings = RLSettings(tools=ToolSettings(source="service", address=address))
    check_documents(settings)
    own = await asyncio.to_thread(_opened, settings)
    [hits] = await own.search(["moons of Mars"], 1)
    assert hits.hits[0].title == "Moons of Mars"
    await own.aclose()


def _opened(settings: RLSettings) -> IndexClient:
    search, _ = open_documents(settings)
    assert isinstance(search, IndexClient)
    return search


async def test_a_stranger_at_the_address_is_recognized():
    with running_site() as site:
        site.pages["/health"] = site.pages["/search"] = lambda _: Answer(b"<html>hello")
        async with client_of(site.url) as client:
            with pytest.raises(ToolError, match="no index service"):
                await asyncio.to_thread(client.check)
            with pytest.raises(ToolError, match="no index service"):
                await client.search(["tides"], 3)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"queries": "a", "k": 3}', b'{"queries": [], "k": 0}']
)
def test_bad_requests_are_refused(address: str, body: bytes):
    answer = httpx.post(f"{address}/search", content=body, trust_env=False)
    assert answer.status_code == 400
    assert "bad request" in answer.json()["error"]


def test_an_address_in_use_is_refused_with_the_fix(service: IndexService, address: str):
    port = int(address.rpartition(":")[2])
    with pytest.raises(ConfigurationError, match="name another --host or --port"):  # noqa: SIM117
        with serving(service, "127.0.0.1", port):
            pytest.fail("two services at one address")


def test_a_folder_without_documents_is_one_line(tmp_path: Path):
    with pytest.raises(SystemExit, match="does not exist: correct it"):
        main([str(tmp_path / "none"), "--port", "0"])


async def test_another_process_serves_the_same(corpus: LocalCorpus, tmp_path: Path):
    command = [sys.executable, "-m", "rl.tools.index_service", str(corpus.folder), "--port", "0"]
    with subprocess.Popen(  # noqa: ASYNC220 - it is read once
        command, stdout=subprocess.PIPE, text=True, env={"ORESEARCH_HOME": str(tmp_path / "home")}
    ) as server:
        try:
            assert server.stdout
            line = server.stdout.readline()
            assert '"documents": 3' in line
            async with client_of(line.split(" at ")[1].split()[0]) as client:
                found = await client.search(["moon and tides"], 3)
            assert found == await corpus.search(["moon and tides"], 3)
        finally:
            server.terminate()


class TestAnswerCache:
    async def test_the_least_used_answers_leave_first(self):
        cache, made = AnswerCache(80, backlog=9), []

        async def ask(key: str) -> bytes:
            async def make() -> bytes:
                made.append(key)
                return b"0123456789"

            return await cache.of(key, make)

        for key in "abcdefgh":
            await ask(key)
        await ask("a")
        await ask("i")
        made.clear()
        await ask("a")
        assert made == []
        await ask("b")
        assert made == ["b"]

    async def test_a_large_answer_is_given_but_not_kept(self):
        cache = AnswerCache(80, backlog=9)
        for _ in range(2):
            assert await cache.of("a", self._large) == b"x" * 11
        assert cache.computed == 2

    @staticmethod
    async def _large() -> bytes:
        return b"x" * 11

    async def test_who_leaves_does_not_end_the_making_for_others(self):
        cache, may_go_on = AnswerCache(80, backlog=9), asyncio.Event()

        async def make() -> bytes:
            await may_go_on.wait()
            return b"made"

        leaving = asyncio.create_task(cache.of("a", make))
        staying = asyncio.create_task(cache.of("a", make))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        may_go_on.set()
        assert await staying == b"made"
        assert cache.computed == 1

    async def test_a_failure_is_told_to_all_and_tried_anew(self):
        cache, tries = AnswerCache(80, backlog=9), []

        async def make() -> bytes:
            tries.append(1)
            await asyncio.sleep(0)
            if len(tries) == 1:
                raise ToolError("down: start it")
            return b"up"

        both = await asyncio.gather(
            cache.of("a", make), cache.of("a", make), return_exceptions=True
        )
        assert [type(answer) for answer in both] == [ToolError, ToolError]
        assert await cache.of("a", make) == b"up"

    async def test_beyond_the_backlog_nothing_more_is_begun(self):
        cache, may_go_on = AnswerCache(80, backlog=1), asyncio.Event()

        async def make() -> bytes:
            await may_go_on.wait()
            return b"made"

        first = asyncio.create_task(cache.of("a", make))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await cache.of("b", make)
        same = asyncio.create_task(cache.of("a", make))
        await asyncio.sleep(0)
        may_go_on.set()
        assert [await first, await same] == [b"made", b"made"]
