"""The `web_search` tool: one call, any number of queries, over any search backend."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.backend import Hits, SearchBackend, ToolResult
from oresearch_graph.tools.event_loop import result_of

MAX_QUERIES: Final = 10
"""Of one call: what comes after is answered with one fault."""
MAX_HITS: Final = 50
"""For one query."""


class SearchInput(BaseModel):
    """Arguments of the LangChain tool."""

    queries: list[str] = Field(description="Search queries, each a few keywords or a question.")
    num: int | None = Field(default=None, description="Results per query.")


class WebSearch:
    """Searches. `k` hits per query unless the call says otherwise; `seconds` for one call."""

    name: Final = "web_search"

    def __init__(self, backend: SearchBackend, *, k: int = 6, seconds: float = 45.0) -> None:
        self._backend = backend
        self._k = k
        self._seconds = seconds

    async def call(
        self, queries: Sequence[str], num: int | None = None, *, focus: str = ""
    ) -> ToolResult:
        """Hits for each distinct query, in order. `focus`, the subtask, stands in when the
        queries are all empty.

        Raises ToolError when the backend is unavailable or silent for too long.
        """
        distinct = list(dict.fromkeys(filter(None, (" ".join(q.split()) for q in queries))))
        queries = distinct or [" ".join(focus.split())]
        k = min(max(num if num is not None else self._k, 1), MAX_HITS)
        results = await self._search(queries[:MAX_QUERIES], k) if queries[0] else []
        beyond = queries[MAX_QUERIES:]
        others = len(beyond) - 1
        more = f", nor {'was' if others == 1 else 'were'} {others:,} more" if others > 0 else ""
        fault = f"it was not asked{more}: at most {MAX_QUERIES} queries in one call"
        late = [Hits(query=query, fault=fault) for query in beyond[:1]]
        return ToolResult(tool="web_search", hits=(*results, *late))

    async def _search(self, queries: Sequence[str], k: int) -> list[Hits]:
        try:
            async with asyncio.timeout(self._seconds):
                results = await self._backend.search(queries, k)
        except TimeoutError as error:
            raise ToolError(
                f"search ({self._backend.name}) gave no answer within {self._seconds:g} s: check "
                "the service, or raise tool_timeout"
            ) from error
        return [hits.model_copy(update={"hits": hits.hits[:k]}) for hits in results]

    def as_langchain_tool(self) -> BaseTool:
        """The tool for any LangChain agent; its artifact is the ToolResult."""

        async def web_search(queries: list[str], num: int | None = None) -> tuple[str, ToolResult]:
            result = await self.call(queries, num)
            return "\n\n".join(_as_text(hits) for hits in result.hits), result

        def search(queries: list[str], num: int | None = None) -> tuple[str, ToolResult]:
            return result_of(web_search(queries, num))

        return StructuredTool.from_function(
            func=search,
            coroutine=web_search,
            name=self.name,
            description="Search for sources. Several queries may be asked in one call.",
            args_schema=SearchInput,
            response_format="content_and_artifact",
        )


def _as_text(hits: Hits) -> str:
    lines = [f"Results for: {hits.query}"]
    if hits.fault or not hits.hits:
        lines.append(hits.fault or "No results.")
    lines += [f"- {hit.title}\n  {hit.url}\n  {hit.snippet}" for hit in hits.hits]
    return "\n".join(lines)
