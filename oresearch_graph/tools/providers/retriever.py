"""Any LangChain retriever, and any LangChain search tool, as search backend and page reader."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, ToolException

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.known_secrets import remember_within
from oresearch_graph.redaction import brief, quieted
from oresearch_graph.tools.backend import Hits, Page, PageReader
from oresearch_graph.tools.providers.document_shelf import DocumentShelf
from oresearch_graph.tools.providers.service_calls import each_query

_LISTS: Final = ("results", "organic", "items", "data", "documents", "webPages", "value")
_TEXTS: Final = ("content", "snippet", "body", "page_content", "text", "description", "raw_content")
_SERVICE_FAULTS: Final = (
    ToolException, httpx.HTTPError, OSError, ValueError, RuntimeError, LookupError
)  # fmt: skip
"""What foreign search code raises when its service fails; the rest is a defect and goes up."""
_URL = re.compile(r"https?://[^\s<>\"'\]]+")


class RetrieverSearch:
    """A retriever's documents as hits; they can be read whole. Documents that state no address
    get one made of their content (`document:…`). Addresses it did not give go `beyond`."""

    def __init__(self, retriever: BaseRetriever, beyond: PageReader | None = None) -> None:
        remember_within(retriever)
        self.name = retriever.get_name()
        self._retriever = retriever
        self._shelf = DocumentShelf(beyond)

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        try:
            documents = await self._retriever.ainvoke(query)
        except _SERVICE_FAULTS as error:
            raise _failed("retriever", self.name, error) from quieted(error)
        found = [self._shelf.put(each.page_content, each.metadata) for each in documents]
        return Hits(query=query, hits=tuple(found[:k]))

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return await self._shelf.read(urls, focus)


class ToolSearch:
    """A LangChain tool that takes a query, as backend. Its answer may be a list of results, JSON,
    MCP content blocks, or text: text is cut at its addresses, and text without any is one
    document (`document:NAME/…`)."""

    def __init__(self, tool: BaseTool, beyond: PageReader | None = None) -> None:
        remember_within(tool)
        self.name = tool.name
        self._tool = tool
        self._argument = query_argument(tool)
        self._shelf = DocumentShelf(beyond, re.sub(r"[^a-z0-9]+", "-", tool.name.lower()))

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        try:
            answer = await self._tool.ainvoke({self._argument: query})
        except _SERVICE_FAULTS as error:
            raise _failed("search tool", self.name, error) from quieted(error)
        found = [self._shelf.put(text, facts) for text, facts in results_in(answer)]
        return Hits(query=query, hits=tuple(found[:k]))

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return await self._shelf.read(urls, focus)


def query_argument(tool: BaseTool) -> str:
    """The name of the argument that takes the query."""
    names = list(tool.args)
    known = [name for name in ("query", "q", "question", "search_query", "input") if name in names]
    texts = [name for name in names if tool.args[name].get("type") == "string"]
    if not known and not texts:
        raise ConfigurationError(
            f"the tool {tool.name} takes no text argument to search by: give a tool with `query`"
        )
    return (known or texts)[0]


def _failed(kind: str, name: str, error: Exception) -> ToolError:
    cause = brief(error) or type(error).__name__
    return ToolError(f"the {kind} {name} failed ({cause}): check its service and settings")


def results_in(answer: object, left: int = 20) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Text and facts of every result in a search tool's answer, whatever its shape; what lies
    more than `left` lists or objects deep is no result."""
    if not left:
        return
    match answer:
        case str():
            yield from _in_text(answer, left - 1)
        case Mapping() if answer.get("type") == "text" and "text" in answer:
            yield from _in_text(str(answer["text"]), left - 1)
        case Mapping():
            inner = next((answer[key] for key in _LISTS if isinstance(answer.get(key), list)), None)
            if inner is not None:
                yield from results_in(inner, left - 1)
            else:
                yield _text_of(answer), answer
        case list() | tuple():
            for part in answer:
                yield from results_in(part, left - 1)
        case _ if hasattr(answer, "page_content"):
            yield str(answer.page_content), getattr(answer, "metadata", {})


def _text_of(result: Mapping[str, Any]) -> str:
    return next((str(result[key]) for key in _TEXTS if result.get(key)), "")


def _in_text(text: str, left: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, (dict, list)):
        yield from results_in(parsed, left)
        return
    blocks = [block for block in re.split(r"\n\s*\n", text) if _URL.search(block)]
    for block in blocks:
        found = _URL.search(block)
        url = found[0].rstrip(").,;:") if found else ""
        yield block.strip(), {"url": url, "title": block.strip().splitlines()[0][:120]}
    if not blocks and text.strip():
        yield text.strip(), {}
