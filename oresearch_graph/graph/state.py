"""State of the graph and of one branch, and how parallel updates of it are joined.

Updates of branches arrive in any order, so every reducer here gives one result for all orders.
Values may come as plain JSON (edited in Studio, older checkpoints): reducers and channels make
records of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, TypeVar

from langchain_core.messages import AnyMessage
from langgraph.channels import LastValue
from langgraph.graph.message import add_messages
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

# pydantic makes schemas of typing's own TypedDict from Python 3.12 on only.
from typing_extensions import TypedDict

from oresearch_graph.evidence.ledger import merge_sources
from oresearch_graph.policies.serving import Serving
from oresearch_graph.prompts import NO_EVIDENCE
from oresearch_graph.records import stored
from oresearch_graph.trace import (
    CitationReport,
    Failure,
    Protocol,
    Source,
    Span,
    Step,
    Trace,
    Usage,
    list_items,
    world_step,
)
from oresearch_graph.trace.plain_text import body_text, title_line

Record = TypeVar("Record", bound=BaseModel)

Answer = Literal["evidence", "memory", "nothing", "open"]
"""How a subtask was answered: after sources were shown, without any, that there is nothing, or not
at all."""

_SUBTASK: Final = 4_000
"""Characters of a subtask."""


@stored
class Run(BaseModel):
    """What identifies one run: one question on a thread of messages."""

    model_config = ConfigDict(frozen=True)

    id: str
    started: float = Field(ge=0, le=1e11)
    """Wall clock, seconds since the epoch."""
    question: str
    """The question as threads see it: a follow-up carries what it refers to."""
    asked: str = ""
    """The question as it was put."""
    language: str
    protocol: Protocol
    follow_up: bool = False
    """True when earlier runs on this thread of messages have left sources."""
    chat: bool = False
    """The question came as a chat message."""
    approve_plan: bool = False
    """A person is asked after planning. Kept in state because a fork routes by state alone."""
    verifies: bool = False
    """A model is to read the report against its sources."""
    serving: Serving = Serving()
    """How its models were served when it began."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What its context set, as JSON; nothing that holds a key."""
    withheld: tuple[str, ...] = ()
    """Those that hold one."""
    objects: dict[str, str] = Field(default_factory=dict)
    """What the graph was made with, by argument: a resume never falls back to a default for it."""


@stored
class Findings(BaseModel):
    """What one branch brings back, finished or not."""

    model_config = ConfigDict(frozen=True)

    branch: int
    steps: tuple[Step, ...] = ()
    failures: tuple[Failure, ...] = ()
    usage: tuple[Usage, ...] = ()
    spans: tuple[Span, ...] = ()

    has_sources: bool = True
    """Sources were at hand: shown to it, to branches before it in sequence, or in earlier runs."""
    changed_by: tuple[str, ...] = ()
    """Names of the middleware that changed a request or a reply of it."""

    @property
    def answer(self) -> Answer:
        """How its subtask was answered."""
        answers = [step.text.strip() for step in self.steps if step.kind == "subtask_answer"]
        if not answers:
            return "open"
        if all(text in {"", NO_EVIDENCE} for text in answers):
            return "nothing"
        return "evidence" if self.has_sources else "memory"

    @property
    def answered(self) -> bool:
        """True when its answer says something, and sources came before."""
        return self.answer == "evidence"

    @property
    def reported(self) -> bool:
        """True when a sequential policy went on to the report inside this branch."""
        return any(step.kind == "suggested_answer" and step.branch is None for step in self.steps)


class LastRecord(LastValue[Any]):
    """The last value of a key, made a record of its type where it comes as plain JSON."""

    __slots__ = ()

    def update(self, values: Sequence[Any]) -> bool:
        return super().update([_adapter(self.typ).validate_python(value) for value in values])


class LastText(LastValue[Any]):
    """The last text of a key, or list of lines, through the gate of `trace.plain_text`: whoever
    sets it, a caller, a person in Studio or a node."""

    __slots__ = ()

    def update(self, values: Sequence[Any]) -> bool:
        return super().update([_gated(value) for value in values])


def _gated(value: object) -> object:
    if isinstance(value, str):
        return body_text(value)
    if isinstance(value, (list, tuple)):
        return [_line(each) if isinstance(each, str) else each for each in value]
    return value


def _line(text: str) -> str:
    return title_line(text, _SUBTASK)


@lru_cache(maxsize=32)
def _adapter(kind: Any) -> TypeAdapter[Any]:  # noqa: ANN401 - a type or a form of types
    return TypeAdapter(kind)


def _records(kind: type[Record], values: Sequence[Any]) -> list[Record]:
    return [v if isinstance(v, kind) else _adapter(kind).validate_python(v) for v in values]


def append_steps(first: Sequence[Any], second: Sequence[Any]) -> list[Step]:
    """Steps in the order they were written."""
    return [*_records(Step, first), *_records(Step, second)]


def append_failures(first: Sequence[Any], second: Sequence[Any]) -> list[Failure]:
    """Failures in the order they were recorded."""
    return [*_records(Failure, first), *_records(Failure, second)]


def append_spans(first: Sequence[Any], second: Sequence[Any]) -> list[Span]:
    """Spans in the order they ended."""
    return [*_records(Span, first), *_records(Span, second)]


def add_usage(first: Sequence[Any], second: Sequence[Any]) -> list[Usage]:
    """Usage summed per role, branch and model."""
    total: dict[tuple[str, int | None, str], Usage] = {}
    for usage in [*_records(Usage, first), *_records(Usage, second)]:
        key = (usage.role, usage.branch, usage.model)
        total[key] = usage if key not in total else total[key].plus(usage)
    return list(total.values())


