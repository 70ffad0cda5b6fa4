"""The RL row: a question with what its report is judged by, as people write and as verl reads it.

A question stands as a line of a JSON Lines file. Its row has the columns of verl's `RLHFDataset`:
`prompt` (its `prompt_key`) holds the question alone, since the agent loop adds the system prompt;
`ground_truth` is a GroundTruth as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field, ValidationError, model_validator

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import Row, arrow_columns, canonical, json_lines
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric, Weight
from oresearch_graph.trace.validation import FrozenModel, first_fault
from oresearch_graph.trace.whole_files import replacing

if TYPE_CHECKING:
    import pyarrow as pa

STYLE: Final = "oresearch"
"""`reward_model.style` of every row, and `data_source`, by which verl's validation metrics are
named."""
CONTROL: Final = "shuffled_observations"
"""`data_source` of a row whose searches are redirected."""


class RubricLine(FrozenModel):
    """One criterion of a question's rubric."""

    criterion: str = Field(min_length=1)
    weight: Weight = 1.0
    explanation: str | None = None


class RLQuestion(FrozenModel):
    """A question to be trained on, with what its report is judged by: at least one of both."""

    id: str = Field(min_length=1)
    question: str = Field(pattern=r"\S")
    key_points: tuple[KeyPoint, ...] = ()
    rubric: tuple[RubricLine, ...] | None = None
    reference: str | None = None
    """A report to be compared with on the rubric."""
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
        if self.reference and not self.rubric:
            raise ValueError("a reference without a rubric: add criteria to compare on")
        return self

    @property
    def ground_truth(self) -> GroundTruth:
        """What the judges are given."""
        criteria = tuple(
            Criterion(text=line.criterion, description=line.explanation or "", weight=line.weight)
            for line in self.rubric or ()
        )
        rubric = Rubric(criteria=criteria) if criteria else None
        return GroundTruth(key_points=self.key_points, rubric=rubric, reference=self.reference)

    @property
    def line(self) -> str:
        """Its line of a JSON Lines file, in one form, for hashes; what it has not is left out."""
        fields = self.model_dump(mode="json")
        return canonical({n: value for n, value in fields.items() if value not in (None, [])})


def rl_question(
    name: str, question: str, truth: GroundTruth, *, domain: str | None = None,
    language: str | None = None,
) -> RLQuestion:  # fmt: skip
    """The question called `name`, judged by a ground truth."""
    rubric = truth.rubric and tuple(
        RubricLine(criterion=c.text, weight=c.weight, explanation=c.description or None)
        for c in truth.rubric.criteria
    )
    return RLQuestion(
        id=name, question=question, key_points=truth.key_points, rubric=rubric, domain=domain,
        language=language,
    )  # fmt: skip


def read_questions(path: Path | str) -> list[RLQuestion]:
    """The questions of a JSON Lines file. Raises ConfigurationError, naming the line."""
    questions: list[RLQuestion] = []
    lines: dict[str, int] = {}
    for number, line in json_lines(path):
        try:
            question = RLQuestion.model_validate_json(line)
        except ValidationError as error:
            raise ConfigurationError(f"{path}:{number}: {_fault(error)}") from error
        if question.id in lines:
            raise ConfigurationError(
                f"{path}:{number}: the id {question.id!r} is that of line {lines[question.id]}: "
                "give each question its own"
            )
        lines[question.id] = number
        questions.append(question)
    if not questions:
        raise ConfigurationError(f"{path}: no question in it: write one JSON object a line")
    return questions


def _fault(error: ValidationError) -> str:
    name, _, message = first_fault(error).partition(": ")
    if message.startswith("Extra inputs"):
        return f"unknown field {name}; a question has: {', '.join(RLQuestion.model_fields)}"
    return first_fault(error)


class Message(FrozenModel):
    """A turn of a chat."""

    role: str
    content: str


class RewardModel(FrozenModel):
    """What verl hands to a reward function."""

    style: str
    ground_truth: str


class ExtraInfo(FrozenModel):
    """What verl passes through."""

    index: int
    split: str
    id: str
    question: str
    language: str | None
    search_instead: str | None


class RLRow(FrozenModel):
    """A question in the columns that verl reads."""

    data_source: str
    prompt: tuple[Message, ...]
    ability: str
    reward_model: RewardModel
    extra_info: ExtraInfo

    @classmethod
    def of(cls, question: RLQuestion, index: int, split: str) -> RLRow:
        """The row of the question that is number `index` of its split, counted from 0."""
        return cls(
            data_source=CONTROL if question.search_instead else STYLE,
            prompt=(Message(role="user", content=question.question),),
            ability=question.domain or "research",
            reward_model=RewardModel(style=STYLE, ground_truth=question.ground_truth.to_json()),
            extra_info=ExtraInfo(
                index=index,
                split=split,
                id=question.id,
                question=question.question,
                language=question.language,
                search_instead=question.search_instead,
            ),
        )


def rl_rows(questions: Sequence[RLQuestion], split: str) -> list[Row]:
    """The rows in verl's fields, in the questions' order."""
    rows = (RLRow.of(question, index, split) for index, question in enumerate(questions))
    return [row.model_dump(mode="json") for row in rows]


def rl_schema() -> pa.Schema:
    """The columns of a Parquet file of rows."""
    import pyarrow as pa

    return pa.schema(dict(arrow_columns(RLRow)))


def write_rl_rows(path: Path | str, questions: Sequence[RLQuestion], split: str = "train") -> None:
    """Write the Parquet file: a whole one or none. Raises ConfigurationError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with replacing(Path(path)) as file:
            table = pa.Table.from_pylist(rl_rows(questions, split), schema=rl_schema())
            pq.write_table(table, file)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be written: {error}") from error
