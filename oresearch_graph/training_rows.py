"""The training row: one sequence of text with its authors, made from a Trace by threads.

Data pipelines write rows, training reads them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from oresearch_graph.threads import visible
from oresearch_graph.trace import Author, Execution, Role, Step, Trace, escape_world, step_segments

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
    """One training sequence as text; its fields are the columns of files of rows."""

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
            question=escape_world(trace.question, trace.protocol.tools),
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
