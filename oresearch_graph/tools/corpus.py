"""A folder of documents as search backend and page reader in one.

Addresses are `file:///…`. The index lies in the cache folder, never in the person's own, and
follows the files: what is new, changed or gone is noticed at the next search.
Not covered: hidden files and folders, folders behind symbolic links, files over 50 MB, Sphinx's
`_sources` beside its HTML.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.tools.backend import Hits, Page
from oresearch_graph.tools.corpus_index import CorpusIndex, Document, Stamp, cache_folder
from oresearch_graph.tools.extract import extract

READABLE: Final = {
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".txt": "text/plain",
    ".rst": "text/x-rst",
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "text/html",
    ".pdf": "application/pdf",
}
MAX_BYTES: Final = 50_000_000
_SKIPPED: Final = frozenset(("node_modules", "__pycache__", "_sources", "_static"))
"""The last two: Sphinx's copies of what its HTML pages say."""
_BATCH: Final = 64
"""Files of one transaction: what a crash can cost."""

Progress = Callable[[int, int], None]
"""Told the files done and the files to do."""


class IndexReport(NamedTuple):
    """What an update did, and what the corpus holds after it."""

    documents: int
    passages: int
    added: int
    changed: int
    removed: int
    faults: tuple[tuple[str, str], ...]
    """Path and cause of every file that gave no text."""
    seconds: float


class IndexedCorpus:
    """Search and reading over a `CorpusIndex`. Subclasses say in `refresh` how it stays good."""

    def __init__(self, name: str, index: CorpusIndex) -> None:
        self.name = name
        self.index = index

    def refresh(self) -> None:
        """Bring the index up to date if that is due. Blocks; called before every use."""

    def update(self) -> IndexReport:
        """Bring the index up to date now. Blocks."""
        began = time.monotonic()
        self.refresh()
        documents, passages = self.index.counts()
        return IndexReport(documents, passages, 0, 0, 0, (), time.monotonic() - began)

    def normal(self, address: str) -> str:
        """The address as the index spells it."""
        return address.partition("#")[0]

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return await asyncio.to_thread(self._search, queries, k)

    def _search(self, queries: Sequence[str], k: int) -> list[Hits]:
        self.refresh()
        return [Hits(query=query, hits=tuple(self.index.search(query, k))) for query in queries]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:  # noqa: ARG002 (seam)
        return await asyncio.to_thread(self._read, urls)

    def _read(self, urls: Sequence[str]) -> list[Page]:
        self.refresh()
        return [self._page(url) for url in urls]

    def _page(self, url: str) -> Page:
        page = self.index.page(self.normal(url))
        if page is None:
            return Page(url=url, fault="is not in the corpus: open addresses that a search gave")
        return page.model_copy(update={"url": url})


class LocalCorpus(IndexedCorpus):
    """The readable files under `folder`, at any depth."""

    def __init__(
        self, folder: str | Path, *, cache: Path | None = None, refresh_seconds: float = 10.0
    ) -> None:
        self.folder = Path(folder).expanduser().resolve()
        name = hashlib.sha256(str(self.folder).encode()).hexdigest()[:16]
        self._cache = (cache or cache_folder()).resolve()
        super().__init__("corpus", CorpusIndex(self._cache / "corpora" / f"{name}.sqlite"))
        self._refresh_seconds = refresh_seconds
        self._updated: float | None = None
        self._lock = threading.Lock()

    def refresh(self) -> None:
        with self._lock:
            now = time.monotonic()
            if self._updated is None or now - self._updated >= self._refresh_seconds:
                self._bring_up_to_date(None)

    def update(self, progress: Progress | None = None) -> IndexReport:
        """Index what is new or changed, forget what is gone. Blocks: call it in a thread.

        Raises ConfigurationError for a folder that is missing or holds nothing readable, and
        ToolError when the index cannot be written.
        """
        self.check()
        with self._lock:
            return self._bring_up_to_date(progress)

    def check(self) -> None:
        """Raise ConfigurationError unless the folder is there with a readable document in it."""
        if not self.folder.is_dir():
            raise ConfigurationError(f"corpus folder {self.folder} does not exist: correct it")
        if next(self._files(), None) is None:
            kinds = " ".join(READABLE)
            raise ConfigurationError(
                f"corpus folder {self.folder} holds no readable document: add some ({kinds})"
            )

    def normal(self, address: str) -> str:
        parts = urlsplit(address)
        if parts.scheme == "file":
            return Path(url2pathname(parts.path)).as_uri() if parts.path else address
        inside = self.folder / unquote(address)
        return inside.as_uri() if not parts.scheme else address

    def _bring_up_to_date(self, progress: Progress | None) -> IndexReport:
        began = time.monotonic()
        found = dict(self._files())
        known = self.index.stamps()
        gone = [path for path in known if path not in found]
        if gone:
            self.index.change(remove=gone)
        due = [path for path, stat in found.items() if _stat_of(known.get(path)) != stat]
        changed = 0
        for low in range(0, len(due), _BATCH):
            batch = due[low : low + _BATCH]
            changed += self._index_batch(batch, found, known)
            if progress:
                progress(low + len(batch), len(due))
        self._updated = time.monotonic()
        added = sum(path not in known for path in due)
        return IndexReport(
            *self.index.counts(),
            added=added,
            changed=changed,
            removed=len(gone),
            faults=tuple(self.index.faults()),
            seconds=self._updated - began,
        )

    def _index_batch(
        self, paths: Sequence[str], found: dict[str, tuple[int, int]], known: dict[str, Stamp]
    ) -> int:
        """Put files in the index; how many of them were there with other content."""
        put: list[Document] = []
        touch: list[tuple[str, Stamp]] = []
        for path in paths:
            before = known.get(path)
            document = _document(path, *found[path], before.digest if before else None)
            if document is None:
                touch.append((path, Stamp(*found[path], "")))
            else:
                put.append(document)
        self.index.change(put=put, touch=touch)
        return sum(document.path in known for document in put)

    def _files(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Path, and (mtime in ns, size), of every readable file."""
        for folder, below, names in os.walk(self.folder):
            here = Path(folder)
            below[:] = sorted(
                name
                for name in below
                if not name.startswith(".") and name not in _SKIPPED and here / name != self._cache
            )
            for name in sorted(names):
                path = here / name
                if name.startswith(".") or path.suffix.lower() not in READABLE:
                    continue
                try:
                    stat = path.stat()
                except OSError:
                    continue  # a link to nowhere, or gone since it was listed
                yield str(path), (stat.st_mtime_ns, stat.st_size)


def _stat_of(stamp: Stamp | None) -> tuple[int | None, int | None] | None:
    return None if stamp is None else (stamp.mtime_ns, stamp.size)


def _document(path: str, mtime_ns: int, size: int, known_digest: str | None) -> Document | None:
    """The file as a document, with a fault when it cannot be read; None: content unchanged."""
    file = Path(path)
    empty = Document(path, file.as_uri(), file.stem, "", "", None, mtime_ns, size)
    if size > MAX_BYTES:
        return empty._replace(fault=f"is larger than {MAX_BYTES // 1_000_000} MB")
    try:
        body = file.read_bytes()
    except OSError as error:
        return empty._replace(fault=f"cannot be read: {error.strerror}")
    digest = hashlib.sha256(body).hexdigest()
    if digest == known_digest:
        return None
    found = extract(body, READABLE[file.suffix.lower()], fast=True)
    return empty._replace(
        title=found.title or file.stem,
        text=found.text,
        digest=digest,
        published=found.published,
        fault=found.fault,
    )
