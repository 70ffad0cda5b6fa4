"""The questions of the seed files, and the benchmarks' questions: which column holds what, and what
is wrong with a row."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from datagen.questions.index import Benchmarks
from datagen.questions.likeness import compared, tidy
from datagen.records import Dropped, Seed, safe_id, seed_id
from datagen.run.rows import FileRow, read_rows
from datagen.settings.seeds import SeedColumns, SeedSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.trace.validation import first_fault

PlacedSeed = tuple[str, Seed]
"""A seed and its place in its file."""
_GUESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "question": ("question", "prompt", "query", "instruction", "title"),
    "id": ("id", "question_id", "qid"),
    "language": ("language", "lang"),
    "domain": ("domain", "topic", "category"),
    "key_points": ("key_points",),
    "license": ("license", "licence"),
}
_LANGUAGES: Final = {
    "english": "en", "chinese": "zh", "中文": "zh", "英文": "en", "german": "de", "french": "fr",
    "spanish": "es", "japanese": "ja", "korean": "ko", "portuguese": "pt", "italian": "it",
    "russian": "ru",
}  # fmt: skip
_LONGEST_ID: Final = 80


def load_seeds(settings: SeedSettings) -> Iterator[PlacedSeed | Dropped]:
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


def _load(name: str, settings: SeedSettings) -> Iterator[PlacedSeed | Dropped]:
    columns = Columns(name, settings)
    first_fault = ""
    for row in read_rows(name, settings.split):
        try:
            yield row.place, columns.seed(row)
        except RowFault as fault:
            first_fault = first_fault or f"{row.place}: {fault}"
            if not settings.strict:
                yield _drop(row, fault)
    columns.check(first_fault)
    if settings.strict and first_fault:
        raise ConfigurationError(first_fault)


def _drop(row: FileRow, fault: RowFault) -> Dropped:
    text = next((cell for cell in row.values.values() if isinstance(cell, str)), "")
    return Dropped(question=text[:500], reason="invalid", detail=str(fault), source=row.place)


class RowFault(Exception):
    """Why a row is no seed, and what would mend it."""


class Columns:
    """The columns of one file."""

    def __init__(
        self, name: str, settings: SeedSettings, setting: str = "seeds.columns.question"
    ) -> None:
        """`setting` is what names the column of the questions."""
        self.name, self._settings, self._setting = name, settings, setting
        self._named = settings.columns
        self._seen: dict[str, None] = {}
        self._sound = 0

    def seed(self, row: FileRow) -> Seed:
        """Raises RowFault."""
        question = self.question(row)
        return Seed(
            id=self._id(row, question),
            question=question,
            language=_language(self._text(row, "language")),
            domain=self._text(row, "domain"),
            license=self._text(row, "license") or self._settings.license,
            source=Path(self.name).name if Path(self.name).exists() else self.name,
            key_points=tuple(_key_points(self._cell(row, "key_points"))),
        )

    def check(self, first_fault: str) -> None:
        """After the last row. Raises ConfigurationError when the file held no seed at all, or a
        column that the settings name."""
        names = ", ".join(self._seen)
        for what, name in self._named:
            if name is not None and self._seen and name not in self._seen:
                raise ConfigurationError(
                    f"{self.name}: there is no column {name!r} ({self._named_by(what)}); "
                    f"its columns are: {names}"
                )
        if self._sound:
            return
        guesses = ", ".join(_GUESSES["question"])
        if self._seen and self._named.question is None and not self._guessed("question"):
            raise ConfigurationError(
                f"{self.name}: no column is called {guesses}; its columns are: {names}; "
                f"set {self._setting}"
            )
        raise ConfigurationError(f"{self.name}: no question in it: {first_fault or 'it is empty'}")

    def _guessed(self, what: str) -> bool:
        return any(name.strip().lower() in _GUESSES[what] for name in self._seen)

    def _named_by(self, what: str) -> str:
        return self._setting if what == "question" else f"seeds.columns.{what}"

    def question(self, row: FileRow) -> str:
        """The question alone, in its form. Raises RowFault."""
        if row.fault:
            raise RowFault(row.fault)
        self._seen |= dict.fromkeys(map(str, row.values))
        cell = self._cell(row, "question")
        if cell is None:
            column = self._named.question or ", ".join(_GUESSES["question"])
            raise RowFault(f"there is no question in it (column {column})")
        if not isinstance(cell, str):
            raise RowFault(f"the question is no text but {type(cell).__name__}")
        question = tidy(cell)
        if not compared(question):
            raise RowFault("the question holds no words")
        if len(question) > self._settings.longest:
            raise RowFault(
                f"the question has {len(question)} characters, more than seeds.longest: "
                f"{self._settings.longest}"
            )
        self._sound += 1
        return question

    def _id(self, row: FileRow, question: str) -> str:
        label = self._text(row, "id")
        identifier = safe_id(label)[:_LONGEST_ID] if label else ""
        plain = all(c.isalpha() or c.isdecimal() or c in "_-" for c in identifier)
        return identifier if identifier and plain else seed_id(question)

    def _text(self, row: FileRow, what: str) -> str | None:
        """A label; a number is one as well."""
        cell = self._cell(row, what)
        if isinstance(cell, bool) or not isinstance(cell, str | int):
            return None
        return " ".join(tidy(str(cell)).split()) or None

    def _cell(self, row: FileRow, what: str) -> Any:  # noqa: ANN401
        column = getattr(self._named, what)
        if column is not None:
            return row.values.get(column)
        by_name = {str(name).strip().lower(): cell for name, cell in row.values.items()}
        cells = (by_name.get(guess) for guess in _GUESSES[what])
        return next((cell for cell in cells if cell not in (None, "")), None)


def _language(label: str | None) -> str | None:
    """ISO 639-1 of what a file says; None when that is no language we know the code of."""
    if label is None:
        return None
    name = label.lower()
    code = re.split(r"[-_]", name)[0]
    return _LANGUAGES.get(name) or (code if re.fullmatch(r"[a-z]{2}", code) else None)


def _key_points(points: Any) -> Iterator[KeyPoint]:  # noqa: ANN401
    if isinstance(points, str):
        try:
            points = json.loads(points)
        except ValueError as error:
            raise RowFault(f"key_points is no JSON list: {error}") from error
    if points is None:
        return
    if not isinstance(points, list):
        raise RowFault("key_points is no list: write one fact, or one object, for each")
    for number, point in enumerate(points, start=1):
        yield _key_point(number, point)


def _key_point(number: int, point: Any) -> KeyPoint:  # noqa: ANN401
    if isinstance(point, str):
        point = {"text": point}
    if isinstance(point, dict):  # columns of a table fill what a row lacks with None
        point = {name: value for name, value in point.items() if value is not None}
    try:
        return KeyPoint.model_validate(point)
    except ValidationError as error:
        raise RowFault(f"key point {number}: {first_fault(error, 'it')}") from error
