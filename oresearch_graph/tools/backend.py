"""The tools seam: a search backend and a page reader. Every source of documents is one of these."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from pydantic import BaseModel, ConfigDict


class Hit(BaseModel):
    """One search result."""

    model_config = ConfigDict(frozen=True)

    url: str
    title: str = ""
    snippet: str = ""
    published: str | None = None
    """ISO date, when the backend states one."""


class Hits(BaseModel):
    """The results of one query, best first; `fault` when this query alone found no service."""

    model_config = ConfigDict(frozen=True)

    query: str
    hits: tuple[Hit, ...] = ()
    fault: str | None = None


class Page(BaseModel):
    """One page as read: its text, or in `fault` why there is none (404, empty, too large)."""

    model_config = ConfigDict(frozen=True)

    url: str
    """The address asked for."""
    final_url: str | None = None
    """Where redirects led, when that is another address."""
    title: str = ""
    text: str = ""
    published: str | None = None
    fault: str | None = None


class ToolResult(BaseModel):
    """What one call of a tool found, as data: the source ledger gives it ids and words."""

    model_config = ConfigDict(frozen=True)

    tool: Literal["web_search", "crawl_page"]
    hits: tuple[Hits, ...] = ()
    """Of web_search: one for each distinct query, in order."""
    pages: tuple[Page, ...] = ()
    """Of crawl_page: one for each distinct address, in order, cut to the token budget."""


class SearchBackend(Protocol):
    """Finds addresses for queries."""

    @property
    def name(self) -> str: ...

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        """At most `k` hits for each query, in the order of `queries`.

        Raises ToolError when the service itself is out of order.
        """
        ...


class PageReader(Protocol):
    """Opens addresses."""

    @property
    def name(self) -> str: ...

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        """The pages in the order of `urls`, whole; `focus` may guide a remote extractor.

        A page that cannot be had is a Page with `fault`. Raises ToolError when the reader itself
        is out of order.
        """
        ...
