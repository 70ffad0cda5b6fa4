"""One fetch per address, remembered within one run or tenant."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.backend import Page
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.page_cache import CachedReader, PageCache, cache_for
from oresearch_graph.tools.web.reader import WebReader
from tests.helpers.loopback_site import running_site


class CountingReader:
    """Answers after a moment and counts what it was asked."""

    name = "counting"

    def __init__(self, fault: str | None = None, error: ToolError | None = None) -> None:
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self._fault = fault
        self._error = error

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        self.asked += urls
        try:
            await asyncio.sleep(0.02)
        except asyncio.CancelledError:
            self.cancelled += urls
            raise
        if self._error:
            raise self._error
        return [Page(url=url, text="x" * 100, fault=self._fault) for url in urls]


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_second_asker_waits_for_the_first() -> None:
    inner = CountingReader()
    reader = CachedReader(inner, PageCache(60))
    answers = await asyncio.gather(*(reader.read(["http://a/#part"], str(i)) for i in range(5)))
    assert inner.asked == ["http://a/"]
    assert {answer[0].text for answer in answers} == {"x" * 100}


async def test_a_cancelled_first_asker_does_not_take_the_page_from_the_second() -> None:
    inner = CountingReader()
    reader = CachedReader(inner, PageCache(60))
    first = asyncio.create_task(reader.read(["http://a/"], ""))
    second = asyncio.create_task(reader.read(["http://a/"], ""))
    await asyncio.sleep(0.005)
    first.cancel()
    assert (await second)[0].text
    assert inner.asked == ["http://a/"]


async def test_the_fetch_ends_with_the_last_who_waits() -> None:
    inner = CountingReader()
    reader = CachedReader(inner, PageCache(60))
    alone = asyncio.create_task(reader.read(["http://a/"], ""))
    await asyncio.sleep(0.005)
    alone.cancel()
    await asyncio.gather(alone, return_exceptions=True)
    await asyncio.sleep(0)
    assert inner.cancelled == ["http://a/"]
    assert (await reader.read(["http://a/"], ""))[0].text


async def test_an_error_reaches_every_asker_and_is_not_kept() -> None:
    inner = CountingReader(error=ToolError("down"))
    reader = CachedReader(inner, PageCache(60))
    both = (reader.read(["http://a/"], "") for _ in range(2))
    errors = await asyncio.gather(*both, return_exceptions=True)
    assert [type(error) for error in errors] == [ToolError, ToolError]
    with pytest.raises(ToolError):
        await reader.read(["http://a/"], "")
    assert len(inner.asked) == 2


async def test_pages_age_and_faults_age_faster() -> None:
    clock = Clock()
    for fault, fresh, stale in ((None, 99.0, 101.0), ("HTTP status 500", 59.0, 61.0)):
        inner = CountingReader(fault=fault)
        reader = CachedReader(inner, PageCache(100, clock=clock))
        clock.now = 0.0
        for clock.now, asked in ((0.0, 1), (fresh, 1), (stale, 2)):
            await reader.read(["http://a/"], "")
            assert len(inner.asked) == asked


async def test_the_cache_is_bounded_in_pages_and_characters() -> None:
    for cache in (PageCache(60, max_pages=2), PageCache(60, max_characters=250)):
        inner = CountingReader()
        reader = CachedReader(inner, cache)
        for url in ("a", "b", "c", "b", "c", "a"):
            await reader.read([url], "")
        assert inner.asked == ["a", "b", "c", "a"]


async def test_tenants_do_not_share_and_runs_without_one_neither() -> None:
    assert cache_for("red", 60) is cache_for("red", 60)
    assert cache_for("red", 60) is not cache_for("blue", 60)
    assert cache_for(None, 60) is not cache_for(None, 60)


async def test_a_private_page_does_not_answer_a_reader_that_may_not_go_there() -> None:
    cache = PageCache(60)
    with running_site() as site:
        url = site.add("/wiki", "<p>Internal words of the wiki page.</p>")
        allowed = WebReader(AddressGuard(allow_private=True))
        assert "Internal" in (await CachedReader(allowed, cache).read([url], ""))[0].text
        page = (await CachedReader(WebReader(), cache).read([url], ""))[0]
        assert "loopback" in str(page.fault)
