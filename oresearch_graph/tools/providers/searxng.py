"""SearXNG as search backend: the metasearch engine that people run themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import httpx

from oresearch_graph.errors import ConfigurationError, RequestRefused, ToolError
from oresearch_graph.keys import Address, require_privacy, shown_address
from oresearch_graph.network.causes import cause_of
from oresearch_graph.network.clients import http_client
from oresearch_graph.redaction import brief, quieted
from oresearch_graph.tools.backend import Hit, Hits
from oresearch_graph.tools.providers.service_calls import (
    LONGEST_QUERY,
    REFUSALS,
    Busy,
    each_query,
    retry_after,
    service_error,
    with_retries,
)
from oresearch_graph.tools.reading.html_text import iso_date

_ENGINES: Final = 8
"""Names in an error."""


class SearxngSearch:
    """Searches one SearXNG instance by its JSON interface. The person chose the instance, so it
    may be on a private address. User and password in the address are sent by basic
    authentication, and over plain http to loopback only, unless allowed."""

    def __init__(
        self, base_url: str, *, seconds: float = 20.0, allow_plain_http: bool | None = None
    ) -> None:
        address = Address.of(base_url)
        if address is None:
            raise ConfigurationError(
                f"{shown_address(base_url)} is no SearXNG address: write "
                "searxng:https://your.instance"
            )
        if address.gives_key:
            require_privacy(address.url, "SearXNG's password", allowed=allow_plain_http)
        self.name = "searxng"
        self._address = address.url.rstrip("/").removesuffix("/search") + "/search"
        self._auth = (address.user, address.password) if address.gives_key else None
        self._seconds = seconds

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        try:
            answer = await with_retries(lambda: self._ask(query[:LONGEST_QUERY]))
        except (Busy, httpx.HTTPError) as error:
            raise service_error(
                f"SearXNG at {self._address}", error, "check that it runs and can be reached"
            ) from quieted(error)
        hits = [_hit(entry) for entry in answer if isinstance(entry, dict) and entry.get("url")]
        return Hits(query=query, hits=tuple(hits[:k]))

    async def _ask(self, query: str) -> list[Any]:
        client = await http_client(self._address, seconds=self._seconds, auth=self._auth)
        async with client:
            response = await client.get(self._address, params={"q": query, "format": "json"})
        if response.status_code == 429 or response.status_code >= 500:
            raise Busy(f"HTTP status {response.status_code}", retry_after(response))
        if response.status_code == 403:
            raise ToolError(
                f"SearXNG at {self._address} refuses JSON: add json to search.formats in its "
                "settings.yml"
            )
        if response.status_code == 401:
            raise ToolError(
                f"SearXNG at {self._address} refuses the user and password: correct them, as in "
                "searxng:https://USER:PASSWORD@HOST"
            )
        # `!!engine words` is answered by a redirect to that engine's own page.
        refuses = response.status_code in REFUSALS or (response.is_redirect and "!!" in query)
        try:
            response.raise_for_status()
        except httpx.HTTPStatusError as error:
            if not refuses or cause_of(error) is not None:
                raise
            status = response.status_code
            raise RequestRefused(
                f"SearXNG does not take this query (HTTP status {status}): reword it"
            ) from error
        try:
            answer = response.json()
            results = answer["results"]
        except (ValueError, KeyError, TypeError):
            results = None
        if not isinstance(results, list):
            raise ToolError(f"{self._address} did not answer as SearXNG does: check the address")
        if not results and (silent := _silent(answer.get("unresponsive_engines"))):
            raise ToolError(
                f"SearXNG at {self._address} has no results, for its engines do not answer "
                f"({silent}): wait, or enable others in its settings.yml"
            )
        return results


def _silent(engines: object) -> str:
    """Names and reasons of engines that gave nothing, as SearXNG lists them."""
    pairs = engines if isinstance(engines, list) else []
    names = [" ".join(map(str, pair)) for pair in pairs if isinstance(pair, list | tuple) and pair]
    return brief(", ".join(names[:_ENGINES]))


def _hit(entry: dict[str, Any]) -> Hit:
    return Hit(
        url=str(entry["url"]),
        title=str(entry.get("title") or ""),
        snippet=str(entry.get("content") or ""),
        published=iso_date(str(entry.get("publishedDate") or "")),
    )
