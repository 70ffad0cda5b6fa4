"""The SFT row: one sequence of text with its authors, made from a Trace by threads.

Its fields are the columns of files of rows, Parquet or JSON Lines; more columns are allowed and not
read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import row_values
from oresearch_graph.threads import visible
from oresearch_graph.trace import Author, Execution, Role, Step, Trace, escape_world, step_segments
from oresearch_graph.trace.validation import first_fault

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


class SFTRow(BaseModel):
    """One training sequence as text."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str = Field(min_length=1)
    """Unique in the file: `<trace_id>-<thread>`."""
    trace_id: str
    """The Trace that the row comes from."""
    thread: str
    """`plan`, the branch's number, `report`; `run` for a whole trajectory."""
    role: Role | None = None
    """None: `run` plays every role."""
    branch: int | None = None
    """The subtask of a researcher's row, counted from 1."""
    question: str
    """The user's message, escaped as `Thread.user_message` has it."""
    system: str
    """The system prompt of the training protocol."""
    fingerprint: str
    """`Protocol.fingerprint` of the Trace."""
    execution: Execution
    """`Protocol.execution` of the Trace."""
    segments: tuple[Segment, ...]
    """The assistant's message in order, as protocol text, world text escaped (`step_segments`).
    `policy` is what the policy wrote in this very thread: it is trained. `world` is all else that
    the thread was shown, another thread's text among it."""

    @property
    def pieces(self) -> list[Segment]:
        """Consecutive text of one author joined, up to the last that the policy wrote."""
        segments = [segment for segment in self.segments if segment.text]
        joined = [
            Segment(author=author, text="".join(segment.text for segment in group))
            for author, group in groupby(segments, key=lambda segment: segment.author)
        ]
        return joined[:-1] if joined and joined[-1].author == "world" else joined

    @property
    def text(self) -> str:
        """The whole message of the assistant."""
        return "".join(segment.text for segment in self.segments)

    @property
    def policy_text(self) -> str:
        """What the row trains."""
        return "".join(s.text for s in self.segments if s.author == "policy")


class ThreadPart(NamedTuple):
    """A thread of a trace: the steps it could see before, and those of its turn."""

    thread: str
    role: Role | None
    branch: int | None
    context: tuple[Step, ...]
    steps: tuple[Step, ...]
    """What the thread wrote, and what it was shown meanwhile."""


def thread_parts(trace: Trace, rows: RowsMode) -> list[ThreadPart]:
    """The trace by threads; every step is among `steps` of one part. Raises UnclearThreads."""
    if rows == "linear" or trace.execution == "sequential":
        return [ThreadPart(WHOLE, None, None, (), trace.steps)]
    steps = trace.steps
    in_branch = [i for i, step in enumerate(steps) if step.branch is not None] or [len(steps)]
    plan, work, report = _cut(steps, in_branch[0], in_branch[-1] + 1)
    branches = [(branch, tuple(group)) for branch, group in groupby(work, lambda s: s.branch)]
    _check(trace, [branch for branch, _ in branches], report)
    parts = [ThreadPart("plan", "planner", None, (), plan)]
    for branch, turn in branches:
        context = visible(plan, "researcher", branch, "parallel")
        parts.append(ThreadPart(str(branch), "researcher", branch, context, turn))
    context = visible((*plan, *work), "summarizer", None, "parallel")
    return [*parts, ThreadPart("report", "summarizer", None, context, report)]


def _cut(steps: Sequence[Step], *places: int) -> list[tuple[Step, ...]]:
    bounds = [0, *places, len(steps)]
    return [tuple(steps[a:b]) for a, b in pairwise(bounds)]


def _check(trace: Trace, branches: Sequence[int | None], report: Sequence[Step]) -> None:
    """Steps have their thread's place: the plan, each branch in one run, then the report."""
    if None in branches or len(set(branches)) != len(branches):
        raise UnclearThreads("a plan or a report stands among the steps of a branch")
    if not report or not branches:
        return
    roles = {usage.role for usage in trace.usage}
    last = [step.kind for step in trace.steps if step.branch == branches[-1]]
    if "summarizer" not in roles if roles else "subtask_answer" not in last:
        raise UnclearThreads("the report may be the last researcher's own")


def trace_rows(trace: Trace, system: str, rows: RowsMode) -> list[SFTRow]:
    """The trace's rows; a thread in which the policy wrote nothing has none.

    Raises UnclearThreads.
    """
    every = (thread_row(trace, part, system) for part in thread_parts(trace, rows))
    return [row for row in every if row.policy_text]


def thread_row(trace: Trace, part: ThreadPart, system: str) -> SFTRow:
    """The row of one of the trace's threads."""
    return SFTRow(
        id=f"{trace.id}-{part.thread}",
        trace_id=trace.id,
        thread=part.thread,
        role=part.role,
        branch=part.branch,
        question=escape_world(trace.question, trace.protocol.tools),
        system=system,
        fingerprint=trace.protocol.fingerprint,
        execution=trace.execution,
        segments=tuple(_segments(part, trace.protocol.tools)),
    )


def _segments(part: ThreadPart, tools: Sequence[str]) -> Iterator[Segment]:
    for step in part.context:
        for _, text in step_segments(step, tools):
            yield Segment(author="world", text=text)
    for step in part.steps:
        for author, text in step_segments(step, tools):
            yield Segment(author=author, text=text)


def read_rows(path: Path | str) -> Iterator[SFTRow]:
    """The rows of a Parquet or JSON Lines file. Raises ConfigurationError, naming the row."""
    for number, values in enumerate(row_values(path), start=1):
        try:
            yield SFTRow.model_validate(values)
        except ValidationError as error:
            raise ConfigurationError(
                f"{path}: row {number}: column {first_fault(error)}; {_COLUMNS}"
            ) from error


def holds_rows(path: Path | str) -> bool:
    """True for a file of SFT rows, False for one of Traces. Raises ConfigurationError."""
    if Path(path).suffix == ".parquet":
        return True
    first = next(row_values(path), None)
    return isinstance(first, dict) and "segments" in first


def row_fingerprints(path: Path | str) -> Iterator[tuple[Execution, str]]:
    """Execution and fingerprint of the rows of a file; of Parquet these two columns alone are read,
    and each pair is told once. Raises ConfigurationError."""
    if Path(path).suffix != ".parquet":
        yield from ((row.execution, row.fingerprint) for row in read_rows(path))
        return
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["execution", "fingerprint"])
    except (OSError, pa.ArrowInvalid) as error:
        why = str(error).splitlines()[0]
        raise ConfigurationError(f"{path}: no SFT rows: {why}; {_COLUMNS}") from error
    yield from {(row["execution"], row["fingerprint"]): None for row in table.to_pylist()}


_COLUMNS: Final = "the columns are those of oresearch_graph/rows/sft.py"
