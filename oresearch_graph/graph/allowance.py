"""What a branch may still spend, on its next text and its calls, and when it has to answer."""

from __future__ import annotations

from typing import Final

from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.state import BranchState
from oresearch_graph.settings import Part
from oresearch_graph.trace import Failure, Fault

_SCALE: Final = 0.75
"""How many of our tokens one of a model's is, at least."""
_LEAST: Final = 100
"""Tokens of an observation."""


class BranchAllowance:
    """Of one branch, beside its siblings."""

    def __init__(self, state: BranchState, run_context: RunContext) -> None:
        self._state, self._run_context = state, run_context
        self._settings, self._branch = run_context.settings, state["task"].branch
        self._limits = run_context.limits

    def never_begun(self) -> Failure | None:
        """Why the branch is not begun at all; None where it is."""
        budget, most = self._run_context.budget, self._limits.subtasks
        if self._branch > most:  # an edited state; the limit binds whoever may edit it
            return self._not_covered("person", f"the limit is {most} subtasks")
        if tight := budget.tight():  # time is spent by services, the rest by policies
            fault: Fault = "infrastructure" if tight.name == "time" else "policy"
            return self._not_covered(fault, f"the {tight.name} budget was nearly spent")
        return None

    def _not_covered(self, fault: Fault, why: str) -> Failure:
        return Failure(
            name="not_covered", fault=fault, role="researcher", branch=self._branch,
            message=f"subtask {self._branch} was not begun: {why}",
        )  # fmt: skip

    def seconds(self, started: float) -> float:
        """Of the next text, in a branch that began then."""
        branch = self._settings.subtask_timeout - (self._run_context.clock.now() - started)
        return max(0.001, min(branch, self._run_context.budget.remaining_seconds("researcher")))

    def observation_tokens(self, calls: int) -> int:
        """Of each of so many observations: what the context leaves beside the answer."""
        left = self._run_context.budget.observation(self._branch) // calls
        tokens = min(self._limits.observation_tokens, max(_LEAST, left))
        if (room := self._state.get("room")) is None:
            return tokens
        free = room - self._outputs("answer")
        return max(_LEAST, min(tokens, int(_SCALE * free / calls)))

    def limit_reached(self, calls: int) -> str | None:
        """Why the next text must be the answer, after so many calls; None while there is room."""
        state, budget, limits = self._state, self._run_context.budget, self._limits
        if calls >= limits.tool_calls:
            return "no tool call is left for this subtask"
        if state.get("turns", 0) + 1 >= limits.steps:
            return "no step is left for this subtask"
        tight = budget.tight()
        limit = tight.name if tight else budget.spent_for("researcher", self._branch)
        if limit is not None:
            return f"the {limit} budget of this run is nearly spent"
        needed = 2 * limits.observation_tokens + self._outputs("turn", "answer")
        if (room := state.get("room")) is not None and room < needed:
            return "the context of this thread is nearly full"
        if self._run_context.clock.now() - state["started"] >= self._share_of_time():
            return "the time for this subtask is nearly over"
        return None

    def _share_of_time(self) -> float:
        """Seconds after which the branch has to answer; those that wait for it have their share."""
        settings, waiting = self._settings, self._run_context.queue.waiting
        seconds = settings.soft_limit * settings.subtask_timeout
        if waiting:
            end = settings.soft_limit * self._limits.seconds
            seconds = min(seconds, (end - self._state["started"]) / (1 + waiting))
        return seconds

    def _outputs(self, *parts: Part) -> int:
        """Tokens of one continuation of each part."""
        bounds, most = self._limits.bounds._asdict(), self._settings.max_output_tokens
        return sum(min(bounds[part], most or bounds[part]) for part in parts)
