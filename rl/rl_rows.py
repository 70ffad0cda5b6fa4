"""RL rows: questions with key points or rubrics as the Parquet file that verl's trainer reads.

`python -m rl.rl_rows QUESTIONS.jsonl OUT.parquet` reads one `RLQuestion` a line. With `--criteria`
both files are those of DeepResearch Bench (arXiv 2506.11763), query.jsonl and criteria.jsonl. Its
criteria become a rubric: a criterion's weight is its own within the dimension times the
dimension's; both add up to 1, so a rubric's weights do too. Criteria of weight 0 are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import json_lines
from oresearch_graph.rows.rl import RLQuestion, RubricLine, read_questions, write_rl_rows
from oresearch_graph.trace.validation import first_fault


class _BenchLine(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class BenchQuery(_BenchLine):
    """A line of query.jsonl."""

    id: int
    topic: str
    language: str
    prompt: str = Field(min_length=1)


class _Criterion(_BenchLine):
    criterion: str = Field(min_length=1)
    explanation: str = ""
    weight: float = Field(ge=0)


class BenchCriteria(_BenchLine):
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
    questions = []
    for query in _read(queries, BenchQuery):
        line = rubrics.get(query.id)
        if line is None or line.prompt != query.prompt or not line.rubric:
            why = "no criteria" if line is None else "not the question of its criteria"
            raise ConfigurationError(
                f"{queries}: question {query.id} has {why} in {criteria}: both files must be of "
                "one release"
            )
        questions.append(
            RLQuestion(
                id=str(query.id),
                question=query.prompt,
                rubric=line.rubric,
                domain=query.topic,
                language=query.language,
            )
        )
    if not questions:
        raise ConfigurationError(f"{queries}: no question in it: give the bench's query.jsonl")
    return questions


_Line = TypeVar("_Line", bound=_BenchLine)


def _read(path: Path | str, kind: type[_Line]) -> list[_Line]:
    records = []
    for number, line in json_lines(path):
        try:
            records.append(kind.model_validate_json(line))
        except ValidationError as error:
            raise ConfigurationError(
                f"{path}:{number}: not a line of DeepResearch Bench: {first_fault(error)}"
            ) from error
    return records


def main(
    questions: Annotated[Path, typer.Argument(help="JSON Lines of questions.")],
    out: Annotated[Path, typer.Argument(help="The Parquet file to write.")],
    split: Annotated[str, typer.Option(help="Written into every row.")] = "train",
    criteria: Annotated[
        Path | None,
        typer.Option(help="DeepResearch Bench's criteria.jsonl; QUESTIONS is its query.jsonl."),
    ] = None,
) -> None:
    """Write RL rows for verl from questions with key points or rubrics."""
    console = Console()
    try:
        rows = read_bench(questions, criteria) if criteria else read_questions(questions)
        write_rl_rows(out, rows, split)
    except ConfigurationError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    pointed = sum(bool(question.key_points) for question in rows)
    rated = sum(bool(question.rubric) for question in rows)
    console.print(
        f"{out}: {len(rows)} rows, {pointed} with key points, {rated} with a rubric",
        markup=False,
        soft_wrap=True,
    )


if __name__ == "__main__":
    typer.run(main)
