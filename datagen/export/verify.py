"""`verify`: a data set proved again from its own files, each wrong row named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
from rich.console import Console

from datagen.export.dataset_files import SourceShelf, read_file
from datagen.export.manifest import NAME, Manifest, read_manifest
from datagen.export.row_checks import RowChecks
from datagen.export.tables import FileRecord, file_record
from oresearch_graph.errors import ConfigurationError

_SHOWN: Final = 100
"""Findings that are printed; all are counted."""
_FIRST: Final = ("sft-linear", "rl")
"""Configurations that others are compared with; of `rl` the JSON Lines file comes first."""


def verify_dataset(folder: Path, console: Console) -> int:
    """Print what is wrong with a data set; 0 when nothing is, else 1.

    Raises ConfigurationError for a folder that is no data set.
    """
    manifest = read_manifest(folder)
    wrong = rows = 0
    for fault in _faults(folder, manifest):
        wrong += 1
        if wrong <= _SHOWN:
            console.print(fault, markup=False, highlight=False, soft_wrap=True)
    rows = sum(record.rows or 0 for record in manifest.files)
    told = f"{len(manifest.files)} files, {rows} rows: "
    if wrong > _SHOWN:
        told += f"{wrong - _SHOWN} more findings; "
    if manifest.page_text == "hash":
        told += "quotes cannot be proved, since page text is withheld; "
    told += f"{wrong} wrong" if wrong else "every hash, span, number and author is as it should be"
    console.print(told, markup=False, highlight=False, soft_wrap=True)
    return int(wrong > 0)


def _faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    yield from _file_faults(folder, manifest)
    checks = RowChecks(manifest, SourceShelf(folder))
    for record in sorted(manifest.files, key=_order):
        if record.config is not None and (folder / record.path).is_file():
            yield from _row_faults(folder, record, checks)


def _order(record: FileRecord) -> tuple[bool, bool, str]:
    return record.config not in _FIRST, not record.path.endswith(".jsonl"), record.path


def _file_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    listed = {record.path for record in manifest.files}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in listed and name != NAME:
            yield f"{name}: the manifest does not have this file"
    for record in manifest.files:
        path = folder / record.path
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ConfigurationError(f"{folder / NAME}: {record.path} is outside the folder")
        if not path.is_file():
            yield f"{record.path}: the file is missing"
        elif (found := file_record(folder, path)).sha256 != record.sha256:
            yield f"{record.path}: its hash is {found.sha256[:16]}, not {record.sha256[:16]}"


def _row_faults(folder: Path, record: FileRecord, checks: RowChecks) -> Iterator[str]:
    """Each row of a file. A file that breaks off is told of once."""
    count, seen = 0, set[str]()
    try:
        for count, row in enumerate(read_file(folder / record.path), start=1):
            name = _name(row)
            if name in seen:
                yield f"{record.path}: row {count} ({name}): its id stands here twice"
            seen.add(name)
            for fault in checks.faults(record.config or "", record.split or "", row):
                yield f"{record.path}: row {count} ({name}): {fault}"
    except (OSError, ValueError, pa.ArrowException) as error:
        yield f"{record.path}: row {count + 1} cannot be read: {' '.join(str(error).split())}"
        return
    if count != record.rows:
        yield f"{record.path}: it has {count} rows, the manifest says {record.rows}"


def _name(row: dict[str, object]) -> str:
    info = row.get("extra_info")
    inner = info.get("id") if isinstance(info, dict) else None
    return str(row.get("id") or row.get("trace_id") or row.get("seed") or inner)