def join_findings(first: Sequence[Any], second: Sequence[Any]) -> list[Findings]:
    """Findings by branch number; a branch run again replaces what it found before."""
    by_branch = {f.branch: f for f in [*_records(Findings, first), *_records(Findings, second)]}
    return [by_branch[branch] for branch in sorted(by_branch)]


def join_sources(first: Sequence[Any], second: Sequence[Any]) -> list[Source]:
    """The ledger by id."""
    return merge_sources(_records(Source, first), _records(Source, second))


class ResearchInput(TypedDict, total=False):
    """What a run starts from: a question, or chat messages whose last one asks it."""

    messages: Annotated[list[AnyMessage], add_messages]
    question: Annotated[str, LastText]


class ResearchState(TypedDict, total=False):
    """The state of the research graph."""

    messages: Annotated[list[AnyMessage], add_messages]
    question: Annotated[str, LastText]
    run: Annotated[Run, LastRecord]
    plan: Annotated[list[Step], LastRecord]
    """What the planner wrote, the subtask list among it."""
    subtasks: Annotated[list[str], LastText]
    findings: Annotated[list[Findings], join_findings]
    sources: Annotated[list[Source], join_sources]
    summary: Annotated[list[Step], LastRecord]
    """What the summarizer wrote."""
    failures: Annotated[list[Failure], append_failures]
    usage: Annotated[list[Usage], add_usage]
    spans: Annotated[list[Span], append_spans]
    report: Annotated[str | None, LastText]
    """The report as delivered; None when there is none, and `failures` say why."""
    citations: Annotated[CitationReport | None, LastRecord]
    trace: Annotated[Trace, LastRecord]
    structured_response: Any


class ResearchOutput(TypedDict, total=False):
    """What a run gives back."""

    messages: Annotated[list[AnyMessage], add_messages]
    question: Annotated[str, LastText]
    report: Annotated[str | None, LastText]
    citations: Annotated[CitationReport | None, LastRecord]
    trace: Annotated[Trace, LastRecord]
    usage: Annotated[list[Usage], add_usage]
    failures: Annotated[list[Failure], append_failures]
    structured_response: Any


def written_steps(state: ResearchState) -> list[Step]:
    """The run's steps before its report: the plan, then the branches in their order."""
    findings: Sequence[Findings] = state.get("findings", [])
    return [*_plan(state), *(step for branch in findings for step in branch.steps)]


def spans_of(state: ResearchState) -> list[Span]:
    """When nodes, tools and models were at work, of all branches."""
    findings: Sequence[Findings] = state.get("findings", [])
    return [*state.get("spans", []), *(span for branch in findings for span in branch.spans)]


def usage_of(state: ResearchState) -> list[Usage]:
    """What was spent, of all branches."""
    findings: Sequence[Findings] = state.get("findings", [])
    return [*state.get("usage", []), *(usage for branch in findings for usage in branch.usage)]


def _plan(state: ResearchState) -> list[Step]:
    """The plan as written; where a person edited `subtasks` alone, their list, by the world."""
    failures = [f for f in state.get("failures", []) if f.role == "planner"]
    left_out = {failure.branch for failure in failures}
    items = next((list_items(s.text) for s in state["plan"] if s.kind == "subtask_list"), ())
    subtasks = [_line(text) for number, text in enumerate(items, start=1) if number not in left_out]
    if subtasks == state["subtasks"] or any(f.name == "plan_fallback" for f in failures):
        return state["plan"]
    return [subtask_list(state["subtasks"])]


def subtask_list(subtasks: Sequence[str]) -> Step:
    """A plan that no policy wrote."""
    lines = "\n".join(f"{i}. {_line(text)}" for i, text in enumerate(subtasks, start=1))
    return world_step("subtask_list", f"\n{lines}\n", lead="")


@stored
class BranchTask(BaseModel):
    """What `Send` gives one researcher."""

    model_config = ConfigDict(frozen=True)

    run: Run
    branch: int
    subtask: str
    before: tuple[Step, ...]
    """Steps this thread sees before its own."""
    known: tuple[Source, ...]
    """Sources of earlier runs on this thread of messages, and of earlier branches in sequence."""
    worked: float = 0.0
    """Seconds of the run's clock until now."""
    spent: tuple[Usage, ...] = ()
    """What the run has spent until now."""


class BranchInput(TypedDict):
    """The input of the researcher's subgraph."""

    task: Annotated[BranchTask, LastRecord]


class BranchState(BranchInput, total=False):
    """The state of one researcher, checkpointed after each of its steps.

    Only `findings` and `sources` are names of the graph's state as well: all else stays inside.
    """

    started: float
    """Seconds on the run's clock."""
    steps: Annotated[list[Step], append_steps]
    waiting: Annotated[list[Step], LastRecord]
    """Steps written behind the first call of a continuation that made several."""
    turns: int
    """Model calls of this branch."""
    room: int | None
    """Tokens left in the thread's context, where the policy knows."""
    forced: bool
    """The next continuation is the answer: limits leave no room for more."""
    ended: bool
    middleware: dict[str, Any]
    """What the middleware around it has noted: see `graph.middleware.branch.Notes`."""
    seen: Annotated[list[Source], join_sources]
    faults: Annotated[list[Failure], append_failures]
    spent: Annotated[list[Usage], add_usage]
    timings: Annotated[list[Span], append_spans]
    findings: list[Findings]
    sources: list[Source]
