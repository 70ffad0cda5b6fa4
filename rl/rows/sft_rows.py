"""Files of SFT rows: one training sequence as text each.

Row files are Parquet, or JSON Lines with the same names, one row a line. Columns are the fields of
`oresearch_graph.training_rows.SFTRow`, segments a list of {author, text}; more are allowed and not
read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.training_rows import SFTRow


def read_rows(path: Path | str) -> Iterator[SFTRow]:
    """The rows of a Parquet or JSON Lines file. Raises ConfigurationError, naming the row."""
    for number, value in enumerate(_values(Path(path)), start=1):
        try:
            yield SFTRow.model_validate(value)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            column = ".".join(map(str, first["loc"]))
            raise ConfigurationError(
                f"{path}: row {number}: column {column}: {first['msg']}; the columns are those of "
                "oresearch_graph/training_rows.py"
            ) from error


def holds_rows(path: Path | str) -> bool:
    """True for a file of SFT rows, False for one of Traces. Raises ConfigurationError."""
    if Path(path).suffix == ".parquet":
        return True
    first = next(_values(Path(path)), None)
    return isinstance(first, dict) and "segments" in first


def _values(path: Path) -> Iterator[Any]:
    try:
        yield from _parquet(path) if path.suffix == ".parquet" else _json_lines(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise ConfigurationError(f"{path}: cannot be read: {error}; check data.train_files") from (
            error
        )


def _parquet(path: Path) -> Iterator[Any]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()


def _json_lines(path: Path) -> Iterable[Any]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ConfigurationError(f"{path}:{number}: not JSON: {error}") from error
