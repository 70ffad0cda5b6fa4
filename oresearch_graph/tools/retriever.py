"""Any LangChain retriever or search tool as a search backend.

What they return is kept by address, so that opening a found document needs no second service; an
address on the web that they did not return goes to the web reader.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import BaseTool, ToolException

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.backend import Hit, Hits, Page, PageReader
from oresearch_graph.tools.service_calls import each_query

_KEPT: Final = 5_000
"""Documents remembered at one time."""
_URL_KEYS: Final = ("url", "link", "source", "href", "id", "file_path")
_TEXT_KEYS: Final = ("content", "snippet", "page_content", "text", "body", "raw_content")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")


class _FoundDocuments:
    """The whole texts behind hits, by address: a page reader over what was found."""

    def __init__(self, name: str, beyond: PageReader) -> None:
        self.name = name
        self._beyond = beyond
        self._pages: dict[str, Page] = {}

    def keep(self, hit: Hit) -> None:
        self._pages[hit.url] = Page(
            url=hit.url, title=hit.title, text=hit.snippet, published=hit.published
        )
        while len(self._pages) > _KEPT:
            self._pages.pop(next(iter(self._pages)))

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        outside = [url for url in urls if url not in self._pages]
        fetched = await self._beyond.read(outside, focus) if outside else []
        pages = self._pages | dict(zip(outside, fetched, strict=True))
        return [pages[url] for url in urls]


class RetrieverSearch(_FoundDocuments):
    """Searches by a retriever; its documents' metadata give address, title and date."""

    def __init__(self, retriever: BaseRetriever, beyond: PageReader) -> None:
        super().__init__(type(retriever).__name__, beyond)
        self._retriever = retriever

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        try:
            documents = await self._retriever.ainvoke(query)
        except (OSError, ValueError, RuntimeError) as error:
            raise ToolError(f"the retriever {self.name} failed ({error}): check it") from error
        hits = tuple(_document_hit(document) for document in documents[:k])
        for hit in hits:
            self.keep(hit)
        return Hits(query=query, hits=hits)


class ToolSearch(_FoundDocuments):
    """Searches by a tool that takes a query: its first argument."""

    def __init__(self, tool: BaseTool, beyond: PageReader) -> None:
        super().__init__(tool.name, beyond)
        self._tool = tool

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await each_query(queries, lambda query: self._one(query, k))

    async def _one(self, query: str, k: int) -> Hits:
        argument = next(iter(self._tool.args), "query")
        try:
            answer = await self._tool.ainvoke({argument: query})
        except (ToolException, OSError, ValueError, RuntimeError) as error:
            raise ToolError(f"the search tool {self.name} failed ({error}): check it") from error
        hits = tuple(_answer_hits(answer, f"tool:{self.name}?{query}"))[:k]
        for hit in hits:
            self.keep(hit)
        return Hits(query=query, hits=hits)


def _document_hit(document: Document) -> Hit:
    fields = dict(document.metadata)
    if document.id:
        fields.setdefault("id", document.id)
    return _hit(fields, document.page_content)


def _answer_hits(answer: Any, address: str) -> Iterable[Hit]:  # noqa: ANN401 - whatever a tool gives
    """The hits of a tool's answer: a list of records, one under `results`, JSON of either, text."""
    if isinstance(answer, str):
        try:
            answer = json.loads(answer)
        except ValueError:
            text = str(answer).strip()
            return [Hit(url="".join(address.split()), title=address, snippet=text)] if text else []
    if isinstance(answer, Mapping):
        answer = answer.get("results", [answer])
    if not isinstance(answer, Sequence) or isinstance(answer, str):
        return []
    return [_record_hit(record) for record in answer if isinstance(record, Mapping | Document)]


def _record_hit(record: Mapping[str, Any] | Document) -> Hit:
    if isinstance(record, Document):
        return _document_hit(record)
    text = next((str(record[key]) for key in _TEXT_KEYS if record.get(key)), "")
    return _hit(record, text)


def _hit(fields: Mapping[str, Any], text: str) -> Hit:
    stated = next((str(fields[key]) for key in _URL_KEYS if fields.get(key)), "")
    if not stated:
        stated = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    address = "".join(stated.split())
    published = fields.get("published_date") or fields.get("date") or fields.get("published")
    return Hit(
        url=address if _SCHEME.match(address) else f"document:{address}",
        title=str(fields.get("title") or stated),
        snippet=text,
        published=str(published) if published else None,
    )
