"""The budget that all branches of a run share: tokens, model calls, seconds, money.

It is asked before each try of a request and sets aside what that may come to, so that what is in
flight counts. First the report's share is kept, then an answer for every branch that has begun. At
the soft limit threads are told to answer from what they have. What was spent is kept per role and
branch as the state has it, so a run resumed in another process goes on counting where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from oresearch_graph.errors import BudgetExhausted
from oresearch_graph.graph.clock import Clock
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.metering import Cost
from oresearch_graph.policies.chat.prices import cost
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Usage, known_sum
from oresearch_graph.trace.record import Spender

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

_REPORT: Final = 0.2
"""Share of the tokens and the money that is kept for the report, at most."""
_REPORT_TIME: Final = 0.1
"""Share of the time that research leaves for it."""
_REPORT_CALLS: Final = 2
"""Model calls that are kept for it; one where there are few."""
_FEW: Final = 8
_BRANCH_CALLS: Final = 2
"""Model calls of a branch, at least: a search and an answer."""
_ANSWER: Final = 400
"""Tokens of a subtask's answer that is worth having."""
_OBSERVATION: Final = 200
"""Tokens of an observation that is."""
_LEAST: Final = 64
"""Tokens of a reply; for fewer no request is sent."""
_IGNORED: Final = 1.1
"""Of its bound: a longer reply came from a server that ignores it."""


class Limit(NamedTuple):
    """One limited quantity: what is spent of what is allowed."""

    name: str
    used: float
    allowed: float


