"""TraceShelf: the traces of a run by id, without holding them in memory."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from datagen.run.record_files import file_lines
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace
from oresearch_graph.trace.files import read_trace_line

_HEAD: Final = re.compile(rb'\{"version":[12],"id":"([^"\\]*)"')
"""How every writer of ours begins a line; other lines are read whole for their id."""


class TracePlace(NamedTuple):
    """Where a trace's line stands; small enough to be handed to another process."""

    file: Path
    number: int
    offset: int


class TraceShelf:
    """Where each trace stands: one pass over the files when it is made, one seek for each trace.

    Memory: about 200 bytes a trace. The last line with an id counts.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises TraceFileError for a line that is no trace and begins unlike one."""
        self._places: dict[str, TracePlace] = {}
        for file in files:
            for line in file_lines(file):
                trace_id = _id(file, line.number, line.text)
                self._places[trace_id] = TracePlace(file, line.number, line.offset)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __contains__(self, trace: object) -> bool:
        return trace in self._places

    def get(self, trace: str) -> Trace:
        """Raises ConfigurationError for an id that is not there, TraceFileError for a bad line."""
        place = self._places.get(trace)
        if place is None:
            raise ConfigurationError(f"there is no trace {trace!r} in this run")
        return trace_at(place)

    @property
    def places(self) -> Collection[TracePlace]:
        """Of every trace, in the order of the files."""
        return self._places.values()


def _id(file: Path, number: int, line: bytes) -> str:
    head = _HEAD.match(line)
    return head[1].decode(errors="replace") if head else read_trace_line(file, number, line).id


def trace_at(place: TracePlace) -> Trace:
    """Raises TraceFileError for a line that is no trace."""
    with place.file.open("rb") as file:
        file.seek(place.offset)
        return read_trace_line(place.file, place.number, file.readline())
