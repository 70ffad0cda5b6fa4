"""The files of a data set: tables that are written as rows come, and the manifest that says what
each file holds. manifest.json is written last, so that its presence says that the folder is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from datagen.export.candidates import Split
from datagen.export.columns import CONFIGS
from datagen.settings.export import Format, PageText
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import Row, canonical
from oresearch_graph.trace import Execution, Protocol, text_hash
from oresearch_graph.trace.validation import FrozenModel, first_fault

NAME: Final = "manifest.json"
_GROUP: Final = 4_000_000
"""Characters of JSON in a row group: what one open file holds in memory, about twice over."""


class FileRecord(FrozenModel):
    """A file of the data set."""

    path: str
    """Relative to the data set's folder."""
    config: str | None = None
    split: str | None = None
    rows: int | None = None
    bytes: int
    sha256: str


def row_hash(row: Row) -> str:
    """SHA-256 of all columns of a row but the hash itself."""
    others = {name: value for name, value in row.items() if name != "sha256"}
    return text_hash(canonical(others))


def file_record(folder: Path, path: Path, **about: Any) -> FileRecord:  # noqa: ANN401
    """What the manifest says of a file that stands."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileRecord(
        path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=digest, **about
    )


class Table:
    """One configuration's file of one split, in one format; made with its first row."""

    def __init__(self, path: Path, schema: pa.Schema, kind: Format) -> None:
        self.path, self.schema, self.kind = path, schema, kind
        self.rows = 0
        self._batch: list[Row] = []
        self._size = 0
        self._lines: BinaryIO | None = None
        self._parquet: pq.ParquetWriter | None = None

    def write(self, row: Row, line: str) -> None:
        """`line` is the row as JSON."""
        if not self.rows:
            self._open()
        self.rows += 1
        if self._lines is not None:
            self._lines.write(line.encode() + b"\n")
            return
        self._batch.append(row)
        self._size += len(line)
        if self._size >= _GROUP:
            self._flush()

    def close(self) -> None:
        if self._lines is not None:
            self._lines.close()
        if self._parquet is not None:
            try:
                self._flush()
            finally:
                self._parquet.close()

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.kind == "jsonl":
            self._lines = self.path.open("wb")
        else:
            # Least and greatest text of each column of each row group would be held until the end.
            self._parquet = pq.ParquetWriter(
                self.path, self.schema, compression="zstd", write_statistics=False
            )

    def _flush(self) -> None:
        if self._batch and self._parquet is not None:
            self._parquet.write_table(pa.Table.from_pylist(self._batch, schema=self.schema))
        self._batch, self._size = [], 0


class Tables:
    """Every row file of a data set."""

    def __init__(self, folder: Path, formats: tuple[Format, ...]) -> None:
        self.folder, self.formats = folder, formats
        self._open: dict[tuple[str, Split], list[Table]] = {}

    def write(self, config: str, split: Split, row: Row) -> None:
        """Add a row, its hash filled in where the configuration has that column."""
        if "sha256" in CONFIGS[config].names:
            row = {**row, "sha256": row_hash(row)}
        line = json.dumps(row, ensure_ascii=False)
        for table in self._tables(config, split):
            table.write(row, line)

    def write_line(self, config: str, split: Split, row: Row, line: str) -> None:
        """Add a row whose JSON Lines file says it in other words; both formats are written."""
        for kind in ("parquet", "jsonl"):
            self._table(config, split, kind).write(row, line)

    def _tables(self, config: str, split: Split) -> Iterator[Table]:
        formats: tuple[Format, ...] = ("parquet",) if config == "sources" else self.formats
        for kind in formats:
            yield self._table(config, split, kind)

    def _table(self, config: str, split: Split, kind: Format) -> Table:
        tables = self._open.setdefault((config, split), [])
        for table in tables:
            if table.kind == kind:
                return table
        path = self.folder / config / f"{split}.{kind}"
        tables.append(Table(path, CONFIGS[config], kind))
        return tables[-1]

    def rows(self, config: str) -> int:
        """How many rows a configuration has so far, over all splits."""
        return sum(t[0].rows for (name, _), t in self._open.items() if name == config)

    def close(self) -> None:
        """Write what is held. The first failure is raised when all files are closed."""
        failed: OSError | None = None
        for table in self._all():
            try:
                table.close()
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed

    def records(self) -> list[FileRecord]:
        """The closed files, for the manifest."""
        return [
            file_record(self.folder, table.path, config=config, split=split, rows=table.rows)
            for (config, split), tables in sorted(self._open.items())
            for table in tables
        ]

    def _all(self) -> list[Table]:
        return [table for tables in self._open.values() for table in tables]


class Manifest(FrozenModel):
    """What a data set's folder holds."""

    version: Literal[1] = 1
    settings: str
    """Fingerprint of the settings that the export read."""
    protocols: dict[Execution, Protocol]
    """The training protocols that rows are told under."""
    page_text: PageText
    scrubbed: bool
    counts: dict[str, int]
    files: tuple[FileRecord, ...]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it into the folder."""
    (folder / NAME).write_text(manifest.model_dump_json(indent=1) + "\n", "utf-8")


def read_manifest(folder: Path) -> Manifest:
    """Raises ConfigurationError for a folder without a manifest that can be read."""
    try:
        return Manifest.model_validate_json((folder / NAME).read_bytes())
    except OSError as error:
        raise ConfigurationError(
            f"{folder}: no {NAME}: this is no data set that export wrote, or not all of it"
        ) from error
    except ValidationError as error:
        raise ConfigurationError(f"{folder / NAME}: {first_fault(error)}") from error
