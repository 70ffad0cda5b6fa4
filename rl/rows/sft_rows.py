"""Files of SFT rows: one training sequence as text each (`oresearch_graph.training_rows`).

Row files are Parquet, or JSON Lines with the same names, one row a line. Columns (more are
allowed and not read):

    id           text          unique in the file, `<trace_id>-<thread>`
    trace_id     text          the Trace the row comes from
    thread       text          `plan`, the branch number, `report`; `run` for a whole trajectory
    role         text or null  planner, researcher, summarizer; null: `run` plays every role
    branch       int or null   the subtask of a researcher's row, counted from 1
    question     text          the user's message
    system       text          the system prompt of the training protocol
    fingerprint  text          `Protocol.fingerprint` of the Trace
    execution    text          `Protocol.execution` of the Trace: parallel or sequential
    segments     list of {author, text}, in order: the assistant's message as protocol text, world
                 text escaped (`step_segments`). `policy` is what the policy wrote in this very
                 thread: it is trained. `world` is all else that the thread was shown, another
                 thread's text among it.
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
                "rl/rows/sft_rows.py"
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
