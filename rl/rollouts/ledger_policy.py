"""The policy under training: continues threads by token ids and writes them into the ledger.

It stands at the graph's policy seam as `ChatPolicy` does, so the graph does not know that it is
trained. What it adds are the ids: a thread's row is continued exactly as it was sampled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

from omegaconf import DictConfig
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_random

from oresearch_graph.errors import (
    BudgetExhausted,
    ConfigurationError,
    PolicyError,
    PolicyTimeout,
)
from oresearch_graph.policies.chat.rendering import before_continuation
from oresearch_graph.policies.policy import Continuation, StopCause
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage, render_steps
from oresearch_graph.trace.plain_text import storable
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenLedger, TokenRow
from rl.settings import FEWEST_TOKENS, RLSettings


class EngineOutput(Protocol):
    """verl's TokenOutput (verl/workers/rollout/replica.py), as far as it is read here."""

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str | None
    extra_fields: dict[str, Any]


class Engine(Protocol):
    """Samples ids: verl's LLMServerClient (verl/workers/rollout/llm_server.py)."""

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> EngineOutput: ...


@dataclass(frozen=True)
class Sampling:
    """How a rollout samples, and how much it may."""

    parameters: Mapping[str, Any]
    """As verl gives them: temperature, top_p, top_k, repetition_penalty, logprobs."""
    window: int
    """Tokens of prompt and response together that a row may hold."""
    turn_tokens: int
    report_tokens: int
    seconds: float
    """Of one call of the engine."""
    tries: int = 2
    """Calls of the engine for one continuation, when it fails."""

    @classmethod
    def of(cls, config: DictConfig, settings: RLSettings, parameters: Mapping[str, Any]) -> Self:
        """By verl's configuration and ours."""
        rollout = config.actor_rollout_ref.rollout
        row = int(rollout.prompt_length + rollout.response_length)
        return cls(
            parameters=parameters,
            window=min(row, int(rollout.max_model_len or row)),
            turn_tokens=settings.turn_tokens,
            report_tokens=settings.report_tokens,
            seconds=settings.seconds.call,
        )


@dataclass
class EngineCounts:
    """What happened between policy and engine in one rollout."""

    calls: int = 0
    retries: int = 0
    failures: int = 0
    seconds: float = 0.0
    """Summed over calls that ran side by side."""
    preempted: int = 0


