"""What requests to models cost: every try is paid for before it is made and counted after it,
whether an answer came or not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.prices import cost
from oresearch_graph.policies.chat.reply import Reply
from oresearch_graph.text.words import token_count
from oresearch_graph.trace import Usage
from oresearch_graph.trace.record import Spender

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

MOST_REPLY: Final = 8_000
"""Tokens set aside for a reply that nothing bounds: secret thinking may take so many."""
_CEILING: Final = 64_000
"""Tokens up to which what is left bounds such a reply; few models take a larger bound."""
_BEYOND: Final = 1.5
"""Of its bound: a stream that goes on comes from a server that ignores it."""
_SLACK: Final = 64


class Cost(NamedTuple):
    """What a request may come to."""

    prompt: int
    """Tokens, estimated."""
    reply: int
    """Tokens, at most."""
    price: Price | ModelPrice | None = None

    @property
    def tokens(self) -> int:
        return self.prompt + self.reply

    @property
    def money(self) -> float | None:
        """US dollars, where the price is known."""
        return cost(self.price, self.prompt, 0, self.reply)


class Funds(Protocol):
    """What requests are paid from."""

    def ceiling(self, prompt: int, price: Price | ModelPrice | None) -> int:
        """Tokens of a reply to so long a prompt that could be paid, at most."""
        ...

    def reserve(self, request: Cost) -> Cost:
        """Set a call aside, and what it may come to: its reply may be granted fewer tokens than
        were asked for. Raises BudgetExhausted."""
        ...

    def reserve_try(self, reserved: Cost) -> None:
        """Set as much aside once more, for another try. Raises BudgetExhausted."""
        ...

    def settle(self, reserved: Cost, tries: int, usage: Usage) -> None:
        """A request is over: what it has cost takes the place of what was set aside for each of so
        many tries."""
        ...

    def charge(self, usage: Usage) -> None:
        """Pay for what was asked before there were funds."""
        ...


class Meter:
    """What requests have cost since it began. One that stands around it counts them too."""

    def __init__(
        self, role: Spender, branch: int | None, funds: Funds | None, outer: Meter | None
    ) -> None:
        self._total = Usage(role=role, branch=branch)
        self._outer = outer
        self.funds: Funds | None = funds or (outer.funds if outer else None)
        self.usage: list[Usage] = []
        """Of each request, in the order in which they ended."""

    @property
    def total(self) -> Usage:
        total = self._total
        for usage in self.usage:
            total = total.plus(usage)
        return total

    def add(self, usage: Usage) -> None:
        """Count a request."""
        place = {"role": self._total.role, "branch": self._total.branch}
        self.usage.append(usage.model_copy(update=place))
        if self._outer is not None:
            self._outer.add(usage)

    def bill(self, usage: Usage) -> None:
        """Count and pay for what was asked before this meter stood."""
        self.add(usage)
        if self.funds is not None:
            self.funds.charge(usage)


class MeteredRequest:
    """One request, with the tries that it takes."""

    def __init__(
        self, meter: Meter | None, model: str, prompt: int, bound: int | None,
        price: Price | ModelPrice | None,
    ) -> None:  # fmt: skip
        """`prompt`: tokens, estimated; `bound`: of the reply, where it has one. Raises
        BudgetExhausted."""
        self._meter, self._model = meter, model
        self._funds = meter.funds if meter else None
        request = Cost(prompt, bound or MOST_REPLY, price)
        self._reserved, self._bound = request, None
        if self._funds is not None:
            ceiling = self._funds.ceiling(prompt, price)
            self._reserved = self._funds.reserve(request)
            if self._reserved.reply < request.reply:
                self._bound = self._reserved.reply
            elif bound is None and ceiling <= _CEILING:
                self._bound = ceiling
        self._most = self._bound or bound
        """Tokens of the reply as the server is told; None: it is told none."""
        self._tries = self._lost = 0
        self._prompt = self._written = 0
        """Tokens that nobody told, estimated."""
        self._replies: list[Reply] = []

    @property
    def bound(self) -> int | None:
        """Tokens of the reply at most, where that is less than was asked for; or, where nothing
        bounds it, what is left."""
        return self._bound

    def runs_over(self, tokens: int) -> bool:
        """The server writes on beyond what it was told."""
        if self._funds is None or self._most is None:
            return False
        return tokens > _BEYOND * self._most + _SLACK

    def begin(self) -> None:
        """One more try is made. Raises BudgetExhausted."""
        if self._tries and self._funds is not None:
            self._funds.reserve_try(self._reserved)
        self._tries += 1

    def lose(self, tokens: int = 0, *, refused: bool = False) -> None:
        """The try brought no answer. A server that has not refused it may have read the prompt, and
        has written so many `tokens`."""
        self._lost += 1
        self._prompt += 0 if refused else self._reserved.prompt
        self._written += tokens

    def receive(self, reply: Reply) -> None:
        """The answer to the try, of use or not."""
        self._replies.append(reply)
        self._prompt += self._reserved.prompt if reply.prompt_tokens is None else 0
        self._written += token_count(_written(reply)) if reply.completion_tokens is None else 0

    def close(self) -> None:
        """The request is over: it is counted, and paid."""
        for _ in range(self._tries - self._lost - len(self._replies)):
            self.lose()  # cancelled
        usage = self._usage()
        if self._funds is not None:
            self._funds.settle(self._reserved, max(1, self._tries), usage)
        if self._meter is not None and self._tries:
            self._meter.add(usage)

    def _usage(self) -> Usage:
        price, estimated = self._reserved.price, self._prompt + self._written
        usage = Usage(
            role="planner", model=self._model, calls=self._tries, unanswered=self._lost,
            estimated_tokens=estimated or None,
            estimated_cost=cost(price, self._prompt, 0, self._written) if estimated else None,
        )  # fmt: skip
        for reply in self._replies:
            prompt, cached, completion = (
                reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens
            )  # fmt: skip
            of_reply = Usage(
                role="planner", prompt_tokens=prompt, cached_tokens=cached,
                completion_tokens=completion, cost=cost(price, prompt, cached, completion),
            )  # fmt: skip
            usage = usage.plus(of_reply)
        return usage


def _written(reply: Reply) -> str:
    calls = "".join(f"{call.name}{call.arguments}" for call in reply.calls)
    return f"{reply.text}{reply.reasoning or ''}{calls}"


METER: Final[ContextVar[Meter | None]] = ContextVar("meter", default=None)


@contextmanager
def metered(
    role: Spender, branch: int | None = None, funds: Funds | None = None
) -> Iterator[Meter]:
    """Count the requests that are made inside. They are paid from `funds`, else from those of the
    meter that stands around this one."""
    meter = Meter(role, branch, funds, METER.get())
    token = METER.set(meter)
    try:
        yield meter
    finally:
        METER.reset(token)
