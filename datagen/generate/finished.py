"""The traces that stand in a run's file, as far as the generate stage asks: which they are, what
they cost, who wrote them. No trace is built for it, so a hundred thousand take seconds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from pydantic import ValidationError
from pydantic_core import from_json

from datagen.records import seed_id
from oresearch_graph.errors import TraceFileError
from oresearch_graph.trace import Usage, known_sum


class Spent(NamedTuple):
    """What model calls cost. None: no provider said."""

    tokens: int | None = None
    """Prompt and completion tokens."""
    cost: float | None = None
    """US dollars."""

    @classmethod
    def of(cls, usages: Iterable[Usage]) -> Self:
        tokens: int | None = None
        cost: float | None = None
        for usage in usages:
            tokens = known_sum((tokens, usage.prompt_tokens, usage.completion_tokens))
            cost = known_sum((cost, usage.cost))
        return cls(tokens, cost)

    def plus(self, other: Spent) -> Spent:
        tokens = known_sum((self.tokens, other.tokens))
        return Spent(tokens, known_sum((self.cost, other.cost)))


class Finished(NamedTuple):
    """A candidate whose trace stands in the file."""

    id: str
    question_id: str
    """The id that its question gives a seed: another question under the same id is another."""
    spending: Spent
    extractive: bool


def read_finished(path: Path) -> Iterator[Finished]:
    """What stands in a trace file; a last line without its end is being written, or was cut.

    Raises TraceFileError naming a line that is no trace.
    """
    if not path.exists():
        return
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip() and line.endswith(b"\n"):
                    yield _read(path, number, line)
    except OSError as error:
        raise TraceFileError(f"{path}: cannot be read: {error.strerror}") from error


def _read(path: Path, number: int, line: bytes) -> Finished:
    try:
        raw: Any = from_json(line)
        spending = Spent.of(Usage.model_validate(usage) for usage in raw["usage"])
        extractive = "extractive" in raw["models"].values()
        return Finished(str(raw["id"]), seed_id(raw["question"]), spending, extractive)
    except (ValueError, ValidationError, KeyError, TypeError, AttributeError) as error:
        raise TraceFileError(
            f"{path}:{number}: not a trace: take the line out, its candidate is made again"
        ) from error
