"""One model as a judge: what it is sent, how often, what that has cost; and its verdicts, in one
SQLite file that all processes of a run share."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.config import patch_config
from pydantic import BaseModel, ValidationError

from oresearch_graph.errors import ConfigurationError, PolicyError, PolicyRefused
from oresearch_graph.judging.answers import VerdictFault
from oresearch_graph.judging.prompt import correction, verdict_schema
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.prices import cost
from oresearch_graph.policies.chat.reply import Reply, read_message
from oresearch_graph.policies.chat.text_model import TextModel
from oresearch_graph.rows.lengths import nearest_rank
from oresearch_graph.trace.record import known_sum

if TYPE_CHECKING:
    from genai_prices.types import ModelPrice

_log = logging.getLogger("oresearch_graph")

_WAIT: Final = 30.0
"""Seconds to wait for another process that writes."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, judged TEXT NOT NULL)"


V = TypeVar("V", bound=BaseModel)


class VerdictCache(Generic[V]):
    """Verdicts of one kind by key. Safe across threads and processes; every call blocks on the
    file.

    SQLite's rollback journal, not its write-ahead log: that one needs shared memory, which
    network folders do not have.
    """

    def __init__(self, path: Path, kind: type[V]) -> None:
        """Opens or makes the file. Raises ConfigurationError when it cannot be one."""
        self.path, self._kind = path, kind
        self.faults = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as file, file:
                file.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"the verdict cache {path} cannot be used ({error}): correct the path, or delete it"
            ) from error

    def get(self, key: str) -> V | None:
        """The verdict of that key; None without one."""
        try:
            with closing(self._connect()) as file:
                row = file.execute("SELECT judged FROM verdicts WHERE key = ?", (key,)).fetchone()
            return None if row is None else self._kind.model_validate_json(row[0])
        except (sqlite3.Error, ValidationError) as error:
            self._fault(error)
            return None

    def keep(self, key: str, verdict: V) -> V:
        """The verdict that stands from now on: of two processes that judged, the first one's."""
        try:
            with closing(self._connect()) as file, file:
                file.execute(
                    "INSERT OR IGNORE INTO verdicts VALUES (?, ?)",
                    (key, verdict.model_dump_json()),
                )
                row = file.execute("SELECT judged FROM verdicts WHERE key = ?", (key,)).fetchone()
            return self._kind.model_validate_json(row[0])
        except (sqlite3.Error, ValueError) as error:
            self._fault(error)
            return verdict

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_WAIT)

    def _fault(self, error: Exception) -> None:
        with self._lock:
            self.faults += 1
        _log.warning("the verdict cache %s failed: %s", self.path, error)


T = TypeVar("T")

_CORRECTIONS: Final = 2
"""Answers that are no verdict and are asked for again, per opinion."""


