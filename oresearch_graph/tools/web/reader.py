"""The page reader of the live web: addresses are fetched through the guard and within caps, then
read in a worker process.

What the web answers is data: a 404, a page that is too large or a host that is silent comes back
as a fault. Bodies are streamed and unpacked piece by piece, so neither a large page nor a
compression bomb is ever held whole."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urljoin

import httpx

from oresearch_graph.errors import AddressRefused, ConfigurationError, ToolError
from oresearch_graph.network.causes import cause_of, refused_by_proxy
from oresearch_graph.network.certificates import tls_context
from oresearch_graph.redaction import brief
from oresearch_graph.tools.backend import Page, pages_of
from oresearch_graph.tools.reading.pool import READERS, ReaderPool
from oresearch_graph.tools.reading.shells import says_nothing, shell
from oresearch_graph.tools.web.address_guard import AddressGuard, GuardedTransport

_HEADERS: Final = {
    "User-Agent": "Mozilla/5.0 (compatible; oresearch/0.1)",
    "Accept": "text/html,application/xhtml+xml,application/pdf,text/plain;q=0.9,*/*;q=0.5",
    "Accept-Language": "en,*;q=0.5",
    "Accept-Encoding": "gzip, deflate",
}
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
_STEP: Final = 1 << 20
_LONGEST_HEADER: Final = 500


@dataclass(frozen=True)
class FetchLimits:
    """Caps on one fetch."""

    body_bytes: int = 15_000_000
    """Unpacked."""
    redirects: int = 5
    seconds: float = 25.0
    """In total, redirects and body included."""
    connect_seconds: float = 8.0


@dataclass(frozen=True)
class Fetched:
    """An address's answer, or in `fault` why there is none to use."""

    url: str
    """The final address, after redirects."""
    media_type: str = ""
    charset: str | None = None
    """As the server states it."""
    body: bytes = field(default=b"", repr=False)
    fault: str | None = None


class Fetcher:
    """An HTTP client for one batch of addresses. Use as `async with`."""

    def __init__(self, guard: AddressGuard, limits: FetchLimits | None = None) -> None:
        self._guard = guard
        self._limits = limits or FetchLimits()
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Fetcher:
        tls = await asyncio.to_thread(tls_context)
        limits = self._limits
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(self._guard, tls),
            headers=_HEADERS,
            timeout=httpx.Timeout(limits.seconds, connect=limits.connect_seconds),
            trust_env=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def fetch(self, url: str) -> Fetched:
        """The page at `url` within the limits. An address the guard refuses is a fault too.

        Raises ConfigurationError and ToolError for a proxy that serves no address.
        """
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await self._follow(url)
        except TimeoutError:
            return Fetched(url, fault=f"no complete answer within {self._limits.seconds:g} s")
        except ConfigurationError:
            raise
        except AddressRefused as error:
            return Fetched(url, fault=str(error))
        except Exception as error:  # noqa: BLE001 - one address must not cost those beside it
            return Fetched(url, fault=_fault(error))

    async def _follow(self, url: str) -> Fetched:
        for _ in range(self._limits.redirects + 1):
            answer = await self._ask(url)
            if isinstance(answer, Fetched):
                return answer
            url = answer
        return Fetched(url, fault=f"more than {self._limits.redirects} redirects")

    async def _ask(self, url: str) -> Fetched | str:
        """The answer of one address, or the address it redirects to."""
        if self._client is None:
            raise RuntimeError("use Fetcher as an async context manager")
        self._guard.check_url(url)
        async with self._client.stream("GET", url) as response:
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return urljoin(url, response.headers["location"])
            if refused_by_proxy(response):
                response.raise_for_status()
            if response.status_code != 200:
                return Fetched(url, fault=f"HTTP status {response.status_code}")
            return await self._body(url, response)

    async def _body(self, url: str, response: httpx.Response) -> Fetched:
        media_type, charset = _content_type(response.headers.get("content-type", ""))
        unpacked = _unpacked(response)
        if unpacked is None:
            return Fetched(url, media_type, fault="packed in a way that was not asked for")
        body = bytearray()
        try:
            async for piece in unpacked:
                body += piece
                if len(body) > self._limits.body_bytes:
                    size = self._limits.body_bytes / 1e6
                    return Fetched(url, media_type, fault=f"larger than {size:g} MB")
        except zlib.error as error:
            return Fetched(url, media_type, fault=f"damaged compression: {error}")
        return Fetched(url, media_type, charset, bytes(body))


def _fault(error: Exception) -> str:
    """Why a page cannot be had. Raises ToolError where no page by its proxy can."""
    cause = cause_of(error)
    if cause is not None and cause.of_proxy:
        raise ToolError(f"no page can be fetched: {cause.words}; {cause.fix}") from error
    if cause is None and isinstance(error, httpx.TimeoutException):
        return "the server did not answer in time"
    return f"cannot be fetched: {cause.words if cause else brief(error) or type(error).__name__}"


def _content_type(header: str) -> tuple[str, str | None]:
    """Media type and charset as stated. Of a longer header the rest is nobody's honest answer."""
    media_type, *parameters = header[:_LONGEST_HEADER].split(";")
    stated = (parameter.partition("=") for parameter in parameters)
    charset = next((value for name, _, value in stated if name.strip().lower() == "charset"), "")
    return media_type.strip().lower(), charset.strip(" \t'\"") or None


def _unpacked(response: httpx.Response) -> AsyncIterator[bytes] | None:
    coding = response.headers.get("content-encoding", "identity").strip().lower()
    if coding in ("", "identity"):
        return response.aiter_raw()
    return _inflated(response) if coding in ("gzip", "x-gzip", "deflate") else None


async def _inflated(response: httpx.Response) -> AsyncIterator[bytes]:
    """gzip or zlib, at most 1 MB at a time."""
    inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    async for packed in response.aiter_raw():
        while packed and not inflater.eof:
            yield inflater.decompress(packed, _STEP)
            packed = inflater.unconsumed_tail


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
        """Raises ToolError where a proxy serves none of them, and ConfigurationError."""
        slots = asyncio.Semaphore(self._concurrency)
        async with Fetcher(self._guard, self._limits) as fetcher:

            async def one(url: str) -> Page | ToolError:
                async with slots:
                    try:
                        return await self._page(url, await fetcher.fetch(url))
                    except ToolError as error:
                        return error

            answers = await asyncio.gather(*(one(url) for url in urls))
        return pages_of(urls, answers)

    async def _page(self, url: str, fetched: Fetched) -> Page:
        final = fetched.url if fetched.url != url else None
        if fetched.fault is not None:
            return Page(url=url, final_url=final, fault=fetched.fault)
        content = await self._readers.read(
            fetched.body, fetched.media_type, fetched.charset, fetched.url, client=self
        )
        does = None if content.fault else shell(content.text, content.title)
        return Page(
            url=url,
            final_url=final,
            title=content.title,
            text="" if does else content.text,
            published=content.published,
            fault=says_nothing(does) if does else content.fault,
        )
