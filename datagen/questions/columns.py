"""A row of a seed file as a seed: which column holds what, and what is wrong with a row."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from datagen.questions.wording import compared, tidy
from datagen.records import Seed, safe_id, seed_id
from datagen.run.rows import Row
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.key_points import KeyPoint

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

    def seed(self, row: Row) -> Seed:
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

    def question(self, row: Row) -> str:
        """The question alone, in its form. Raises RowFault."""
        if row.fault:
            raise RowFault(row.fault)
        self._seen |= dict.fromkeys(map(str, row.values))
        found = self._cell(row, "question")
        if found is None:
            column = self._named.question or ", ".join(_GUESSES["question"])
            raise RowFault(f"there is no question in it (column {column})")
        if not isinstance(found, str):
            raise RowFault(f"the question is no text but {type(found).__name__}")
        question = tidy(found)
        if not compared(question):
            raise RowFault("the question holds no words")
        if len(question) > self._settings.longest:
            raise RowFault(
                f"the question has {len(question)} characters, more than seeds.longest: "
                f"{self._settings.longest}"
            )
        self._sound += 1
        return question

    def _id(self, row: Row, question: str) -> str:
        found = self._text(row, "id")
        made = safe_id(found)[:_LONGEST_ID] if found else ""
        plain = all(c.isalpha() or c.isdecimal() or c in "_-" for c in made)
        return made if made and plain else seed_id(question)

    def _text(self, row: Row, what: str) -> str | None:
        """A label; a number is one as well."""
        found = self._cell(row, what)
        if isinstance(found, bool) or not isinstance(found, str | int):
            return None
        return " ".join(tidy(str(found)).split()) or None

    def _cell(self, row: Row, what: str) -> Any:  # noqa: ANN401
        named = getattr(self._named, what)
        if named is not None:
            return row.values.get(named)
        by_name = {str(name).strip().lower(): cell for name, cell in row.values.items()}
        cells = (by_name.get(guess) for guess in _GUESSES[what])
        return next((cell for cell in cells if cell not in (None, "")), None)


def _language(told: str | None) -> str | None:
    """ISO 639-1 of what a file says; None when that is no language we know the code of."""
    if told is None:
        return None
    name = told.lower()
    code = re.split(r"[-_]", name)[0]
    return _LANGUAGES.get(name) or (code if re.fullmatch(r"[a-z]{2}", code) else None)


def _key_points(told: Any) -> Iterator[KeyPoint]:  # noqa: ANN401
    if isinstance(told, str):
        try:
            told = json.loads(told)
        except ValueError as error:
            raise RowFault(f"key_points is no JSON list: {error}") from error
    if told is None:
        return
    if not isinstance(told, list):
        raise RowFault("key_points is no list: write one fact, or one object, for each")
    for number, point in enumerate(told, start=1):
        yield _key_point(number, point)


def _key_point(number: int, told: Any) -> KeyPoint:  # noqa: ANN401
    if isinstance(told, str):
        told = {"text": told}
    if isinstance(told, dict):  # columns of a table fill what a row lacks with None
        told = {name: value for name, value in told.items() if value is not None}
    try:
        return KeyPoint.model_validate(told)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise RowFault(f"key point {number}: {place}: {first['msg']}") from error
