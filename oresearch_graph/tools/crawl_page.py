"""The `crawl_page` tool: opens addresses and keeps of each page what matters for the subtask."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.evidence.ledger import cut_to
from oresearch_graph.text.words import token_count
from oresearch_graph.tools.backend import Page, PageReader, ToolResult, pages_of
from oresearch_graph.tools.event_loop import result_of

_log = logging.getLogger("oresearch_graph")

MAX_URLS: Final = 10
"""Of one call: what comes after is answered with one fault."""


class CrawlInput(BaseModel):
    """Arguments of the LangChain tool."""

    urls: list[str] = Field(description="Addresses to open.")
    focus: str = Field(default="", description="What to look for: passages about it are kept.")


class CrawlPage:
    """Opens pages: `tokens` for the pages of one call together, `seconds` for each page."""

    name: Final = "crawl_page"

    def __init__(self, reader: PageReader, *, tokens: int = 3_000, seconds: float = 45.0) -> None:
        self._reader = reader
        self._tokens = tokens
        self._seconds = seconds

    async def call(self, urls: Sequence[str], *, focus: str = "") -> ToolResult:
        """The page of each distinct address, in order, cut to the passages about `focus`. A page
        that cannot be had, or not in time, has its `fault`.

        Raises ToolError when the reader is unavailable for all of them.
        """
        distinct = list(dict.fromkeys(filter(None, (url.strip() for url in urls))))
        urls_read = distinct[:MAX_URLS]
        pages = await self._read(urls_read, focus) if urls_read else []
        cut = await asyncio.to_thread(fit_pages, pages, focus, self._tokens)
        beyond = distinct[MAX_URLS:]
        others = len(beyond) - 1
        more = f", nor {'was' if others == 1 else 'were'} {others:,} more" if others > 0 else ""
        fault = f"it was not opened{more}: at most {MAX_URLS} addresses in one call"
        late = [Page(url=url, fault=fault) for url in beyond[:1]]
        return ToolResult(tool="crawl_page", pages=(*cut, *late))

    async def _read(self, urls: Sequence[str], focus: str) -> list[Page]:
        """Each page on its own: what one of them does costs none of the others."""
        answers = await asyncio.gather(*(self._one(url, focus) for url in urls))
        return pages_of(urls, answers)

    async def _one(self, url: str, focus: str) -> Page | ToolError:
        try:
            async with asyncio.timeout(self._seconds):
                (page,) = await self._reader.read([url], focus)
                return page
        except TimeoutError:
            return Page(url=url, fault=f"gave no answer within {self._seconds:g} s")
        except ToolError as error:
            return error
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary to any reader, an embedder's too
            _log.exception("the page reader %s failed", self._reader.name)
            return Page(url=url, fault=f"cannot be read ({type(error).__name__})")

    def as_langchain_tool(self) -> BaseTool:
        """The tool for any LangChain agent; its artifact is the ToolResult."""

        async def crawl_page(urls: list[str], focus: str = "") -> tuple[str, ToolResult]:
            result = await self.call(urls, focus=focus)
            return "\n\n".join(_as_text(page) for page in result.pages), result

        def crawl(urls: list[str], focus: str = "") -> tuple[str, ToolResult]:
            return result_of(crawl_page(urls, focus))

        return StructuredTool.from_function(
            func=crawl,
            coroutine=crawl_page,
            name=self.name,
            description="Open web pages or documents and read the passages about the focus.",
            args_schema=CrawlInput,
            response_format="content_and_artifact",
        )


def fit_pages(pages: Sequence[Page], focus: str, tokens: int) -> list[Page]:
    """The pages with their texts cut to `tokens` together; what short pages leave goes to long
    ones."""
    budgets = _budgets([token_count(page.text) for page in pages], tokens)
    return [
        page.model_copy(update={"text": cut_to(page.text, focus, budget)}) if page.text else page
        for page, budget in zip(pages, budgets, strict=True)
    ]


def _budgets(sizes: Sequence[int], tokens: int) -> list[int]:
    budgets = [0] * len(sizes)
    remaining, open_pages = tokens, len(sizes)
    for i in sorted(range(len(sizes)), key=lambda i: sizes[i]):
        budgets[i] = min(sizes[i], remaining // open_pages)
        remaining -= budgets[i]
        open_pages -= 1
    return budgets


def _as_text(page: Page) -> str:
    if page.fault is not None:
        return f"{page.url}: {page.fault}"
    return f"{page.title}\n{page.url}\n\n{page.text}".lstrip()
