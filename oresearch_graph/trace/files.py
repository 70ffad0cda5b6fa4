"""Trace files: JSON Lines, one Trace a line, appended to, streamed and resumed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from oresearch_graph.errors import TraceFileError
from oresearch_graph.trace.lines import Closing, LineWriter
from oresearch_graph.trace.record import Trace
from oresearch_graph.trace.validation import first_fault


def read_traces(path: Path | str) -> Iterator[Trace]:
    """The traces of a file, one at a time. Raises TraceFileError naming the line."""
    path = Path(path)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield read_trace_line(path, number, line)
    except OSError as error:
        raise TraceFileError(f"{path}: cannot be read: {error.strerror}") from error


def read_trace_line(path: Path, number: int, line: bytes) -> Trace:
    """The trace of one line. Raises TraceFileError naming file and line."""
    try:
        return Trace.model_validate_json(line)
    except ValidationError as error:
        fault = first_fault(error, "the line")
        cut = "" if line.endswith(b"\n") else " (the line has no end: was the writer killed?)"
        raise TraceFileError(f"{path}:{number}: not a trace: {fault}{cut}") from error


def write_traces(path: Path | str, traces: Iterable[Trace]) -> None:
    """Append traces to a file, which is made where it does not exist."""
    with TraceWriter(path) as writer:
        for trace in traces:
            writer.write(trace)


class TraceWriter(Closing):
    """Appends traces to a file; `done` holds the ids that were there, for resuming.

    Every write is on the disk when `write` returns. Several processes may hold a writer on one
    file. A trace that does not fit on the disk leaves no part of itself behind.
    """

    def __init__(self, path: Path | str, done: Iterable[str] | None = None) -> None:
        """`done`: the ids, from a caller who knows them; else every trace there is read for it."""
        self.path = Path(path)
        try:
            self._lines = LineWriter(self.path, _is_trace)
            known = (trace.id for trace in read_traces(self.path)) if done is None else done
            self.done = set(known)
        except OSError as error:
            raise TraceFileError(f"{self.path}: cannot be written: {error.strerror}") from error

    def write(self, trace: Trace) -> None:
        try:
            self._lines.write(trace.model_dump_json().encode())
        except OSError as error:
            raise TraceFileError(
                f"{self.path}: the trace was not written: {error.strerror}"
            ) from error
        self.done.add(trace.id)

    def close(self) -> None:
        self._lines.close()


def _is_trace(line: bytes) -> bool:
    try:
        Trace.model_validate_json(line)
    except ValidationError:
        return False
    return True


def trace_json_schema() -> dict[str, Any]:
    """The JSON Schema of one line of a trace file."""
    return Trace.model_json_schema()
