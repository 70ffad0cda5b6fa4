"""Threads: which steps of a trace a model call may see. The only difference between the parallel
and the sequential execution lives in `visible`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from pydantic import BaseModel, ConfigDict

from oresearch_graph.trace import Execution, Role, Step, escape_world


@dataclass(frozen=True)
class Citable:
    """A source that was shown."""

    id: int
    names: tuple[str, ...] = ()
    """Names and figures that it holds, of the question's those too that it writes otherwise."""


class SectionPlan(BaseModel):
    """One section of a report's body."""

    model_config = ConfigDict(frozen=True)

    heading: str
    statements: tuple[str, ...]
    """The sentences that its finding cites, with their marks."""


class ReportPlan(BaseModel):
    """A report made of its findings, of which the model chooses the ends."""

    model_config = ConfigDict(frozen=True)

    introductions: tuple[str, ...]
    sections: tuple[SectionPlan, ...]
    conclusions: tuple[str, ...]
    """Of which one that is not the introduction concludes."""
    references: tuple[int, ...]
    """Ids of the sources that are cited."""


class Next(BaseModel):
    """What the protocol lets a thread write next. A policy that can begin the reply for the model
    gives it the opening tag; one that can constrain it holds it to the rest."""

    model_config = ConfigDict(frozen=True)

    tag: str
    """The element that comes next."""
    items: int = 0
    """Lines of a subtask list, at most."""
    calls: tuple[str, ...] = ()
    """Tools that may be called after the thought."""
    may_answer: bool = False
    """An observation was seen: the subtask may be answered."""
    sources: tuple[Citable, ...] = ()
    """What was shown, and so may be cited."""
    names: tuple[str, ...] = ()
    """Names and figures of the question: a sentence may have those that its source holds, or that
    none does."""
    addresses: tuple[str, ...] = ()
    """Addresses that were shown, and so may be opened."""
    report: ReportPlan | None = None


class Thread(BaseModel):
    """A context to be continued: system prompt, question, then steps. Append-only."""

    model_config = ConfigDict(frozen=True)

    id: str
    """Stable for all calls of one thread: a server's prefix cache and request affinity key."""
    system: str
    question: str
    role: Role
    branch: int | None = None
    steps: tuple[Step, ...] = ()
    pending: str = ""
    """Policy text already written since the last step and not yet complete: continue after it."""
    forced: str | None = None
    """The answer tag the world has opened after the steps (`subtask_answer`, `suggested_answer`);
    the policy continues inside it."""
    next: Next | None = None
    """None: the policy has to know by itself what comes next, as in training."""
    by_role: bool = False
    """The system prompt is the role's own: the thread is a conversation with one task a turn."""
    constrained: bool = False
    """The continuation is held to `next`, where the server can do that."""
    bound: int | None = None
    """Tokens of the continuation, at most."""
    language: str | None = None
    """ISO 639-1 code of the report's language."""
    corrections: tuple[tuple[str, str], ...] = ()
    """Rejected attempts of this very continuation, each with what was wrong with it."""

    def unbound(self) -> Thread:
        """The same without a bound of its length."""
        return self.model_copy(update={"bound": None})

    def user_message(self, tools: Sequence[str] = ()) -> str:
        """The question as a model reads it. The world wrote it: a person, with whatever was pasted
        into it, and for a follow-up an earlier report."""
        return escape_world(self.question, tools)


def visible(
    steps: Sequence[Step], role: Role, branch: int | None, execution: Execution
) -> tuple[Step, ...]:
    """The steps of a run that the thread of `role` (and `branch`) sees: docs/architecture.md."""
    if execution == "sequential":
        return tuple(steps)
    match role:
        case "planner":
            return ()
        case "researcher":
            return tuple(
                step for step in steps if step.kind == "subtask_list" or step.branch == branch
            )
        case "summarizer":
            # A subtask without an answer would read as one that is still to be worked on.
            answered = {step.branch for step in steps if step.kind == "subtask_answer"}
            kinds = {"subtask", "subtask_answer"}
            return tuple(
                step
                for step in steps
                if step.branch is None or (step.kind in kinds and step.branch in answered)
            )
        case _:
            assert_never(role)
