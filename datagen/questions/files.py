"""The questions of the seed files, and the benchmarks' questions."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from datagen.questions.benchmarks import Benchmarks
from datagen.questions.columns import Columns, RowFault
from datagen.records import Dropped, Seed
from datagen.run.rows import Row, read_rows
from datagen.settings.seeds import SeedColumns, SeedSettings
from oresearch_graph.errors import ConfigurationError

Placed = tuple[str, Seed]
"""A seed and its place in its file."""


def load_seeds(settings: SeedSettings) -> Iterator[Placed | Dropped]:
    """Every row of the seed files, in order: a seed, or why it is none.

    Raises ConfigurationError for a file that cannot be read or holds no question, and with
    `strict` for the first broken row.
    """
    for name in settings.files:
        yield from _load(name, settings)


def load_benchmarks(settings: SeedSettings) -> Benchmarks:
    """The index of the benchmarks' questions. A broken line is a ConfigurationError: what was not
    read could not be kept out."""
    questions = (one for name in settings.benchmarks for one in _benchmark(name, settings))
    return Benchmarks(questions, settings.likeness)


def _benchmark(name: str, settings: SeedSettings) -> Iterator[str]:
    column_names = SeedColumns(question=settings.benchmark_column)
    benchmark_settings = settings.model_copy(
        update={"columns": column_names, "longest": sys.maxsize}
    )
    columns = Columns(name, benchmark_settings, "seeds.benchmark_column")
    first_fault = ""
    for row in read_rows(name, settings.split):
        try:
            yield columns.question(row)
        except RowFault as fault:
            first_fault = first_fault or f"{row.place}: {fault}"
    columns.check(first_fault)
    if first_fault:
        raise ConfigurationError(f"{first_fault}; a benchmark's questions are read whole or not")


def _load(name: str, settings: SeedSettings) -> Iterator[Placed | Dropped]:
    columns = Columns(name, settings)
    first_fault = ""
    for row in read_rows(name, settings.split):
        try:
            yield row.place, columns.seed(row)
        except RowFault as fault:
            first_fault = first_fault or f"{row.place}: {fault}"
            if not settings.strict:
                yield _dropped(row, fault)
    columns.check(first_fault)
    if settings.strict and first_fault:
        raise ConfigurationError(first_fault)


def _dropped(row: Row, fault: RowFault) -> Dropped:
    text = next((cell for cell in row.values.values() if isinstance(cell, str)), "")
    return Dropped(question=text[:500], reason="invalid", detail=str(fault), source=row.place)