class Budget:
    """Counts what a run spends. Not thread-safe: one event loop owns it."""

    def __init__(self, settings: ResearchSettings, clock: Clock) -> None:
        self._settings, self._clock, self._limits = settings, clock, settings.limits
        self._known: set[tuple[Spender, int | None]] = set()
        """Whose spending this process has counted, or taken over."""
        self._calls = self._tokens = 0
        self._money = 0.0
        self._calls_held = self._tokens_held = 0
        self._money_held = 0.0
        """In flight."""
        self._threads: dict[int, int] = {}
        """Tokens of the threads of branches that have begun and not ended."""
        self._opening = 0
        """Tokens of a prompt before anything was researched."""

    def restore(self, role: Spender, branch: int | None, usage: Iterable[Usage]) -> None:
        """Take over what the state says was spent, unless this process counted it itself."""
        if (role, branch) not in self._known:
            self._known.add((role, branch))
            for each in filter(_spends, usage):
                self._add(each)
                if role == "planner" and each.calls:
                    self._opening = max(self._opening, _prompt(each))

    def charge(self, usage: Usage) -> None:
        """Count what was spent."""
        self._known.add((usage.role, usage.branch))
        self._add(usage)

    def _add(self, usage: Usage) -> None:
        self._calls += usage.calls
        self._tokens += usage.tokens
        self._money += known_sum((usage.cost, usage.estimated_cost)) or 0.0

    def under(self, settings: ResearchSettings) -> Budget:
        """The same spending, held to other settings."""
        self._settings, self._limits = settings, settings.limits
        return self

    def begin(self, branch: int) -> None:
        """The branch has begun: an answer of it is kept for."""
        self._threads.setdefault(branch, self._opening)

    def grow(self, branch: int, tokens: int) -> None:
        """The branch's thread has so many more: what it was shown."""
        if branch in self._threads:
            self._threads[branch] += tokens

    def end(self, branch: int) -> None:
        self._threads.pop(branch, None)

    def limits(self) -> list[Limit]:
        """Every limit in force."""
        limits = [
            Limit("model call", self._calls, self._limits.model_calls),
            Limit("token", self._tokens, self._limits.tokens),
            Limit("time", self._clock.now(), self._limits.seconds),
        ]
        if (most := self._settings.max_cost) is not None:
            limits.append(Limit("money", self._money, most))
        return limits

    def remaining_seconds(self, spender: Spender = "summarizer") -> float:
        """Of the run's time; research and what comes before it leaves some for the report."""
        share = 1.0 if spender in {"summarizer", "verifier"} else 1 - _REPORT_TIME
        return max(0.0, share * self._limits.seconds - self._clock.now())

    def seconds_for_tools(self) -> float:
        """What a tool call may take: until the soft mark, so that there is time to answer. Never
        less than a second: a call that is allowed at all may try."""
        soft = self._settings.soft_limit * self._limits.seconds
        return max(1.0, soft - self._clock.now())

    def tight(self) -> Limit | None:
        """The first limit that is past its soft mark: answer from what there is."""
        share = self._settings.soft_limit
        return next((limit for limit in self.limits() if limit.used >= share * limit.allowed), None)

    def spent_for(self, spender: Spender, branch: int | None, *, last: bool = False) -> str | None:
        """The name of the limit that leaves no room for another call of a spender; of a branch,
        beside its answer, unless that `last` one is meant."""
        try:
            thread = Cost(self._threads.get(branch or 0, 0), _LEAST)
            self.room(spender, branch, thread, last=last)
        except BudgetExhausted as error:
            return error.limit
        return None

    def observation(self, branch: int) -> int:
        """Tokens of an observation that leave the branch its answer."""
        thread = Cost(self._threads.get(branch, 0), 0)
        _, tokens = self._kept("researcher", branch, thread, last=True)
        used = self._tokens + self._tokens_held
        return self._limits.tokens - used - tokens - thread.prompt - _ANSWER

    def branches(self, most: int) -> tuple[int, str]:
        """How many of so many branches can be brought to an answer, one at least, and the limit
        that says so."""
        calls = self._limits.model_calls - self._calls - self._report_calls
        thread = 2 * self._opening + _OBSERVATION + _ANSWER
        tokens = self._limits.tokens - self._tokens - self._report_tokens
        by_limit = {"model call": calls // _BRANCH_CALLS, "token": tokens // max(1, thread)}
        limit = min(by_limit, key=lambda name: by_limit[name])
        return min(most, max(1, int(by_limit[limit]))), limit

    def room(
        self, spender: Spender, branch: int | None, request: Cost, *, last: bool = False
    ) -> Cost:
        """What the request may come to. `last`: it is the branch's answer. Raises
        BudgetExhausted."""
        calls, tokens = self._kept(spender, branch, request, last=last)
        if (limit := self.limits()[2]).used >= limit.allowed:
            raise BudgetExhausted(*limit)
        used = self._calls + self._calls_held
        if used + calls >= self._limits.model_calls:
            raise BudgetExhausted("model call", used, self._limits.model_calls, reserve=calls)
        used = self._tokens + self._tokens_held
        reply = min(request.reply, self._limits.tokens - used - tokens - request.prompt)
        if reply < min(_LEAST, request.reply):
            raise BudgetExhausted("token", used, self._limits.tokens, reserve=tokens)
        if (most := self._settings.max_cost) is not None and request.price is not None:
            reserve = cost(request.price, tokens, 0, 0) or 0.0
            used_money = self._money + self._money_held
            prompt = cost(request.price, request.prompt, 0, 0) or 0.0
            token = (cost(request.price, 0, 0, 1_000) or 0.0) / 1_000
            money = most - used_money - min(reserve, _REPORT * most) - prompt
            reply = min(reply, math.floor(money / token) if token else reply)
            if reply < min(_LEAST, request.reply):
                raise BudgetExhausted("money", used_money, most, reserve=reserve)
        return request._replace(reply=reply)

    def reserve(self, reserved: Cost) -> None:
        """Set aside a call and what it may come to."""
        self._calls_held += 1
        self._tokens_held += reserved.tokens
        self._money_held += reserved.money or 0.0

    def settle(self, reserved: Cost, tries: int, usage: Usage) -> str | None:
        """The request is over, after so many tries: it cost what `usage` says. What is wrong with
        that: a reply so much longer than its bound that the run's limit was passed."""
        self._calls_held -= tries
        self._tokens_held -= tries * reserved.tokens
        self._money_held -= tries * (reserved.money or 0.0)
        self.charge(usage)
        tokens, allowed = usage.tokens, self._limits.tokens
        if usage.role == "planner":
            self._opening = max(self._opening, reserved.prompt)
        if usage.role == "researcher" and usage.branch in self._threads:
            # One reply's, whatever its tries have cost.
            thread = min(tokens, reserved.tokens) if reserved.reply >= _LEAST else tokens
            self._threads[usage.branch] = max(thread, self._threads[usage.branch])
        within = tokens <= _IGNORED * tries * reserved.tokens or self._tokens <= allowed
        if within or reserved.reply < _LEAST:
            return None
        return (
            f"the model's server took {tokens:,} tokens where {reserved.tokens:,} were allowed: it "
            f"ignores the bound of its reply, and the run's {allowed:,} are passed"
        )

    @property
    def tokens(self) -> tuple[int, int]:
        """Spent or set aside, and allowed."""
        return self._tokens + self._tokens_held, self._limits.tokens

    @property
    def most_tokens(self) -> int:
        """Of the whole run."""
        return self._limits.tokens

    @property
    def _report_calls(self) -> int:
        return _REPORT_CALLS if self._limits.model_calls > _FEW else 1

    @property
    def _report_tokens(self) -> int:
        bounds = self._limits.bounds
        whole = bounds.report + bounds.answer * self._limits.subtasks
        return min(int(_REPORT * self._limits.tokens), whole)

    def _kept(
        self, spender: Spender, branch: int | None, request: Cost, *, last: bool
    ) -> tuple[int, int]:
        """Calls and tokens that a spender leaves to others, and to what it has to do itself."""
        if spender in {"summarizer", "verifier"}:
            return 0, 0
        owed = [size + _ANSWER for each, size in self._threads.items() if each != branch]
        if spender == "planner":
            calls = _BRANCH_CALLS
        elif last:
            calls = 0
        else:
            calls = 1
            owed.append(request.prompt + _OBSERVATION + _ANSWER)
        others = sum(1 for each in self._threads if each != branch)
        return self._report_calls + others + calls, self._report_tokens + sum(owed)


class Account:
    """What one continuation is paid from."""

    def __init__(
        self, budget: Budget, spender: Spender, branch: int | None = None, *, last: bool = False
    ) -> None:
        """`last`: it is the branch's answer."""
        self._budget, self._spender, self._branch, self._last = budget, spender, branch, last
        self.faults: list[str] = []
        """Of servers that take more than they were allowed."""

    def charge(self, usage: Usage) -> None:
        """See `Funds`."""
        place = {"role": self._spender, "branch": self._branch}
        self._budget.charge(usage.model_copy(update=place))

    def ceiling(self, prompt: int, price: Price | ModelPrice | None) -> int:
        """See `Funds`."""
        request = Cost(prompt, self._budget.most_tokens, price)
        return self._budget.room(self._spender, self._branch, request, last=self._last).reply

    def reserve(self, request: Cost) -> Cost:
        """See `Funds`."""
        room = self._budget.room(self._spender, self._branch, request, last=self._last)
        self._budget.reserve(room)
        if self._last and self._branch is not None:
            self._budget.end(self._branch)  # what was kept for its answer is in flight
        return room

    def reserve_try(self, reserved: Cost) -> None:
        """See `Funds`."""
        room = self._budget.room(self._spender, self._branch, reserved, last=self._last)
        if room.reply < reserved.reply:
            raise BudgetExhausted("token", *self._budget.tokens)
        self._budget.reserve(reserved)

    def settle(self, reserved: Cost, tries: int, usage: Usage) -> None:
        """See `Funds`."""
        usage = usage.model_copy(update={"role": self._spender, "branch": self._branch})
        if (fault := self._budget.settle(reserved, tries, usage)) is not None:
            self.faults.append(fault)


def _prompt(usage: Usage) -> int:
    """Tokens of one of its prompts, about: where they were not told, of all that was estimated."""
    tokens = usage.estimated_tokens if usage.prompt_tokens is None else usage.prompt_tokens
    return (tokens or 0) // usage.calls


def _spends(usage: Usage) -> bool:
    """False for what nobody can spend: an edited state must not pay a run back."""
    figures = (
        usage.calls, usage.prompt_tokens, usage.completion_tokens, usage.cost,
        usage.estimated_tokens, usage.estimated_cost,
    )  # fmt: skip
    return all(figure is None or figure >= 0 for figure in figures)