@dataclass
class Spent:
    """What requests to models have cost. None: no server said."""

    calls: int = 0
    """Every try counted."""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cost: float | None = None
    """US dollars, where the price is known."""

    @property
    def tokens(self) -> int | None:
        """All of them."""
        return known_sum((self.prompt_tokens, self.completion_tokens))

    def charge(self, reply: Reply, price: Price | ModelPrice | None) -> None:
        """One answer's tokens and their price."""
        tokens = reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens
        self.prompt_tokens = known_sum((self.prompt_tokens, reply.prompt_tokens))
        self.completion_tokens = known_sum((self.completion_tokens, reply.completion_tokens))
        self.cost = known_sum((self.cost, cost(price, *tokens)))

    def add(self, other: Spent) -> None:
        """What was spent elsewhere."""
        self.calls += other.calls
        self.prompt_tokens = known_sum((self.prompt_tokens, other.prompt_tokens))
        self.completion_tokens = known_sum((self.completion_tokens, other.completion_tokens))
        self.cost = known_sum((self.cost, other.cost))

    def in_words(self) -> list[str]:
        """What is known of it, in words."""
        parts = [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        return parts if self.cost is None else [*parts, f"${self.cost:.2f}"]


@dataclass
class JudgeStats:
    """What judging has cost since it began."""

    judged: int = 0
    """Reports that got a verdict, cached ones among them."""
    cached: int = 0
    calls: int = 0
    """Requests to a model, every try counted."""
    retries: int = 0
    """Those of them that followed a failed one."""
    corrections: int = 0
    """Answers that were no verdict and were asked for again."""
    second_judge: int = 0
    """Reports that the second judge was asked about."""
    failures: int = 0
    """Reports that nobody could judge."""
    latencies: list[float] = field(default_factory=list)
    """Seconds of each judgement that was not cached, waits and retries included."""

    @property
    def p99(self) -> float | None:
        """The 99th percentile of the latencies (nearest rank); None without any."""
        return nearest_rank(self.latencies, 99) if self.latencies else None


class OneJudge:
    """One model; asked until its answer is what was asked for, or there is no hope."""

    def __init__(
        self, model: TextModel, stats: Callable[[], JudgeStats], *, cold: bool,
        schema: dict[str, Any] | None = None, run_name: str = "judge",
    ) -> None:  # fmt: skip
        """`cold`: at temperature 0, where the server takes that; several votes need to differ.
        `schema`: of the JSON object that is asked for; None: a verdict.
        `run_name`: what callbacks see."""
        self._run_name = run_name
        self._model, self._stats, self.name = model, stats, model.name
        self.price = model.price
        self._schema = schema or verdict_schema()
        self._sampling = {"temperature": 0.0} if model.connected and cold else {}
        self._refused_offers = 0

    async def opinion(
        self, messages: Sequence[BaseMessage], parse: Callable[[str], T], cost: Spent,
        schema: dict[str, Any] | None = None,
    ) -> T:  # fmt: skip
        """What `parse` makes of the answer; `cost` is charged. `schema`: a narrower one, of this
        answer. Raises PolicyError, or VerdictFault when corrections did not help."""
        offers = self._offers(schema or self._schema)
        talk = list(messages)
        for attempt in range(_CORRECTIONS + 1):
            reply = read_message(await self._answer(talk, cost, offers))
            cost.charge(reply, self._model.price)
            try:
                if reply.finish == "length":
                    raise VerdictFault("it was cut by the token limit; be shorter")
                return parse(reply.text)
            except VerdictFault as fault:
                if attempt == _CORRECTIONS:
                    raise
                self._stats().corrections += 1
                talk = [*messages, AIMessage(reply.text or "(nothing)"), correction(fault)]
        raise AssertionError("the loop returns or raises")

    async def votes(
        self, count: int, messages: Sequence[BaseMessage], parse: Callable[[str], T], cost: Spent,
        schema: dict[str, Any] | None = None,
    ) -> list[T]:  # fmt: skip
        """So many opinions, asked for at once; more than half of them must come. Raises as
        `opinion` does."""

        async def vote() -> tuple[T | None, PolicyError | VerdictFault | None]:
            try:
                return await self.opinion(messages, parse, cost, schema), None
            except (PolicyError, VerdictFault) as fault:
                return None, fault

        replies = await asyncio.gather(*(vote() for _ in range(count)))
        opinions = [opinion for opinion, fault in replies if fault is None and opinion is not None]
        if 2 * len(opinions) <= count:
            raise next(fault for _, fault in replies if fault is not None)
        return opinions

    def _offers(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        """From the most to the least that a server may take, where its refusal does not say what to
        leave out; the first that it takes is kept."""
        if not self._model.speaks_openai:
            return [{}]
        return [{**_held_to(schema), **self._sampling}, self._sampling, {}]

    async def _answer(
        self, messages: Sequence[BaseMessage], cost: Spent, offers: Sequence[dict[str, Any]]
    ) -> AIMessage:
        for place, offer in enumerate(offers):
            if place < self._refused_offers:
                continue
            try:
                answer = await self._model.answer(
                    messages, offer, self._counting(cost), self._run_name
                )
            except PolicyRefused as error:
                refused = getattr(error.__cause__, "status_code", None) in {400, 422}
                if not refused or place == len(offers) - 1:
                    raise
            else:
                self._refused_offers = place
                return answer
        raise AssertionError("the last offer returns or raises")

    def _counting(self, cost: Spent) -> Callable[[BaseChatModel], Any]:
        """The model behind a counter of tries."""
        tries = 0

        def counted(model: BaseChatModel) -> Any:  # noqa: ANN401
            async def call(messages: list[BaseMessage], config: RunnableConfig, **more: Any) -> Any:  # noqa: ANN401
                nonlocal tries
                self._stats().calls += 1
                cost.calls += 1
                self._stats().retries += tries > 0
                tries += 1
                named = patch_config(config, run_name=self._run_name)
                return await model.ainvoke(messages, named, **more)

            return RunnableLambda(call)

        return counted

    async def aclose(self) -> None:
        await self._model.aclose()


def _held_to(schema: dict[str, Any]) -> dict[str, Any]:
    response_schema = {"name": "verdict", "strict": True, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": response_schema}}
