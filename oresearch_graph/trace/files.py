"""Trace files: JSON Lines, one Trace a line, appended to, streamed and resumed.

Writers append whole lines under a lock, so processes may share a file. A line without its newline
is one that a crash cut short: `TraceWriter` moves it aside.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from oresearch_graph.errors import TraceFileError
from oresearch_graph.trace.record import Trace


def read_traces(path: Path | str) -> Iterator[Trace]:
    """The traces of a file, one at a time. Raises TraceFileError naming the line."""
    path = Path(path)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _read_line(path, number, line)
    except OSError as error:
        raise TraceFileError(f"{path}: cannot be read: {error.strerror}") from error


def _read_line(path: Path, number: int, line: bytes) -> Trace:
    try:
        return Trace.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "the line"
        cut = "" if line.endswith(b"\n") else " (the line has no end: was the writer killed?)"
        raise TraceFileError(
            f"{path}:{number}: not a trace: {place}: {first['msg']}{cut}"
        ) from error


def write_traces(path: Path | str, traces: Iterable[Trace]) -> None:
    """Append traces to a file, which is made where it does not exist."""
    with TraceWriter(path) as writer:
        for trace in traces:
            writer.write(trace)


class TraceWriter:
    """Appends traces to a file; `done` holds the ids that were there, for resuming.

    Every write is on the disk when `write` returns. Several processes may hold a writer on one
    file. A trace that does not fit on the disk leaves no part of itself behind.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            with self._locked():
                self._end_last_line()
            self.done = {trace.id for trace in read_traces(self.path)}
        except OSError as error:
            raise TraceFileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, trace: Trace) -> None:
        line = trace.model_dump_json().encode() + b"\n"
        try:
            with self._locked():
                start = os.fstat(self._file).st_size
                if os.write(self._file, line) != len(line):
                    os.ftruncate(self._file, start)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                os.fsync(self._file)
        except OSError as error:
            raise TraceFileError(
                f"{self.path}: the trace was not written: {error.strerror}"
            ) from error
        self.done.add(trace.id)

    def close(self) -> None:
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with the file among its writers: an unended line is then nobody's work."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _end_last_line(self) -> None:
        """A whole trace that lacks only its newline gets it; a part of one moves to `<file>.cut`,
        so that the next line starts clean."""
        end = os.fstat(self._file).st_size
        start = _last_line_start(self._file, end)
        tail = os.pread(self._file, end - start, start)
        if not tail:
            return
        if _is_trace(tail):
            os.write(self._file, b"\n")
            return
        with self.path.with_name(self.path.name + ".cut").open("ab") as aside:
            aside.write(tail + b"\n")
        os.ftruncate(self._file, start)


def _is_trace(line: bytes) -> bool:
    try:
        Trace.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _last_line_start(file: int, end: int) -> int:
    """The offset after the last newline before `end`, read backwards in blocks."""
    at, block = end, 65_536
    while at > 0:
        size = min(block, at)
        at -= size
        if (found := os.pread(file, size, at).rfind(b"\n")) >= 0:
            return at + found + 1
    return 0


def trace_json_schema() -> dict[str, Any]:
    """The JSON Schema of one line of a trace file."""
    return Trace.model_json_schema()
