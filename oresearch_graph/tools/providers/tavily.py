"""Tavily as search backend, and its extraction service as page reader."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from oresearch_graph.errors import ConfigurationError, RequestRefused, ToolError
from oresearch_graph.keys import Address, require_privacy, shown_address, usable_key
from oresearch_graph.network.causes import cause_of
from oresearch_graph.network.clients import http_client
from oresearch_graph.redaction import brief, quieted
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.tools.providers.service_calls import (
    LONGEST_QUERY,
    REFUSALS,
    Busy,
    each_query,
    service_error,
    with_retries,
)
from oresearch_graph.tools.reading.extract import clean
from oresearch_graph.tools.reading.html_text import iso_date
from oresearch_graph.tools.reading.shells import says_nothing, shell
from oresearch_graph.tools.source_rules import SourceRules

if TYPE_CHECKING:
    from tavily import AsyncTavilyClient

_SERVICE: Final = "https://api.tavily.com"
_SECONDS: Final = 60.0
"""Where a call says none."""
_BATCH: Final = 20
"""Addresses of one extraction call; the service takes no more."""


class _Account(NamedTuple):
    """Where calls go and with which key."""

    key: str
    base_url: str | None

    @classmethod
    def of(cls, key: str, base_url: str | None, allow_plain_http: bool | None) -> _Account:
        """Raises ConfigurationError for a key or an address that cannot be used."""
        key = usable_key(key, "TAVILY_API_KEY")
        if not base_url:
            return cls(key, None)
        address = Address.of(base_url)
        if address is None:
            raise ConfigurationError(
                f"{shown_address(base_url)} is no address of Tavily: correct TAVILY_BASE_URL"
            )
        require_privacy(address.url, "Tavily's key", allowed=allow_plain_http)
        return cls(key, base_url.strip().rstrip("/"))

    @asynccontextmanager
    async def client(self) -> AsyncIterator[AsyncTavilyClient]:
        """Tavily's client on a connection of its own: no loop is bound between calls."""
        from tavily import AsyncTavilyClient

        async with await http_client(self.base_url or _SERVICE, seconds=_SECONDS) as http:
            yield AsyncTavilyClient(self.key, api_base_url=self.base_url, client=http)


class TavilySearch:
    """Searches the web by Tavily, within the source rules that it can hold itself."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        rules: SourceRules | None = None,
        seconds: float = 30.0,
        allow_plain_http: bool | None = None,
    ) -> None:
        self.name = "tavily"
        self._account = _Account.of(api_key, base_url, allow_plain_http)
        self._rules = rules or SourceRules()
        self._seconds = seconds

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        rules = self._rules
        after, before = rules.published_after, rules.published_before
        answer = await _request(
            self._account,
            lambda client: client.search(
                query[:LONGEST_QUERY],
                max_results=min(k, 20),
                include_domains=list(rules.include_domains) or None,
                exclude_domains=list(rules.exclude_domains) or None,
                start_date=after.isoformat() if after else None,
                end_date=before.isoformat() if before else None,
                timeout=self._seconds,
            ),
        )
        entries = answer.get("results") or []
        hits = [_hit(entry) for entry in entries if isinstance(entry, dict) and entry.get("url")]
        return Hits(query=query, hits=tuple(hits[:k]))


class TavilyReader:
    """Reads pages by Tavily's extraction service: nothing is fetched from this machine."""

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str | None = None,
        seconds: float = 40.0,
        allow_plain_http: bool | None = None,
    ) -> None:
        self.name = "tavily-extract"
        self._account = _Account.of(api_key, base_url, allow_plain_http)
        self._seconds = seconds

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:  # noqa: ARG002 (seam)
        pages: dict[str, Page] = {}
        distinct = list(dict.fromkeys(urls))
        for low in range(0, len(distinct), _BATCH):
            pages |= await self._batch(distinct[low : low + _BATCH])
        return [pages.get(url, Page(url=url, fault="was not extracted")) for url in urls]

    async def _batch(self, urls: list[str]) -> dict[str, Page]:
        try:
            answer = await _request(
                self._account,
                lambda client: client.extract(urls, format="text", timeout=self._seconds),
            )
        except RequestRefused as refusal:
            return {url: Page(url=url, fault=str(refusal)) for url in urls}
        pages = {}
        for entry in answer.get("results", []):
            text = clean(str(entry.get("raw_content") or ""))
            does = shell(text, str(entry.get("title") or ""))
            pages[str(entry.get("url"))] = Page(
                url=str(entry.get("url")),
                title=str(entry.get("title") or ""),
                text="" if does else text,
                fault=says_nothing(does) if does else None if text else "holds no text",
            )
        for entry in answer.get("failed_results", []):
            url, error = str(entry.get("url")), brief(entry.get("error") or "failed")
            pages[url] = Page(url=url, fault=f"was not extracted: {error}")
        return pages


def _hit(entry: dict[str, Any]) -> Hit:
    return Hit(
        url=str(entry["url"]),
        title=str(entry.get("title") or ""),
        snippet=str(entry.get("content") or ""),
        published=iso_date(str(entry.get("published_date") or "")),
    )


_Call = Callable[["AsyncTavilyClient"], Awaitable[dict[str, Any]]]


async def _request(account: _Account, call: _Call) -> dict[str, Any]:
    from tavily import errors as tavily_errors

    async def once() -> dict[str, Any]:
        try:
            async with account.client() as client:
                return await call(client)
        except (tavily_errors.UsageLimitExceededError, tavily_errors.TimeoutError) as error:
            raise Busy(str(error)) from error
        except httpx.HTTPStatusError as error:
            status = error.response.status_code
            if status >= 500:
                raise Busy(f"HTTP status {status}") from error
            if status in REFUSALS and cause_of(error) is None:
                raise RequestRefused(
                    f"Tavily did not take the request (HTTP status {status})"
                ) from quieted(error)
            raise

    try:
        return await with_retries(once)
    except tavily_errors.InvalidAPIKeyError as error:
        raise ToolError("Tavily refused the key: correct TAVILY_API_KEY") from quieted(error)
    except tavily_errors.ForbiddenError as error:
        why = brief(error)
        raise ToolError(f"Tavily refused ({why}): check the plan of your key") from quieted(error)
    except tavily_errors.BadRequestError as error:
        why = brief(error)
        raise RequestRefused(
            f"Tavily did not take the request ({why}): give another query or address"
        ) from quieted(error)
    except (Busy, httpx.HTTPError) as error:
        fix = "check the network, then try again"
        raise service_error("Tavily", error, fix) from quieted(error)
