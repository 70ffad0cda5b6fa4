"""Record what the tools answered, and replay it offline, byte for byte.

One JSON line per query and per page. While recording, what was asked before is answered from the
record, so that the recorded run and its replay see the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.known_secrets import without_known
from oresearch_graph.tools.backend import Hits, Page, PageReader, SearchBackend
from oresearch_graph.trace.private_files import private_file

_VERSION: Final = 1
_NOT_RECORDED: Final = "is not among the pages recorded: open addresses that a search gave"


class RecordedNames(BaseModel):
    """The first line of a record: whose answers follow."""

    model_config = ConfigDict(frozen=True)

    oresearch_record: Literal[1] = _VERSION
    search: str
    reader: str


class Recorded(BaseModel):
    """One answer. A query is known by its text and k, a page by its address and focus."""

    model_config = ConfigDict(frozen=True)

    query: str | None = None
    k: int | None = None
    url: str | None = None
    focus: str | None = None
    hits: Hits | None = None
    page: Page | None = None


class _Record:
    """Answers in memory, by what was asked. A page asked with another focus is answered by the
    first one recorded of its address."""

    def __init__(self) -> None:
        self._hits: dict[tuple[str, int], Hits] = {}
        self._pages: dict[tuple[str, str | None], Page] = {}

    def add(self, entry: Recorded) -> None:
        if entry.hits is not None and entry.query is not None and entry.k is not None:
            self._hits.setdefault((entry.query, entry.k), entry.hits)
        if entry.page is not None and entry.url is not None:
            self._pages.setdefault((entry.url, entry.focus), entry.page)
            self._pages.setdefault((entry.url, None), entry.page)

    def hits(self, query: str, k: int) -> Hits | None:
        return self._hits.get((query, k))

    def page(self, url: str, focus: str, *, exact: bool = False) -> Page | None:
        page = self._pages.get((url, focus))
        return page if page is not None or exact else self._pages.get((url, None))


class Recorder:
    """A search backend and page reader that write down what the wrapped ones answer."""

    def __init__(self, backend: SearchBackend, reader: PageReader, file: str | Path) -> None:
        self.name = backend.name
        self._backend = backend
        self._reader = reader
        self._file = Path(file)
        self._record = _Record()
        self._lock = threading.Lock()
        self._begun = False

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        new = [query for query in dict.fromkeys(queries) if self._record.hits(query, k) is None]
        if new:
            results = await self._backend.search(new, k)
            entries = [
                Recorded(query=query, k=k, hits=hits)
                for query, hits in zip(new, results, strict=True)
            ]
            await asyncio.to_thread(self._keep, entries)
        return [hits for query in queries if (hits := self._record.hits(query, k)) is not None]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        pages = {url: self._record.page(url, focus, exact=True) for url in urls}
        new = [url for url, page in pages.items() if page is None]
        if new:
            read = await self._reader.read(new, focus)
            entries = [
                Recorded(url=url, focus=focus, page=page)
                for url, page in zip(new, read, strict=True)
            ]
            await asyncio.to_thread(self._keep, entries)
        return [page for url in urls if (page := self._record.page(url, focus)) is not None]

    def _keep(self, entries: Sequence[Recorded]) -> None:
        with self._lock:
            lines = [] if self._begun else [_line(self._names())]
            how = os.O_WRONLY | (os.O_APPEND if self._begun else os.O_TRUNC)
            with os.fdopen(private_file(self._file, how), "a", encoding="utf-8") as file:
                file.writelines([*lines, *map(_line, entries)])
            self._begun = True
            for entry in entries:
                self._record.add(entry)

    def _names(self) -> RecordedNames:
        return RecordedNames(search=self._backend.name, reader=self._reader.name)


class Replay:
    """A search backend and page reader that answer from a record alone. Reads the file at once:
    make it in a thread. Raises ConfigurationError for a file that is no record.

    `whole`: the record holds all that is asked, else it is another run's and ToolError is raised.
    Not so where a policy asks what it likes: what nobody asked before is then not to be found."""

    def __init__(self, file: str | Path, *, whole: bool = True) -> None:
        self._file, self._whole = Path(file), whole
        self._record = _Record()
        self.name = self._load().search

    def _load(self) -> RecordedNames:
        try:
            lines = self._file.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{self._file} cannot be read ({error}): check it") from error
        try:
            names = RecordedNames.model_validate_json(lines[0])
            for line in filter(None, lines[1:]):
                self._record.add(Recorded.model_validate_json(line))
        except ValidationError as error:
            raise ConfigurationError(
                f"{self._file} is no whole record of tools: record the run again"
            ) from error
        return names

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return [self._hits(query, k) for query in queries]

    def _hits(self, query: str, k: int) -> Hits:
        hits = self._record.hits(query, k)
        if hits is None and self._whole:
            raise self._missing(f"the query {query!r} with {k} results")
        return Hits(query=query) if hits is None else hits

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        return [self._page(url, focus) for url in urls]

    def _page(self, url: str, focus: str) -> Page:
        page = self._record.page(url, focus)
        if page is None and self._whole:
            raise self._missing(f"the page {url}")
        return Page(url=url, fault=_NOT_RECORDED) if page is None else page

    def _missing(self, what: str) -> ToolError:
        return ToolError(f"{self._file.name} does not hold {what}: record that run again")


def _line(entry: BaseModel) -> str:
    facts: dict[str, Any] = entry.model_dump(mode="json", exclude_none=True)
    return without_known(json.dumps(facts, ensure_ascii=True)) + "\n"
