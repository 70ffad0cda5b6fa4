"""Any LangChain retriever, and any LangChain search tool, as search backend and page reader."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, ToolException

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.known_secrets import remember_within
from oresearch_graph.redaction import quieted
from oresearch_graph.tools.backend import Hit, Hits, Page, PageReader
from oresearch_graph.tools.daemon_threads import answer_of
from oresearch_graph.tools.providers.service_calls import each_query, service_error
from oresearch_graph.tools.reading.html_text import iso_date
from oresearch_graph.trace.plain_text import admissible_address

_ADDRESSES: Final = ("url", "link", "href", "source", "file_path", "path")
_TITLES: Final = ("title", "name", "heading")
_DATES: Final = ("published", "published_date", "publishedDate", "date", "page_age")
_LISTS: Final = ("results", "organic", "items", "data", "documents", "webPages", "value")
_TEXTS: Final = ("content", "snippet", "body", "page_content", "text", "description", "raw_content")
_SERVICE_FAULTS: Final = (
    ToolException, httpx.HTTPError, OSError, ValueError, RuntimeError, LookupError
)  # fmt: skip
"""What foreign search code raises when its service fails; the rest is a defect and goes up."""
_URL = re.compile(r"https?://[^\s<>\"'\]]+")


class DocumentShelf:
    """Texts by address, the most recent `size` addresses; parts of one document are joined.

    What its source calls it is a document's address where it can be one, else what follows
    `document:` and the `shelf`'s name."""

    def __init__(
        self, fallback: PageReader | None = None, shelf: str = "", size: int = 5_000
    ) -> None:
        self._prefix = f"document:{shelf}/" if shelf else "document:"
        self._fallback = fallback
        self._size = size
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, text: str, facts: Mapping[str, Any]) -> Hit:
        """Keep a text under the address its facts state, or else one made of its content."""
        stated = next((str(facts[name]) for name in _ADDRESSES if facts.get(name)), "")
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        hit = Hit(
            url=self._address(stated, digest),
            title=next((str(facts[name]) for name in _TITLES if facts.get(name)), ""),
            snippet=text,
            published=next(filter(None, (iso_date(str(facts.get(n) or "")) for n in _DATES)), None),
        )
        with self._lock:
            self._keep(hit, text)
        return hit

    def _address(self, stated: str, digest: str) -> str:
        address = f"{self._prefix}{stated}" if stated else ""
        addresses = (admissible_address(" ".join(each.split())) for each in (stated, address))
        return next(filter(None, addresses), f"{self._prefix}{digest}")

    def _keep(self, hit: Hit, text: str) -> None:
        before = self._pages.pop(hit.url, None)
        if before is not None and text not in before.text:
            text = f"{before.text}\n\n{text}"
        elif before is not None:
            text = before.text
        self._pages[hit.url] = Page(
            url=hit.url, title=hit.title, text=text, published=hit.published
        )
        while len(self._pages) > self._size:
            self._pages.popitem(last=False)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        """Kept documents; other addresses by the fallback reader, where there is one."""
        with self._lock:
            pages = {url: self._pages[url] for url in urls if url in self._pages}
        others = list(dict.fromkeys(url for url in urls if url not in pages))
        if others and self._fallback is not None:
            pages_read = await self._fallback.read(others, focus)
            pages |= dict(zip(others, pages_read, strict=True))
        fault = "is not among the documents found: open addresses that a search gave"
        return [pages.get(url) or Page(url=url, fault=fault) for url in urls]


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
            documents = await answer_of(self._retriever, query)
        except _SERVICE_FAULTS as error:
            raise _failed("retriever", self.name, error) from quieted(error)
        hits = [self._shelf.put(each.page_content, each.metadata) for each in documents]
        return Hits(query=query, hits=tuple(hits[:k]))

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
            answer = await answer_of(self._tool, {self._argument: query})
        except _SERVICE_FAULTS as error:
            raise _failed("search tool", self.name, error) from quieted(error)
        hits = [self._shelf.put(text, facts) for text, facts in results_in(answer)]
        return Hits(query=query, hits=tuple(hits[:k]))

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return await self._shelf.read(urls, focus)


def query_argument(tool: BaseTool) -> str:
    """The name of the argument that takes the query."""
    names = list(tool.args)
    candidates = [
        name for name in ("query", "q", "question", "search_query", "input") if name in names
    ]
    texts = [name for name in names if tool.args[name].get("type") == "string"]
    if not candidates and not texts:
        raise ConfigurationError(
            f"the tool {tool.name} takes no text argument to search by: give a tool with `query`"
        )
    return (candidates or texts)[0]


def _failed(kind: str, name: str, error: Exception) -> ToolError:
    return service_error(f"the {kind} {name}", error, "check its service and settings")


def results_in(answer: object, most: int = 20) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Text and facts of every result in a search tool's answer, whatever its shape; what lies
    more than `left` lists or objects deep is no result."""
    if not most:
        return
    match answer:
        case str():
            yield from _in_text(answer, most - 1)
        case Mapping() if answer.get("type") == "text" and "text" in answer:
            yield from _in_text(str(answer["text"]), most - 1)
        case Mapping():
            inner = next((answer[key] for key in _LISTS if isinstance(answer.get(key), list)), None)
            if inner is not None:
                yield from results_in(inner, most - 1)
            else:
                yield _text_of(answer), answer
        case list() | tuple():
            for part in answer:
                yield from results_in(part, most - 1)
        case _ if hasattr(answer, "page_content"):
            yield str(answer.page_content), getattr(answer, "metadata", {})


def _text_of(result: Mapping[str, Any]) -> str:
    return next((str(result[key]) for key in _TEXTS if result.get(key)), "")


def _in_text(text: str, most: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, (dict, list)):
        yield from results_in(parsed, most)
        return
    blocks = [block for block in re.split(r"\n\s*\n", text) if _URL.search(block)]
    for block in blocks:
        match = _URL.search(block)
        url = match[0].rstrip(").,;:") if match else ""
        yield block.strip(), {"url": url, "title": block.strip().splitlines()[0][:120]}
    if not blocks and text.strip():
        yield text.strip(), {}
