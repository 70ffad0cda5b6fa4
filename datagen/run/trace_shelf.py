"""TraceShelf: the traces of a run by id, without holding them in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace
from oresearch_graph.trace.files import read_trace_line

_HEAD: Final = re.compile(rb'\{"version":1,"id":"([^"\\]*)"')
"""How every writer of ours begins a line; other lines are read whole for their id."""


class _Place(NamedTuple):
    file: Path
    number: int
    offset: int


class TraceShelf:
    """Where each trace stands: one pass over the files when it is made, one seek for each trace.

    Memory: about 200 bytes a trace. The last line with an id counts.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        """Raises TraceFileError for a line that is no trace and begins unlike one."""
        self._places: dict[str, _Place] = {}
        for file in files:
            with file.open("rb") as lines:
                offset = 0
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        head = _HEAD.match(line)
                        found = head[1].decode() if head else read_trace_line(file, number, line).id
                        self._places[found] = _Place(file, number, offset)
                    offset += len(line)

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
        with place.file.open("rb") as file:
            file.seek(place.offset)
            return read_trace_line(place.file, place.number, file.readline())
