"""A folder of documents as search backend and page reader in one.

Addresses are `file:///…`. The index lies in the cache folder, never in the person's own, and
follows the files: what is new, changed or gone is noticed at the next search. A file that cannot
be read costs nothing but itself, and is named. Not covered: files over 50 MB.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.tools.backend import Hits, Page
from oresearch_graph.tools.corpus.folder import READABLE, CorpusFolder, Entry, display_path
from oresearch_graph.tools.corpus.index import CorpusIndex, Document, Stamp, cache_folder
from oresearch_graph.tools.reading.pool import READERS
from oresearch_graph.trace.plain_text import spelled_address

MAX_BYTES: Final = 50_000_000
_BATCH: Final = 64
"""Files of one transaction: what a crash can cost."""
_BATCH_CHARACTERS: Final = 20_000_000
"""Of one transaction: what is held in memory."""
_TITLE: Final = 300
"""Characters: it is indexed with each passage of its document."""

Progress = Callable[[int, int], None]
"""Told the files done and the files to do."""


class IndexReport(NamedTuple):
    """What an update did, and what the corpus holds after it."""

    documents: int
    passages: int
    added: int
    changed: int
    removed: int
    seconds: float
    faults: tuple[tuple[str, str], ...] = ()
    """Path and cause of every file that gave no text or was not opened, fit to be shown."""
    guessed: tuple[tuple[str, str], ...] = ()
    """Path and encoding of every document whose encoding is a guess."""
    unread: tuple[tuple[str, int], ...] = ()
    """Suffixes of the kinds that are not read, with the files of each, most frequent first."""


class _Opened(NamedTuple):
    """A file on its way into the index."""

    address: str
    document: Document | None
    """None: its content has not changed."""
    body: bytes | None = None
    """None: nothing is to be read."""


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
        return IndexReport(documents, passages, 0, 0, 0, time.monotonic() - began)

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
        return page.model_copy(update={"url": spelled_address(url)})


class LocalCorpus(IndexedCorpus):
    """The readable files under `folder`, at any depth, or the one file that it names.

    Raises ConfigurationError for what is no path.
    """

    def __init__(
        self, folder: str | Path, *, cache: Path | None = None, refresh_seconds: float = 10.0
    ) -> None:
        try:
            self.folder = Path(folder).expanduser().resolve()
        except (OSError, RuntimeError, ValueError) as error:
            what = f"corpus folder {display_path(folder)} cannot be looked up"
            raise ConfigurationError(f"{what} ({error}): correct it") from error
        name = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        cache = (cache or cache_folder()).resolve()
        super().__init__("corpus", CorpusIndex(cache / "corpora" / f"{name}.sqlite"))
        self._files = CorpusFolder(self.folder, without=cache)
        self._refresh_seconds = refresh_seconds
        self._updated = -math.inf
        self._lock = threading.Lock()

    def refresh(self) -> None:
        with self._lock:
            if time.monotonic() - self._updated >= self._refresh_seconds:
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
        what = f"corpus folder {display_path(self.folder)}"
        if not os.path.exists(self.folder):  # noqa: PTH110 (never raises)
            raise ConfigurationError(f"{what} does not exist: correct it")
        others: Counter[str] = Counter()
        for entry in self._files.entries():
            if entry.is_document:
                return
            others[entry.kind or f"{entry.cause}:"] += 1
        kinds = ", ".join(f"{display_path(name)} {count}" for name, count in others.most_common(8))
        raise ConfigurationError(
            f"{what} holds no readable document{f' ({kinds})' if kinds else ''}: "
            f"add some ({' '.join(READABLE)})"
        )

    def normal(self, address: str) -> str:
        return self._files.normal(address)

    def _bring_up_to_date(self, progress: Progress | None) -> IndexReport:
        began = time.monotonic()
        entries = list(self._files.entries())
        files = {self._files.address(entry.path): entry for entry in entries if entry.is_document}
        stamps = self.index.stamps()
        gone = [address for address in stamps if address not in files]
        if gone:
            self.index.change(remove=gone)
        due = [
            address for address, entry in files.items()
            if address not in stamps or stamps[address][:2] != entry.stamp
        ]  # fmt: skip
        changed = self._index_files({address: files[address] for address in due}, stamps, progress)
        self._updated = time.monotonic()

        def named(noted: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
            return [(display_path(files[name].path), what) for name, what in noted if name in files]

        passed = [(display_path(entry.path), entry.cause) for entry in entries if entry.cause]
        return IndexReport(
            *self.index.counts(),
            added=sum(address not in stamps for address in due),
            changed=changed,
            removed=len(gone),
            seconds=self._updated - began,
            faults=tuple(sorted(passed + named(self.index.faults()))),
            guessed=tuple(named(self.index.guesses())),
            unread=tuple(
                Counter(display_path(entry.kind) for entry in entries if entry.kind).most_common()
            ),
        )

    def _index_files(
        self, due: dict[str, Entry], stamps: dict[str, Stamp], progress: Progress | None
    ) -> int:
        """Put files in the index; how many of them were there with other content."""
        put: list[Document] = []
        touch: list[tuple[str, Stamp]] = []
        changed = 0
        for count, (address, document) in enumerate(self._documents(due, stamps), 1):
            before = stamps.get(address)
            if document is None:
                touch.append((address, Stamp(*due[address].stamp, "")))
            else:
                put.append(document)
                changed += before is not None and before.digest != document.digest
            characters = sum(len(document.text) for document in put)
            full = len(put) + len(touch) >= _BATCH or characters >= _BATCH_CHARACTERS
            if full or count == len(due):
                self.index.change(put=put, touch=touch)
                put, touch = [], []
                if progress:
                    progress(count, len(due))
        return changed

    def _documents(
        self, due: Mapping[str, Entry], stamps: Mapping[str, Stamp]
    ) -> Iterator[tuple[str, Document | None]]:
        """The files as documents, in order, with a fault where one cannot be read; None for one
        whose content has not changed."""
        opened: deque[_Opened] = deque()

        def bodies() -> Iterator[tuple[bytes, str]]:
            for address, entry in due.items():
                before = stamps.get(address)
                opened.append(self._opened(address, entry, before.digest if before else None))
                if (body := opened[-1].body) is not None:
                    yield body, READABLE[PurePosixPath(entry.path).suffix.lower()]
                    opened[-1] = opened[-1]._replace(body=b"")

        def settled() -> Iterator[tuple[str, Document | None]]:
            while opened and opened[0].body is None:
                yield opened[0].address, opened.popleft().document

        for content in READERS.read_each(bodies(), client=self):
            yield from settled()
            address, document, _ = opened.popleft()
            yield (
                address,
                document
                and document._replace(
                    title=content.title[:_TITLE] or document.title,
                    text=content.text,
                    published=content.published,
                    fault=content.fault,
                    guessed=content.guessed,
                ),
            )
        yield from settled()

    def _opened(self, address: str, entry: Entry, known_digest: str | None) -> _Opened:
        """The file with its bytes, where they must be read to know what it says."""
        title = display_path(PurePosixPath(entry.path).stem)
        document = Document(address, title, mtime_ns=entry.stamp[0], size=entry.stamp[1])
        too_large = document._replace(fault=f"is larger than {MAX_BYTES // 1_000_000} MB")
        if entry.stamp[1] > MAX_BYTES:
            return _Opened(address, too_large)
        try:
            body = self._files.read(entry.path, MAX_BYTES + 1)
        except OSError as error:  # without a time of change: it is tried again
            fault = f"cannot be read: {error.strerror}"
            return _Opened(address, document._replace(fault=fault, mtime_ns=None))
        if len(body) > MAX_BYTES:
            return _Opened(address, too_large)
        digest = hashlib.sha256(body).hexdigest()
        if digest == known_digest:
            return _Opened(address, None)
        return _Opened(address, document._replace(digest=digest), body)
