"""The budget that all branches of a run share: tokens, model calls, tool calls, seconds, money.

At the soft limit threads are told to answer from what they have; at a hard limit no further call
is made. What was spent is kept per role and branch as the state has it, so a run resumed in
another process goes on counting where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from oresearch_graph.errors import BudgetExhausted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Role, Usage, known_sum
from oresearch_graph.trace.record import Spender

_SUMMARIZER_CALLS: Final = 2
"""Model calls that research leaves for the report."""


class Limit(NamedTuple):
    """One limited quantity: what is spent of what is allowed."""

    name: str
    used: float
    allowed: float


class Budget:
    """Counts what a run spends. Not thread-safe: one event loop owns it."""

    def __init__(self, settings: ResearchSettings, started: float) -> None:
        """`started` is the run's beginning on the wall clock (`time.time()`)."""
        self._settings, self.started = settings, started
        self._spent: dict[tuple[Spender, int | None], list[Usage]] = {}

    def restore(self, role: Spender, branch: int | None, usage: Iterable[Usage]) -> None:
        """Take over what the state says was spent, unless this process counted it itself."""
        charges = [each for each in usage if _spends(each)]
        self._spent.setdefault((role, branch), charges)

    def charge(self, usage: Usage) -> None:
        self._spent.setdefault((usage.role, usage.branch), []).append(usage)

    def limits(self) -> list[Limit]:
        """Every limit in force. Tokens and money the provider does not tell are not counted."""
        usages = [usage for group in self._spent.values() for usage in group]
        figures, allowed = self._settings, self._settings.limits
        tokens = known_sum(n for u in usages for n in (u.prompt_tokens, u.completion_tokens))
        limits = [
            Limit("model call", sum(u.calls for u in usages), allowed.model_calls),
            Limit("token", tokens or 0, allowed.tokens),
            Limit("time", time.time() - self.started, allowed.seconds),
        ]
        if figures.max_cost is not None:
            money = known_sum(usage.cost for usage in usages) or 0.0
            limits.append(Limit("money", money, figures.max_cost))
        return limits

    def remaining_seconds(self) -> float:
        return max(0.0, self._settings.limits.seconds - (time.time() - self.started))

    def seconds_for_tools(self) -> float:
        """What a tool call may take: until the soft mark, so that there is time to answer. Never
        less than a second: a call that is allowed at all may try."""
        elapsed = time.time() - self.started
        return max(1.0, self._settings.soft_limit * self._settings.limits.seconds - elapsed)

    def tight(self) -> Limit | None:
        """The first limit that is past its soft mark: answer from what there is."""
        share = self._settings.soft_limit
        return next((limit for limit in self.limits() if limit.used >= share * limit.allowed), None)

    def require(self, role: Role, calls: int = 1) -> None:
        """Raise BudgetExhausted where a hard limit leaves no room for so many more model calls."""
        for limit in self.limits():
            reserve = 0 if role == "summarizer" or limit.name != "model call" else _SUMMARIZER_CALLS
            more = calls - 1 if limit.name == "model call" else 0
            if limit.used + more >= max(1, limit.allowed - reserve):
                raise BudgetExhausted(limit.name, limit.used, limit.allowed)


def _spends(usage: Usage) -> bool:
    """False for what nobody can spend: an edited state must not pay a run back."""
    figures = (usage.calls, usage.prompt_tokens, usage.completion_tokens, usage.cost)
    return all(figure is None or figure >= 0 for figure in figures)
