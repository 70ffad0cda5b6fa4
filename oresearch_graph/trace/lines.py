"""JSON Lines on the disk: whole lines only, whatever is killed, and however many processes write.

A line without its newline is one that a crash cut short: the next writer moves it aside.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from oresearch_graph.trace.private_files import private_file

_BLOCK = 65_536


class Closing:
    """A context manager that ends with its own `close`."""

    def close(self) -> None:
        """Give back what is held open."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self.close()


class LineWriter(Closing):
    """Appends lines to a file under a lock. Every write is on the disk when `write` returns, and
    a line that does not fit on the disk leaves no part of itself behind. Raises OSError.
    """

    def __init__(self, path: Path, is_whole: Callable[[bytes], bool]) -> None:
        """`is_whole` tells an unended last line that lacks only its newline from a part of one."""
        self.path = path
        self._file = private_file(path, os.O_RDWR | os.O_APPEND)
        with self._locked():
            self._end_last_line(is_whole)

    def write(self, line: bytes) -> None:
        """Append a line and its newline."""
        whole = line + b"\n"
        with self._locked():
            start = os.fstat(self._file).st_size
            if os.write(self._file, whole) != len(whole):
                os.ftruncate(self._file, start)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the file among its writers: an unended line is then nobody's work."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _end_last_line(self, is_whole: Callable[[bytes], bool]) -> None:
        """A whole line that lacks only its newline gets it; a part of one moves to `<file>.cut`,
        so that the next line starts clean."""
        end = os.fstat(self._file).st_size
        start = _last_line_start(self._file, end)
        tail = os.pread(self._file, end - start, start)
        if not tail:
            return
        if is_whole(tail):
            os.write(self._file, b"\n")
            return
        aside = self.path.with_name(self.path.name + ".cut")
        with os.fdopen(private_file(aside, os.O_WRONLY | os.O_APPEND), "ab") as file:
            file.write(tail + b"\n")
        os.ftruncate(self._file, start)


def _last_line_start(file: int, end: int) -> int:
    """The offset after the last newline before `end`, read backwards in blocks."""
    at = end
    while at > 0:
        size = min(_BLOCK, at)
        at -= size
        if (newline := os.pread(file, size, at).rfind(b"\n")) >= 0:
            return at + newline + 1
    return 0
