"""The page reader of the live web: guarded fetch, then reading in a worker process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from oresearch_graph.tools.backend import Page
from oresearch_graph.tools.reading.pool import READERS, ReaderPool
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.fetch import Fetched, Fetcher, FetchLimits


class WebReader:
    """Reads http and https pages: HTML, PDF, plain text. Whole pages; faults are data."""

    def __init__(
        self,
        guard: AddressGuard | None = None,
        limits: FetchLimits | None = None,
        concurrency: int = 8,
        *,
        readers: ReaderPool = READERS,
    ) -> None:
        self._guard = guard or AddressGuard()
        self._limits = limits or FetchLimits()
        self._concurrency = concurrency
        self._readers = readers
        # The name is a part of the cache's key: a page read from a private address must not
        # answer a reader that may not go there.
        self.name = "web+private" if self._guard.allow_private else "web"

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:  # noqa: ARG002 (seam)
        slots = asyncio.Semaphore(self._concurrency)
        async with Fetcher(self._guard, self._limits) as fetcher:

            async def one(url: str) -> Page:
                async with slots:
                    return await self._page(url, await fetcher.fetch(url))

            return list(await asyncio.gather(*(one(url) for url in urls)))

    async def _page(self, url: str, fetched: Fetched) -> Page:
        final = fetched.url if fetched.url != url else None
        if fetched.fault is not None:
            return Page(url=url, final_url=final, fault=fetched.fault)
        content = await self._readers.read(
            fetched.body, fetched.media_type, fetched.charset, fetched.url, client=self
        )
        return Page(
            url=url,
            final_url=final,
            title=content.title,
            text=content.text,
            published=content.published,
            fault=content.fault,
        )
