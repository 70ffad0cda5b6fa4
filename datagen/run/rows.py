"""Rows of files from elsewhere: JSON Lines, CSV, Parquet, or whatever `datasets` opens.

A row that cannot be read is a FileRow with its fault, so that one broken line loses nothing else; a
file that cannot be read at all is a ConfigurationError. Places are `file:number`: the line in text
files, else the row, both counted from 1.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from datagen.run.record_files import file_lines
from oresearch_graph.errors import ConfigurationError

_LINES: Final = frozenset((".jsonl", ".ndjson", ".json"))
_TABLES: Final = {".csv": ",", ".tsv": "\t"}
_PARQUET: Final = ".parquet"
_LONGEST_CELL: Final = 64 * 1024 * 1024
_SAVED: Final = ("dataset_dict.json", "state.json")
"""What `save_to_disk` of a data set leaves in its folder."""
KNOWN: Final = frozenset((*_LINES, *_TABLES, _PARQUET))
"""Endings of the files that are read here."""


class FileRow(NamedTuple):
    """One row with its place."""

    place: str
    values: dict[str, Any]
    fault: str = ""
    """Why it could not be read, and what would mend it; empty for a sound row."""


def read_rows(name: str, split: str = "train") -> Iterator[FileRow]:
    """The rows of a file, of a folder, or of a data set by its name (`split` of one that has
    several), one at a time.

    Raises ConfigurationError when there is nothing to read.
    """
    path = Path(name).expanduser()
    ending = path.suffix.lower()
    if path.is_dir():
        return _guarded(name, lambda: _from_folder(path, split))
    if ending not in KNOWN:
        if path.exists():
            raise ConfigurationError(
                f"{name}: files end in {', '.join(sorted(KNOWN))}; convert it, or rename it"
            )
        return _guarded(name, lambda: _from_hub(name, split))
    if not path.is_file():
        raise ConfigurationError(f"{name}: there is no such file")
    if ending in _LINES:
        return _guarded(name, lambda: _from_lines(path))
    if ending in _TABLES:
        return _guarded(name, lambda: _from_table(path, _TABLES[ending]))
    return _guarded(name, lambda: _from_parquet(path))


def files_behind(names: Iterable[str]) -> list[Path]:
    """The files that these names stand for, folders opened; none for a data set's name."""
    files: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            files += sorted(file for file in path.rglob("*") if file.is_file())
        elif path.suffix.lower() in KNOWN or path.exists():
            files.append(path)
    return files


def _guarded(name: str, rows: Callable[[], Iterator[FileRow]]) -> Iterator[FileRow]:
    """What a library says of a file that it cannot read, as one line with the file."""
    try:
        yield from rows()
    except ConfigurationError:
        raise
    except OSError as error:
        raise ConfigurationError(f"{name}: cannot be read: {error.strerror or _line(error)}") from (
            error
        )
    except Exception as error:  # the boundary to pyarrow's and datasets' many errors
        raise ConfigurationError(f"{name}: cannot be read: {_line(error)}") from error


def _from_lines(path: Path) -> Iterator[FileRow]:
    for line in file_lines(path):
        text = line.text.removeprefix(b"\xef\xbb\xbf") if line.number == 1 else line.text
        if text.strip():
            yield _json_row(f"{path}:{line.number}", text)


def _json_row(place: str, line: bytes) -> FileRow:
    try:
        values = json.loads(line)
    except UnicodeDecodeError:
        return FileRow(place, {}, "it is not UTF-8: save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        cut = "" if line.endswith(b"\n") else " (the line has no end: is the file whole?)"
        return FileRow(place, {}, f"it is no JSON ({error}): one JSON object a line{cut}")
    if not isinstance(values, dict):
        return FileRow(place, {}, "it is no JSON object: one JSON object a line")
    return FileRow(place, values)


def _from_table(path: Path, delimiter: str) -> Iterator[FileRow]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        reader = csv.DictReader(file, delimiter=delimiter, strict=True)
        if not reader.fieldnames:
            raise ConfigurationError(f"{path}: its first line must name the columns")
        while True:
            place = f"{path}:{reader.line_num + 1}"
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield FileRow(place, {}, f"it is no CSV ({error}): check its quotation marks")
                continue
            yield _table_row(place, values)


def _table_row(place: str, values: dict[str | Any, Any]) -> FileRow:
    surplus = values.pop(None, None)
    if surplus is not None:
        return FileRow(place, {}, "it has more cells than the first line names: quote its commas")
    filled = {name: cell for name, cell in values.items() if cell not in {None, ""}}
    if any(not _is_utf8(cell) for cell in filled.values()):
        return FileRow(place, {}, "it is not UTF-8: save the file as UTF-8")
    return FileRow(place, {name: filled.get(name) for name in values})


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _from_parquet(path: Path) -> Iterator[FileRow]:
    import pyarrow.parquet as pq

    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            for values in batch.to_pylist():
                number += 1
                yield FileRow(f"{path}:{number}", values)


def _from_folder(path: Path, split: str) -> Iterator[FileRow]:
    import datasets

    saved = any((path / name).exists() for name in _SAVED)
    whole = datasets.load_from_disk(str(path)) if saved else datasets.load_dataset(str(path))
    return _split_rows(str(path), whole, split)


def _from_hub(name: str, split: str) -> Iterator[FileRow]:
    import datasets

    try:
        whole = datasets.load_dataset(name)
    except Exception as error:  # the boundary to datasets: not there, no network, a script
        raise ConfigurationError(
            f"{name}: there is no such file, and no data set of that name could be loaded: "
            f"{_line(error)}"
        ) from error
    return _split_rows(name, whole, split)


def _split_rows(name: str, whole: Any, split: str) -> Iterator[FileRow]:  # noqa: ANN401
    if isinstance(whole, dict):
        if split not in whole and len(whole) > 1:
            raise ConfigurationError(
                f"{name}: it has no split {split!r} but {', '.join(map(str, whole))}; "
                "set seeds.split"
            )
        whole = whole[split] if split in whole else next(iter(whole.values()))
    for number, values in enumerate(whole, start=1):
        yield FileRow(f"{name}:{number}", dict(values))


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
