"""Files of rows: JSON Lines, or Parquet with the same names. Packages for Parquet are loaded with
the first such file; the group `datagen` brings them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel

from oresearch_graph.errors import ConfigurationError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
"""One row as JSON values, by column."""

_BATCH: Final = 64
"""Rows of a Parquet file that are held at once; a row may be as long as a model's window."""


def canonical(value: Any) -> str:  # noqa: ANN401 - any JSON value
    """JSON in one form, for hashes."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def json_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. Raises ConfigurationError."""
    try:
        with Path(path).open("rb") as lines:
            yield from ((n, line) for n, line in enumerate(lines, start=1) if line.strip())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def row_values(path: Path | str) -> Iterator[Any]:
    """The rows of a file as they stand there. Raises ConfigurationError."""
    if Path(path).suffix == ".parquet":
        yield from _parquet_values(path)
        return
    for number, line in json_lines(path):
        try:
            value = json.loads(line)
        except ValueError as error:
            raise ConfigurationError(f"{path}:{number}: not JSON: {error}") from error
        yield value


def _parquet_values(path: Path | str) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH):
                yield from batch.to_pylist()
    except (OSError, ValueError, pa.ArrowException) as error:
        why = " ".join(str(error).split())
        raise ConfigurationError(f"{path}: cannot be read: {why}") from error


def arrow_columns(model: type[BaseModel]) -> Mapping[str, pa.DataType]:
    """The Parquet columns of a model's fields, in their order: text, numbers, truth values, and
    lists and records of these; any of them may be missing."""
    return {name: _arrow_type(field.annotation) for name, field in model.model_fields.items()}


def _arrow_type(hint: Any) -> pa.DataType:  # noqa: ANN401 - an annotation
    import pyarrow as pa

    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return pa.struct(dict(arrow_columns(hint)))
    plain = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    if hint in plain:
        return plain[hint]
    parts = [part for part in get_args(hint) if part is not NoneType]
    if get_origin(hint) is Literal:
        return pa.string()
    inner = _arrow_type(parts[0])
    return pa.list_(inner) if get_origin(hint) is tuple else inner
