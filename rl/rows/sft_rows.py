"""The SFT row: one training sequence as text, made from a Trace or read from a file.

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
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.threads import visible
from oresearch_graph.trace import Author, Execution, Role, Step, Trace, step_segments

RowsMode = Literal["threads", "linear"]
"""threads: one row per thread, as the rollout has them. linear: the whole trace is one row."""

WHOLE = "run"
"""The thread that holds a whole trajectory."""


class UnclearThreads(ValueError):
    """A parallel trace whose steps do not tell which thread wrote them."""


class Segment(BaseModel):
    """Text of one author."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    author: Author
    text: str


def _has_text(segment: Segment) -> bool:
    return bool(segment.text)


def _author(segment: Segment) -> Author:
    return segment.author


class SFTRow(BaseModel):
    """One training sequence as text; the columns are the module's."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    trace_id: str
    thread: str
    role: Role | None = None
    branch: int | None = None
    question: str
    system: str
    fingerprint: str
    execution: Execution
    segments: tuple[Segment, ...]

    @property
    def pieces(self) -> list[Segment]:
        """Consecutive text of one author joined, up to the last that the policy wrote."""
        joined = [
            Segment(author=author, text="".join(segment.text for segment in group))
            for author, group in groupby(filter(_has_text, self.segments), key=_author)
        ]
        return joined[:-1] if joined and joined[-1].author == "world" else joined

    @property
    def policy_text(self) -> str:
        """What the row trains."""
        return "".join(s.text for s in self.segments if s.author == "policy")


class ThreadPart(NamedTuple):
    """The steps that one thread wrote, or was given while it wrote, and what it saw before."""

    thread: str
    role: Role | None
    branch: int | None
    context: tuple[Step, ...]
    own: tuple[Step, ...]


def thread_parts(trace: Trace, rows: RowsMode) -> list[ThreadPart]:
    """The trace by threads; every step is some part's own exactly once. Raises UnclearThreads."""
    if rows == "linear" or trace.execution == "sequential":
        return [ThreadPart(WHOLE, None, None, (), trace.steps)]
    steps = trace.steps
    placed = [i for i, step in enumerate(steps) if step.branch is not None] or [len(steps)]
    plan, work, report = _cut(steps, placed[0], placed[-1] + 1)
    branches = [(branch, tuple(group)) for branch, group in groupby(work, lambda s: s.branch)]
    _check(trace, [branch for branch, _ in branches], report)
    parts = [ThreadPart("plan", "planner", None, (), plan)]
    for branch, own in branches:
        seen = visible(plan, "researcher", branch, "parallel")
        parts.append(ThreadPart(str(branch), "researcher", branch, seen, own))
    seen = visible((*plan, *work), "summarizer", None, "parallel")
    return [*parts, ThreadPart("report", "summarizer", None, seen, report)]


def _cut(steps: Sequence[Step], *places: int) -> list[tuple[Step, ...]]:
    bounds = [0, *places, len(steps)]
    return [tuple(steps[a:b]) for a, b in pairwise(bounds)]


def _check(trace: Trace, branches: Sequence[int | None], report: Sequence[Step]) -> None:
    """Steps have their thread's place: the plan, each branch in one run, then the report."""
    if None in branches or len(set(branches)) != len(branches):
        raise UnclearThreads("a plan or a report stands among the steps of a branch")
    if not report or not branches:
        return
    wrote = {usage.role for usage in trace.usage}
    last = [step.kind for step in trace.steps if step.branch == branches[-1]]
    if "summarizer" not in wrote if wrote else "subtask_answer" not in last:
        raise UnclearThreads("the report may be the last researcher's own")


def trace_rows(trace: Trace, system: str, rows: RowsMode) -> list[SFTRow]:
    """The trace's rows; a thread in which the policy wrote nothing has none.

    Raises UnclearThreads.
    """
    found = [
        SFTRow(
            id=f"{trace.id}-{part.thread}",
            trace_id=trace.id,
            thread=part.thread,
            role=part.role,
            branch=part.branch,
            question=trace.question,
            system=system,
            fingerprint=trace.protocol.fingerprint,
            execution=trace.execution,
            segments=tuple(_segments(part, trace.protocol.tools)),
        )
        for part in thread_parts(trace, rows)
    ]
    return [row for row in found if row.policy_text]


def _segments(part: ThreadPart, tools: Sequence[str]) -> Iterator[Segment]:
    for step in part.context:
        for _, text in step_segments(step, tools):
            yield Segment(author="world", text=text)
    for step in part.own:
        for author, text in step_segments(step, tools):
            yield Segment(author=author, text=text)


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
