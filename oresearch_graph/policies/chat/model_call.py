"""One call of a chat model: a place in the limiter, time-outs, retries with backoff, streaming."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, message_chunk_to_message
from langchain_core.runnables import Runnable, RunnableConfig
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_exponential,
    wait_random,
)

from oresearch_graph.errors import OresearchError
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.metering import MeteredRequest
from oresearch_graph.policies.chat.model_faults import CallFault, fault_of, filtered
from oresearch_graph.policies.chat.refusals import refusal_of
from oresearch_graph.policies.chat.reply import Reply, read_message
from oresearch_graph.redaction import brief, quieted
from oresearch_graph.text.words import token_count

_log = logging.getLogger("oresearch_graph")

MOST_TIMEOUTS: Final = 2
"""A call that timed out is tried once more, not as often as a cheap refusal."""
LONGEST_WAIT: Final = 120.0
"""Seconds. A server that asks for more is given up."""

ChatRunnable = Runnable[Any, AIMessage]


class Patience(NamedTuple):
    """How long and how often a call is tried. All times in seconds."""

    timeout: float = 180.0
    """One try, from its start to the end of its answer."""
    silence: float = 60.0
    """Between two pieces of a stream that has begun."""
    tries: int = 6
    backoff: float = 0.5
    """The first wait between tries; it doubles, with jitter, up to 20."""


@dataclass
class _Text:
    """What has come of a stream."""

    tokens: int = 0
    """As we count them, a piece at a time."""


class ModelCall:
    """Calls a model until it answers or there is no hope."""

    def __init__(
        self, name: str, limiter: AdaptiveLimiter, patience: Patience, *, says_finish: bool
    ) -> None:
        self.name, self.limiter, self.patience = name, limiter, patience
        self.says_finish = says_finish
        """The provider always says why it ended: a reply without that was cut."""

    def with_tries(self, tries: int) -> ModelCall:
        """The same, less or more patient."""
        return self.with_patience(self.patience._replace(tries=tries))

    def with_patience(self, patience: Patience) -> ModelCall:
        return ModelCall(self.name, self.limiter, patience, says_finish=self.says_finish)

    def with_limiter(self, limiter: AdaptiveLimiter) -> ModelCall:
        return ModelCall(self.name, limiter, self.patience, says_finish=self.says_finish)

    async def __call__(
        self,
        model: ChatRunnable,
        messages: Sequence[BaseMessage],
        *,
        config: RunnableConfig,
        arguments: dict[str, Any],
        metered: MeteredRequest,
        on_text: Callable[[], Callable[[str], None]] | None = None,
    ) -> AIMessage:
        """The model's whole message. `on_text` makes the listener for each try of a stream.

        Raises PolicyError, and BudgetExhausted where no other try may be made.
        """
        timeouts = 0

        async def one_try() -> AIMessage:
            nonlocal timeouts
            try:
                listener = on_text() if on_text else None
                return await self._try(model, messages, config, arguments, metered, listener)
            except CallFault as fault:
                timeouts += fault.timed_out
                raise

        def no_more(state: RetryCallState) -> bool:
            advice = _advice(state) or 0.0
            fault = state.outcome.exception() if state.outcome else None
            other_loop = isinstance(fault, CallFault) and fault.other_loop
            tries = min(self.patience.tries, 2 if other_loop else self.patience.tries)
            exhausted = state.attempt_number >= tries or timeouts >= MOST_TIMEOUTS
            return exhausted or advice > LONGEST_WAIT

        retrying = AsyncRetrying(
            retry=retry_if_exception_type(CallFault), stop=no_more, wait=self._wait, reraise=True,
            before_sleep=lambda state: self._log_retry(state, config),
        )  # fmt: skip
        try:
            return await retrying(one_try)
        except CallFault as fault:
            tries = int(retrying.statistics.get("attempt_number", 1))
            raise fault.final(self.name, tries) from fault.__cause__

    def _log_retry(self, state: RetryCallState, config: RunnableConfig) -> None:
        fault = state.outcome.exception() if state.outcome else None
        thread = str((config.get("metadata") or {}).get("thread", ""))
        _log.info(
            "%s: try %d of %s in %.1f s: %s", thread or "a request", state.attempt_number + 1,
            self.name, state.upcoming_sleep, brief(str(fault)),
            extra={"run_id": thread.partition("-")[0]},
        )  # fmt: skip

    def _wait(self, state: RetryCallState) -> float:
        advice = _advice(state)
        if advice is not None:
            return advice
        first = self.patience.backoff
        return (wait_exponential(first, max=20.0) + wait_random(0, first))(state)

    async def _try(
        self,
        model: ChatRunnable,
        messages: Sequence[BaseMessage],
        config: RunnableConfig,
        arguments: dict[str, Any],
        metered: MeteredRequest,
        listener: Callable[[str], None] | None,
    ) -> AIMessage:
        async with self.limiter.slot() as slot:
            metered.begin()
            text = _Text()
            try:
                async with asyncio.timeout(self.patience.timeout):
                    if listener is None:
                        message = await model.ainvoke(messages, config, **arguments)
                    else:
                        stream = model.astream(messages, config, **arguments)
                        message = await self._stream(stream, listener, text, metered)
            except (OresearchError, CallFault, asyncio.CancelledError):
                metered.lose(text.tokens)
                raise
            except Exception as error:  # noqa: BLE001 - the boundary to every provider's client
                fault = fault_of(error, self.name)
                metered.lose(text.tokens, refused=refusal_of(error).status is not None)
                if isinstance(fault, CallFault) and fault.congested:
                    advice = fault.retry_after
                    pause = "" if advice is None else f" for {advice:g} s"
                    _log.warning("%s asks for fewer requests%s", self.name, pause)
                    slot.congested(None if advice and advice > LONGEST_WAIT else advice)
                raise fault from quieted(error)
            reply = read_message(message)
            metered.receive(reply)
            self._check(reply)
            slot.succeeded()
            return message

    async def _stream(
        self, stream: Any, listener: Callable[[str], None], text_so_far: _Text,  # noqa: ANN401
        metered: MeteredRequest,
    ) -> AIMessage:  # fmt: skip
        """The whole message; one that runs over its bound is cut there."""
        cut = False
        chunks: list[AIMessageChunk] = []
        async with aclosing(cast("AsyncGenerator[AIMessage]", stream)) as pieces:
            while True:
                wait = self.patience.silence if chunks else self.patience.timeout
                try:
                    async with asyncio.timeout(wait):
                        chunk = await anext(pieces)
                except StopAsyncIteration:
                    break
                if text := str(chunk.text):
                    text_so_far.tokens += token_count(text)
                    listener(text)
                if not isinstance(chunk, AIMessageChunk):
                    return chunk  # a model that cannot stream answers in one piece
                chunks.append(chunk)
                if cut := metered.runs_over(text_so_far.tokens):
                    break
        if not chunks:
            raise CallFault("the stream was empty")
        whole = chunks[0] + chunks[1:] if len(chunks) > 1 else chunks[0]
        message = cast("AIMessage", message_chunk_to_message(whole))
        if cut:
            message.response_metadata["finish_reason"] = "length"
        return message

    def _check(self, reply: Reply) -> None:
        """An answer that is none must not pass for one."""
        nothing = not (reply.text or reply.calls or reply.reasoning)
        if reply.finish is None and (self.says_finish or nothing):
            raise CallFault("the answer was cut off or empty")
        if reply.finish == "fault":
            why = f"the server broke the answer off ({brief(reply.end, 80)!r})"
            raise CallFault(why, broken_off=True)
        if reply.finish == "filter":
            raise filtered(self.name, f"it ended with {reply.end!r}" if reply.end else "")


def _advice(state: RetryCallState) -> float | None:
    fault = state.outcome.exception() if state.outcome else None
    return fault.retry_after if isinstance(fault, CallFault) else None
