"""`verify`: a data set proved again from its own files, each wrong row named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from datagen.export.files import NAME, FileRecord, Manifest, file_record, read_manifest
from datagen.export.prepared import Texts
from datagen.export.row_checks import RowChecks
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import row_values

_PRINTED: Final = 100
"""Findings that are printed; all are counted."""
_FIRST: Final = ("sft-linear", "rl")
"""Configurations that others are compared with; of `rl` the JSON Lines file comes first."""


def verify_dataset(folder: Path, console: Console) -> int:
    """Print what is wrong with a data set; 0 when nothing is, else 1.

    Raises ConfigurationError for a folder that is no data set.
    """
    manifest = read_manifest(folder)
    wrong = 0
    for fault in _faults(folder, manifest):
        wrong += 1
        if wrong <= _PRINTED:
            console.print(fault, markup=False, highlight=False, soft_wrap=True)
    rows = sum(record.rows or 0 for record in manifest.files)
    summary = f"{len(manifest.files)} files, {rows} rows: "
    if wrong > _PRINTED:
        summary += f"{wrong - _PRINTED} more findings; "
    if manifest.page_text == "hash":
        summary += "quotes cannot be proved, since page text is withheld; "
    summary += (
        f"{wrong} wrong" if wrong else "every hash, span, number and author is as it should be"
    )
    console.print(summary, markup=False, highlight=False, soft_wrap=True)
    return int(wrong > 0)


def _faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    yield from _file_faults(folder, manifest)
    checks = RowChecks(manifest, SourceTexts(folder))
    for record in sorted(manifest.files, key=_order):
        if record.config is not None and (folder / record.path).is_file():
            yield from _row_faults(folder, record, checks)


def _order(record: FileRecord) -> tuple[bool, bool, str]:
    return record.config not in _FIRST, not record.path.endswith(".jsonl"), record.path


def _file_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    expected = {record.path for record in manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in expected and name != NAME:
            yield f"{name}: the manifest does not have this file"
    for record in manifest.files:
        path = folder / record.path
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{folder / NAME}: {record.path} is outside the folder")
        if not path.is_file():
            yield f"{record.path}: the file is missing"
        elif (sha256 := file_record(folder, path).sha256) != record.sha256:
            yield f"{record.path}: its hash is {sha256[:16]}, not {record.sha256[:16]}"


def _row_faults(folder: Path, record: FileRecord, checks: RowChecks) -> Iterator[str]:
    """Each row of a file. A file that breaks off is told of once."""
    count, names = 0, set[str]()
    try:
        for count, value in enumerate(row_values(folder / record.path), start=1):
            row = value if isinstance(value, dict) else {}
            name = _name(row)
            if name in names:
                yield f"{record.path}: row {count} ({name}): its id stands here twice"
            names.add(name)
            for fault in checks.faults(record.config or "", record.split or "", row):
                yield f"{record.path}: row {count} ({name}): {fault}"
    except ConfigurationError as error:
        yield f"{record.path}: row {count + 1} cannot be read: {error}"
        return
    if count != record.rows:
        yield f"{record.path}: it has {count} rows, the manifest says {record.rows}"


def _name(row: dict[str, object]) -> str:
    info = row.get("extra_info")
    inner = info.get("id") if isinstance(info, dict) else None
    return str(row.get("id") or row.get("trace_id") or row.get("seed") or inner)


class SourceTexts:
    """The texts of the sources of every trace of a data set, read one row group at a time."""

    def __init__(self, folder: Path) -> None:
        """A file that cannot be read has no sources: its own check tells of it."""
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._group: tuple[Path, int, list[Any]] | None = None
        for path in sorted(folder.glob("sources/*.parquet")):
            try:
                self._index(path)
            except (OSError, ValueError, KeyError, pa.ArrowException):
                continue

    def _index(self, path: Path) -> None:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["trace_id"]).column(0).to_pylist()
                for at, trace in enumerate(ids):
                    self._places[trace] = path, group, at

    def __call__(self, trace: str) -> Texts:
        """Text and hash of each source of a trace; empty for one that is not there."""
        place = self._places.get(trace)
        if place is None:
            return {}
        path, group, at = place
        if self._group is None or self._group[:2] != (path, group):
            with pq.ParquetFile(path) as file:
                column = file.read_row_group(group, columns=["sources"]).column(0)
            self._group = path, group, column.to_pylist()
        return {s["id"]: (s["text"], s["sha256"]) for s in self._group[2][at]}
