"""Pages already read, and pages being read: one fetch per address at a time, whoever asks.

A cache belongs to one run, or to one tenant by name; nothing is shared beyond that, so a private
document never crosses to another tenant.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from oresearch_graph.tools.backend import Page, PageReader
from oresearch_graph.tools.single_flight import SingleFlight
from oresearch_graph.trace.plain_text import spelled_address

FAULT_SECONDS: Final = 60.0
"""A fault is remembered no longer: the next minute may be better."""
MAX_TENANTS: Final = 64

Key = tuple[str, str]
"""Reader's name and address."""


class PageCache:
    """Pages by reader and address, bounded in age, number and characters. Safe across threads
    and event loops; pages in flight are shared within one loop."""

    def __init__(
        self,
        seconds: float,
        *,
        max_pages: int = 1_000,
        max_characters: int = 50_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.seconds = seconds
        self._max_pages = max_pages
        self._max_characters = max_characters
        self._clock = clock
        self._pages: OrderedDict[Key, tuple[float, Page]] = OrderedDict()
        self._characters = 0
        self._flights = SingleFlight[Page]()
        self._lock = threading.Lock()

    async def page(self, key: Key, fetch: Callable[[], Awaitable[Page]]) -> Page:
        """The page of `key`: remembered, or awaited from whoever fetches it now, or fetched. The
        fetch is cancelled when the last one who waits for it is."""
        page = self._cached(key)
        if page is not None:
            return page
        return await self._flights.of(key, lambda: self._fetched(key, fetch))

    async def _fetched(self, key: Key, fetch: Callable[[], Awaitable[Page]]) -> Page:
        page = await fetch()
        self._keep(key, page)
        return page

    def _cached(self, key: Key) -> Page | None:
        with self._lock:
            until, page = self._pages.get(key, (0.0, None))
            if page is None or until <= self._clock():
                return None
            self._pages.move_to_end(key)
            return page

    def _keep(self, key: Key, page: Page) -> None:
        seconds = self.seconds if page.fault is None else min(self.seconds, FAULT_SECONDS)
        with self._lock:
            self._drop(key)
            self._pages[key] = (self._clock() + seconds, page)
            self._characters += len(page.text)
            while len(self._pages) > self._max_pages or self._characters > self._max_characters:
                self._drop(next(iter(self._pages)))

    def _drop(self, key: Key) -> None:
        _, page = self._pages.pop(key, (0.0, None))
        self._characters -= len(page.text) if page else 0


class CachedReader:
    """A page reader that asks `reader` for one address at a time, through a cache."""

    def __init__(self, reader: PageReader, cache: PageCache, concurrency: int = 8) -> None:
        self.name = reader.name
        self._reader = reader
        self._cache = cache
        self._concurrency = concurrency

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        slots = asyncio.Semaphore(self._concurrency)

        async def one(url: str) -> Page:
            async with slots:
                return (await self._reader.read([url], focus))[0]

        async def cached(url: str) -> Page:
            address = url.partition("#")[0]
            page = await self._cache.page((self.name, address), lambda: one(address))
            return (
                page if page.url == url else page.model_copy(update={"url": spelled_address(url)})
            )

        return list(await asyncio.gather(*(cached(url) for url in urls)))


_tenants: OrderedDict[str, PageCache] = OrderedDict()
_tenants_lock = threading.Lock()


def cache_for(tenant: str | None, seconds: float) -> PageCache:
    """The cache of the named tenant, shared between its runs in this process; a new one for a run
    without a tenant."""
    if tenant is None:
        return PageCache(seconds)
    with _tenants_lock:
        cache = _tenants.setdefault(tenant, PageCache(seconds))
        cache.seconds = seconds
        _tenants.move_to_end(tenant)
        while len(_tenants) > MAX_TENANTS:
            _tenants.popitem(last=False)
        return cache
