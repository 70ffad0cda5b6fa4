"""Trace files: JSON Lines, one Trace a line, appended to, streamed and resumed.

Each line is written whole by one call on a file opened for appending, so processes may share a
file. A line without its newline is one that a crash cut short: `TraceWriter` moves it aside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
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
    """Appends traces to a file; `done` holds the ids that were there, for resuming."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._set_aside_cut_line()
            self.done = {trace.id for trace in read_traces(self.path)} if self._exists() else set()
            self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise TraceFileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, trace: Trace) -> None:
        line = trace.model_dump_json().encode() + b"\n"
        try:
            written = os.write(self._file, line)
            os.fsync(self._file)
        except OSError as error:
            raise TraceFileError(f"{self.path}: cannot be written: {error.strerror}") from error
        if written != len(line):
            raise TraceFileError(f"{self.path}: the disk is full; the last trace is cut short")
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

    def _exists(self) -> bool:
        return self.path.exists()

    def _set_aside_cut_line(self) -> None:
        """Move an unfinished last line to `<file>.cut`, so that the next one starts clean."""
        if not self._exists():
            return
        with self.path.open("rb+") as file:
            end = file.seek(0, os.SEEK_END)
            start = _last_line_start(file, end)
            file.seek(start)
            tail = file.read()
            if tail and not tail.endswith(b"\n"):
                with self.path.with_name(self.path.name + ".cut").open("ab") as aside:
                    aside.write(tail + b"\n")
                file.truncate(start)


def _last_line_start(file: Any, end: int) -> int:  # noqa: ANN401 - a binary file object
    """The offset after the last newline before `end`, read backwards in blocks."""
    at, block = end, 65_536
    while at > 0:
        size = min(block, at)
        at -= size
        file.seek(at)
        if (found := file.read(size).rfind(b"\n")) >= 0:
            return at + int(found) + 1
    return 0


def trace_json_schema() -> dict[str, Any]:
    """The JSON Schema of one line of a trace file."""
    return Trace.model_json_schema()
