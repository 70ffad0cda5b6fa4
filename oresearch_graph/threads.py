"""Threads: which steps of a trace a model call may see. The only difference between the parallel
and the sequential execution lives in `visible`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from pydantic import BaseModel, ConfigDict

from oresearch_graph.trace import Execution, Role, Step, escape_world


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
    corrections: tuple[tuple[str, str], ...] = ()
    """Rejected attempts of this very continuation, each with what was wrong with it."""

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