@dataclass
class LedgerPolicy:
    """Writes as every role of one rollout."""

    engine: Engine
    tokens: ThreadTokens
    sampling: Sampling
    tools: tuple[str, ...] = ()
    name: str = "policy"
    keep_room: int = 0
    """Tokens of a thread that researchers leave to later roles: the report, in sequence."""
    ledger: TokenLedger = field(default_factory=TokenLedger)
    counts: EngineCounts = field(default_factory=EngineCounts)
    _before: dict[str, tuple[tuple[Step, ...], str]] = field(default_factory=dict, init=False)
    """The steps of each thread when it was last continued, and their text."""

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        """Sample until a stop tag. Raises BudgetExhausted where the thread's context is full,
        PolicyError when the engine fails after its tries."""
        row = await self._row(thread)
        room = self.sampling.window - len(row.prompt_ids) - len(row.response_ids)
        if room < FEWEST_TOKENS:
            raise BudgetExhausted("context", self.sampling.window - room, self.sampling.window)
        most = self._most_tokens(thread)
        output = await self._generate(thread, row, stop, min(most, room))
        text, cause = self._read(output.token_ids, stop, min(most, room))
        row.sample(
            list(output.token_ids), self._log_probs(output), text, thread.role, cause,
            output.extra_fields.get("max_global_steps"),
        )  # fmt: skip
        if on_text is not None:
            on_text(text)
        used = len(row.prompt_ids) + len(row.response_ids)
        reserve = self.keep_room if thread.role != "summarizer" else 0
        return Continuation(
            text=text,
            stop=cause,
            room=self.sampling.window - used - reserve,
            usage=Usage(
                role=thread.role,
                model=self.name,
                calls=1,
                prompt_tokens=used - len(output.token_ids),
                completion_tokens=len(output.token_ids),
            ),
        )

    async def _row(self, thread: Thread) -> TokenRow:
        """The thread's row, brought up to the thread's text."""
        text = self._written(thread) + before_continuation(thread)
        row = self.ledger.row(thread.id)
        if row is None or not row.continues or not text.startswith(row.text):
            opening = self.tokens.opening(thread.system, thread.user_message(self.tools))
            ids = opening + await self.tokens.encoded_world(text)
            return self.ledger.open(thread.id, ids, text, thread.role, thread.branch)
        if addition := text[len(row.text) :]:
            row.show(await self.tokens.encoded_world(addition), addition)
        return row

    def _written(self, thread: Thread) -> str:
        """The text of the thread's steps, of which those that were there before are not written
        again."""
        steps, text = self._before.get(thread.id, ((), ""))
        if thread.steps[: len(steps)] != steps:
            steps, text = (), ""
        text += render_steps(thread.steps[len(steps) :], self.tools)
        self._before[thread.id] = thread.steps, text
        return text

    def _most_tokens(self, thread: Thread) -> int:
        report = thread.role == "summarizer"
        return self.sampling.report_tokens if report else self.sampling.turn_tokens

    async def _generate(
        self, thread: Thread, row: TokenRow, stop: Sequence[str], most: int
    ) -> EngineOutput:
        parameters = {
            **self.sampling.parameters,
            "stop": list(stop),
            "include_stop_str_in_output": True,
            "max_tokens": most,
        }
        tries = AsyncRetrying(
            stop=stop_after_attempt(self.sampling.tries),
            wait=wait_random(0.05, 0.5),
            retry=retry_if_exception_type(PolicyError),
            reraise=True,
        )
        async for attempt in tries:
            with attempt:
                self.counts.retries += attempt.retry_state.attempt_number > 1
                return await self.ask_engine(thread, row, stop, parameters)
        raise AssertionError("unreachable: tenacity returns or raises")

    async def ask_engine(
        self, thread: Thread, row: TokenRow, stop: Sequence[str], parameters: dict[str, Any]  # noqa: ARG002
    ) -> EngineOutput:  # fmt: skip
        """One call. verl takes parameters and prompt apart: both are copies."""
        self.counts.calls += 1
        began = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(self.sampling.seconds):
                output = await self.engine.generate(
                    thread.id, prompt_ids=row.ids, sampling_params=dict(parameters)
                )
        except TimeoutError as error:
            self.counts.failures += 1
            raise PolicyTimeout(
                f"the engine gave nothing within {self.sampling.seconds:g} s: look at its log, or "
                "raise oresearch.seconds.call"
            ) from error
        except ConfigurationError:
            raise
        except Exception as error:  # the boundary to the engine: Ray and vLLM raise anything
            self.counts.failures += 1
            raise PolicyError(f"the engine failed ({type(error).__name__}: {error})") from error
        finally:
            self.counts.seconds += asyncio.get_running_loop().time() - began
        if output.stop_reason == "aborted":
            self.counts.failures += 1
            raise PolicyError("the engine aborted the request: it was restarted or ran out of room")
        self.counts.preempted += max(0, getattr(output, "num_preempted", None) or 0)
        return output

    def _read(self, ids: Sequence[int], stop: Sequence[str], most: int) -> tuple[str, StopCause]:
        """The text of sampled ids, and why they ended. verl says "completed" for both a stop and
        the token limit, so they are told apart by the text and the count."""
        ended = bool(ids) and ids[-1] in self.tokens.end_ids
        text = storable(self.tokens.decode(ids[:-1] if ended else ids))
        if any(tag in text for tag in stop):
            return text, "stop"
        return text, "end" if ended or len(ids) < most else "length"

    @staticmethod
    def _log_probs(output: EngineOutput) -> list[float]:
        if output.log_probs is None:
            raise ConfigurationError(
                "the engine gave no log-probabilities: set "
                "actor_rollout_ref.rollout.calculate_log_probs=True"
            )
        return list(output.log_probs)
