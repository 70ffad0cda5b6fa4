"""KeptRecords: what was paid for, by key, in a file of the work folder.

A stage that asks a model keeps every answer under the hash of all that it rests on, and asks
again only for what does not stand here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

from datagen.records import Record
from datagen.run.record_files import RecordWriter, read_record_line
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace.lines import Closing

R = TypeVar("R", bound=Record)


class KeptRecords(Closing, Generic[R]):
    """Records by key; the last of a key counts. Memory holds keys and places, not records.

    Writers of one process only: the run's folder is locked.
    """

    def __init__(self, path: Path, kind: type[R], key: Callable[[R], str]) -> None:
        """Raises ConfigurationError for a file that cannot be written, or a spoilt line of it."""
        self.path, self._kind, self._key = path, kind, key
        self._writer = RecordWriter(path, kind)
        self._lock = threading.Lock()
        self._places: dict[str, int] = {}
        self._end = 0
        for record, size in self._lines():
            self._places[key(record)] = self._end
            self._end += size

    def __contains__(self, key: object) -> bool:
        return key in self._places

    def get(self, key: str) -> R | None:
        """The record of a key."""
        place = self._places.get(key)
        if place is None:
            return None
        with self.path.open("rb") as file:
            file.seek(place)
            return self._kind.model_validate_json(file.readline())

    def keep(self, record: R) -> None:
        """It is on the disk when this returns. Raises ConfigurationError."""
        with self._lock:
            self._writer.write(record)
            self._places[self._key(record)] = self._end
            self._end = self.path.stat().st_size

    def close(self) -> None:
        self._writer.close()

    def _lines(self) -> Iterator[tuple[R, int]]:
        """Each record with its line's size in bytes."""
        try:
            with self.path.open("rb") as lines:
                for number, line in enumerate(lines, start=1):
                    yield read_record_line(self.path, number, line, self._kind), len(line)
        except OSError as error:
            raise ConfigurationError(f"{self.path}: cannot be read: {error.strerror}") from error
