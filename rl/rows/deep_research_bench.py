"""DeepResearch Bench (arXiv 2506.11763) as RL questions: its queries with its criteria as rubric.

A criterion's weight is its own within the dimension times the dimension's; both add up to 1, so a
rubric's weights do too. Criteria of weight 0 are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oresearch_graph.errors import ConfigurationError
from rl.rows.rl_questions import RLQuestion, RubricLine, json_lines


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class BenchQuery(_Value):
    """A line of query.jsonl."""

    id: int
    topic: str
    language: str
    prompt: str = Field(min_length=1)


class _Criterion(_Value):
    criterion: str = Field(min_length=1)
    explanation: str = ""
    weight: float = Field(ge=0)


class BenchCriteria(_Value):
    """A line of criteria.jsonl."""

    id: int
    prompt: str
    dimension_weight: Mapping[str, float]
    criterions: Mapping[str, tuple[_Criterion, ...]]

    @property
    def rubric(self) -> tuple[RubricLine, ...]:
        """All dimensions in one rubric."""
        return tuple(
            RubricLine(
                criterion=each.criterion,
                explanation=each.explanation or None,
                weight=each.weight * self.dimension_weight[dimension],
            )
            for dimension, criteria in self.criterions.items()
            for each in criteria
            if each.weight * self.dimension_weight.get(dimension, 0.0) > 0
        )


def read_bench(queries: Path | str, criteria: Path | str) -> list[RLQuestion]:
    """The bench's questions with their rubrics. Raises ConfigurationError, naming the line."""
    rubrics = {line.id: line for line in _read(criteria, BenchCriteria)}
    found = []
    for query in _read(queries, BenchQuery):
        judged = rubrics.get(query.id)
        if judged is None or judged.prompt != query.prompt or not judged.rubric:
            why = "no criteria" if judged is None else "not the question of its criteria"
            raise ConfigurationError(
                f"{queries}: question {query.id} has {why} in {criteria}: both files must be of "
                "one release"
            )
        found.append(
            RLQuestion(
                id=str(query.id),
                question=query.prompt,
                rubric=judged.rubric,
                domain=query.topic,
                language=query.language,
            )
        )
    if not found:
        raise ConfigurationError(f"{queries}: no question in it: give the bench's query.jsonl")
    return found


_Line = TypeVar("_Line", bound=_Value)


def _read(path: Path | str, kind: type[_Line]) -> list[_Line]:
    found = []
    for number, line in json_lines(path):
        try:
            found.append(kind.model_validate_json(line))
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            name = ".".join(map(str, first["loc"])) or "the line"
            raise ConfigurationError(
                f"{path}:{number}: not a line of DeepResearch Bench: {name}: {first['msg']}"
            ) from error
    return found
