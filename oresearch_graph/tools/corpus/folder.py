"""The files of a corpus: which are documents, which are passed over and why, and their bytes.

Nothing outside the folder is opened, and nothing but regular files: links are not followed, and a
path is opened name by name from the folder down, so that what is swapped for a link once it was
listed leads nowhere either. Hidden files and folders, tools' own and Sphinx's `_sources` beside its
HTML are no part of the corpus and are not mentioned.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

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
_LEFT_OUT: Final = frozenset(("node_modules", "__pycache__", "_sources", "_static"))
"""The last two: Sphinx's copies of what its HTML pages say."""
_DEEPEST: Final = 100
_FOLDER: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_DIRECTORY
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Entry(NamedTuple):
    """A file below the folder: a document, or what is passed over."""

    path: str
    """From the folder on; names that are no UTF-8 with surrogates, as `os` gives them."""
    stamp: tuple[int, int] = (0, 0)
    """Time of change in ns, and size."""
    cause: str | None = None
    """Why it is not opened."""
    kind: str | None = None
    """Its suffix, where files of that kind are not read."""

    @property
    def is_document(self) -> bool:
        return self.cause is None and self.kind is None


class CorpusFolder:
    """The files below `path`, at any depth, or the one file at `path`; `without` is a folder to
    leave out."""

    def __init__(self, path: Path, without: Path) -> None:
        self._only = path.name if os.path.isfile(path) else None  # noqa: PTH113 (never raises)
        self.root = path.parent if self._only else path
        self._base = self.root.as_uri().removesuffix("/")
        self._without = without

    def entries(self) -> Iterator[Entry]:
        """Everything that might be thought to be searched, by name within each folder."""
        waiting = [""]
        while waiting:
            here = waiting.pop()
            try:
                entries = self._scan(here)
            except OSError as error:
                yield Entry(here or ".", cause=f"cannot be opened: {error.strerror}")
                continue
            below = []
            for path, status in entries:
                if stat.S_ISDIR(status.st_mode):
                    below.append(path)
                elif entry := self._entry(path, status):
                    yield entry
            deep = here.count("/") + 2 > _DEEPEST
            for path in reversed(below):
                if deep:
                    yield Entry(path, cause=f"lies more than {_DEEPEST} folders deep")
                elif self.root / path != self._without:
                    waiting.append(path)

    def read(self, path: str, most: int) -> bytes:
        """The first `most` bytes of a file. Raises OSError for what is no regular file by now."""
        descriptor = self._opened(path, _FILE)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "is no regular file")
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(most)
        finally:
            os.close(descriptor)

    def address(self, path: str) -> str:
        """The file's `file:///…`; names that are no UTF-8 are quoted byte by byte."""
        return f"{self._base}/{quote_from_bytes(os.fsencode(path))}"

    def normal(self, address: str) -> str:
        """An address, or a path inside the folder, as `address` spells it."""
        try:
            parts = urlsplit(address)
            if parts.scheme not in ("", "file"):
                return address
            path = parts.path if parts.scheme else address
            path = os.fsdecode(unquote_to_bytes(path.encode("utf-8", "replace")))
            return (self.root / path).as_uri() if path else address
        except ValueError:
            return address

    def _scan(self, here: str) -> list[tuple[str, os.stat_result]]:
        entries = []
        folder = self._opened(here, _FOLDER)
        try:
            names = os.listdir(folder)  # noqa: PTH208 (of a descriptor)
            for name in [self._only] if self._only else sorted(names):
                if name != self._only and (name.startswith(".") or name in _LEFT_OUT):
                    continue
                try:
                    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
                except FileNotFoundError:
                    continue
                entries.append((f"{here}/{name}" if here else name, status))
        finally:
            os.close(folder)
        return entries

    def _entry(self, path: str, status: os.stat_result) -> Entry | None:
        suffix = PurePosixPath(path).suffix.lower()
        if stat.S_ISLNK(status.st_mode):
            cause = self._linked(path)
            return Entry(path, cause=cause) if cause else None
        if not stat.S_ISREG(status.st_mode):
            return Entry(path, cause="is no regular file")
        if suffix not in READABLE:
            return Entry(path, kind=suffix or "no suffix")
        return Entry(path, (status.st_mtime_ns, status.st_size))

    def _linked(self, path: str) -> str | None:
        """Why what a link leads to is lost; None where it is met in its own place."""
        try:
            target = Path(os.path.realpath(self.root / path, strict=True))
        except OSError:
            return "is a link that leads nowhere"
        if not target.is_relative_to(self.root):
            return "is a link that leads outside the folder"
        names = target.relative_to(self.root).parts
        if any(name.startswith(".") or name in _LEFT_OUT for name in names):
            return "is a link to what is left out"
        return None

    def _opened(self, path: str, flags: int) -> int:
        """A descriptor of what lies at `path`, reached through no link."""
        names = path.split("/") if path else []
        descriptor = os.open(self.root, _FOLDER)
        for place, name in enumerate(names, 1):
            above = descriptor
            try:
                descriptor = os.open(name, flags if place == len(names) else _FOLDER, dir_fd=above)
            finally:
                os.close(above)
        return descriptor


def display_path(path: str | Path) -> str:
    """A path for people: on one line, without what would command a terminal."""
    return "".join(
        mark if mark.isprintable() else mark.encode("unicode_escape").decode() for mark in str(path)
    )
