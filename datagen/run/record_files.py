"""Files of records: read a line at a time, appended to crash-safely, replaced as a whole, or kept
by key for a stage that asks a model and pays for each answer once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Generic, NamedTuple, TypeVar

from pydantic import ValidationError

from datagen.records import Record
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import whole_files
from oresearch_graph.trace.lines import Closing, LineWriter
from oresearch_graph.trace.validation import first_fault

R = TypeVar("R", bound=Record)


class FileLine(NamedTuple):
    """One line that holds something."""

    number: int
    """From 1; empty lines count."""
    offset: int
    """Bytes before it."""
    text: bytes


def file_lines(path: Path, *, unended: bool = True) -> Iterator[FileLine]:
    """The lines of a file, one at a time, the empty ones left out; none when there is no file.

    Without `unended` a last line that lacks its newline is left out: it is being written, or was
    cut. Raises ConfigurationError.
    """
    if not path.exists():
        return
    offset = 0
    try:
        with path.open("rb") as lines:
            for number, text in enumerate(lines, start=1):
                if text.strip() and (unended or text.endswith(b"\n")):
                    yield FileLine(number, offset, text)
                offset += len(text)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def read_records(path: Path, kind: type[R], *, unended: bool = True) -> Iterator[R]:
    """The records of a file, one at a time; none when there is no file.

    Without `unended` a last line that lacks its newline is left out: others are writing. Raises
    ConfigurationError naming the line.
    """
    for line in file_lines(path, unended=unended):
        yield _record_of(path, line, kind)


def _record_of(path: Path, line: FileLine, kind: type[R]) -> R:
    try:
        return kind.model_validate_json(line.text)
    except ValidationError as error:
        fault = first_fault(error, "the line")
        raise ConfigurationError(f"{path}:{line.number}: no {kind.__name__}: {fault}") from error


class RecordWriter(Closing, Generic[R]):
    """Appends records; each is on the disk when `write` returns. Raises ConfigurationError."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path = path
        with _one_line_faults(path):
            self._lines = LineWriter(path, lambda line: _is_one(kind, line))

    def write(self, record: R) -> None:
        with _one_line_faults(self.path):
            self._lines.write(record.model_dump_json().encode())

    def close(self) -> None:
        self._lines.close()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """As `whole_files.replacing`. Raises ConfigurationError for a disk that does not take it."""
    with _one_line_faults(path), whole_files.replacing(path) as file:
        yield file


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Replace a file by these records; how many they were."""
    count = 0
    with replacing(path) as file:
        for record in records:
            file.write(record.model_dump_json().encode() + b"\n")
            count += 1
    return count


def write_document(path: Path, record: Record) -> None:
    """Replace a file by this one record, a field a line."""
    with replacing(path) as file:
        file.write(record.model_dump_json(indent=1).encode())


def _is_one(kind: type[Record], line: bytes) -> bool:
    try:
        kind.model_validate_json(line)
    except ValidationError:
        return False
    return True


@contextmanager
def _one_line_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{path}: not written: {error.strerror or error}; what was there is kept"
        ) from error


class KeyedRecords(Closing, Generic[R]):
    """Records by key; the last of a key counts. Memory holds keys and places, not records.

    Writers of one process only: the run's folder is locked.
    """

    def __init__(self, path: Path, kind: type[R], key: Callable[[R], str]) -> None:
        """Raises ConfigurationError for a file that cannot be written, or a spoilt line of it."""
        self.path, self._kind, self._key = path, kind, key
        self._writer = RecordWriter(path, kind)
        self._lock = threading.Lock()
        self._places = {key(_record_of(path, line, kind)): line.offset for line in file_lines(path)}
        self._end = path.stat().st_size

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
