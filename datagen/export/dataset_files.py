"""Reading a data set's row files again, and the sources of each trace without holding them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from datagen.export.columns import Row
from datagen.export.proofs import Texts


def read_file(path: Path) -> Iterator[Row]:
    """The rows of a Parquet or JSON Lines file. Raises OSError, ValueError or ArrowException."""
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=64):
                yield from batch.to_pylist()
        return
    with path.open("rb") as lines:
        for line in lines:
            value = json.loads(line)
            yield value if isinstance(value, dict) else {}


class SourceShelf:
    """The sources of every trace of a data set; row groups are read as they are asked for."""

    def __init__(self, folder: Path) -> None:
        """A file that cannot be read has no sources: its own check tells of it."""
        self._places: dict[str, tuple[Path, int, int]] = {}
        self._held: tuple[Path, int, list[Any]] | None = None
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

    def texts(self, trace: str) -> Texts:
        """Text and hash of each source of a trace; empty for one that is not there."""
        place = self._places.get(trace)
        if place is None:
            return {}
        path, group, at = place
        if self._held is None or self._held[:2] != (path, group):
            with pq.ParquetFile(path) as file:
                column = file.read_row_group(group, columns=["sources"]).column(0)
            self._held = path, group, column.to_pylist()
        return {s["id"]: (s["text"], s["sha256"]) for s in self._held[2][at]}
