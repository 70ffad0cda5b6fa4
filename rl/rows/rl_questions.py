"""RLQuestion: a question to be trained on, with what its report is judged by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import Criterion, GroundTruth, Rubric
from oresearch_graph.judging.key_points import KeyPoint


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RubricLine(_Value):
    """One criterion of a question's rubric."""

    criterion: str = Field(min_length=1)
    weight: float = Field(default=1.0, gt=0)
    explanation: str | None = None


class RLQuestion(_Value):
    """A question to be trained on, with what its report is judged by: at least one of both."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    key_points: tuple[KeyPoint, ...] = ()
    rubric: tuple[RubricLine, ...] | None = None
    domain: str | None = None
    """verl's `ability`."""
    language: str | None = None
    """ISO 639-1 code."""
    search_instead: str | None = None
    """Controls only: tools answer as if this had been searched, whatever the policy asks."""

    @model_validator(mode="after")
    def _judgeable(self) -> RLQuestion:
        if not self.key_points and not self.rubric:
            raise ValueError("no key_points and no rubric: there is nothing to judge it by")
        return self

    @property
    def ground_truth(self) -> GroundTruth:
        """What the judges are given."""
        criteria = tuple(
            Criterion(text=line.criterion, description=line.explanation or "", weight=line.weight)
            for line in self.rubric or ()
        )
        rubric = Rubric(criteria=criteria) if criteria else None
        return GroundTruth(key_points=self.key_points, rubric=rubric)


def read_questions(path: Path | str) -> list[RLQuestion]:
    """The questions of a JSON Lines file. Raises ConfigurationError, naming the line."""
    found: list[RLQuestion] = []
    lines: dict[str, int] = {}
    for number, line in json_lines(path):
        try:
            question = RLQuestion.model_validate_json(line)
        except ValidationError as error:
            raise ConfigurationError(f"{path}:{number}: {question_fault(error)}") from error
        if question.id in lines:
            raise ConfigurationError(
                f"{path}:{number}: the id {question.id!r} is that of line {lines[question.id]}: "
                "give each question its own"
            )
        lines[question.id] = number
        found.append(question)
    if not found:
        raise ConfigurationError(f"{path}: no question in it: write one JSON object a line")
    return found


def json_lines(path: Path | str) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers. Raises ConfigurationError."""
    try:
        with Path(path).open("rb") as lines:
            yield from ((n, line) for n, line in enumerate(lines, start=1) if line.strip())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error


def question_fault(error: ValidationError) -> str:
    """What is wrong with a line, in one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        names = ", ".join(RLQuestion.model_fields)
        return f"unknown field {name}; a question has: {names}"
    return f"{name}: {first['msg']}" if name else first["msg"]
