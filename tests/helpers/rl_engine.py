"""An engine that samples from a script, for tests of the training side: it answers with the ids of
what the script writes for the thread, and with log-probabilities that tell ids apart."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from rl.rollouts.ledger_policy import LedgerPolicy, Sampling
from rl.rollouts.thread_tokens import ThreadTokens
from rl.tiny.base_model import as_pretrained, make_tokenizer
from tests.helpers.scripted import PAGES, Script, research_script

SAMPLING = Sampling(
    parameters={"temperature": 1.0, "logprobs": True}, window=100_000, turn_tokens=2_000,
    report_tokens=2_000, seconds=20.0,
)  # fmt: skip


def small_tokens() -> ThreadTokens:
    """A real byte-level BPE that knows the protocol's tags."""
    return ThreadTokens(as_pretrained(make_tokenizer([*PAGES.values(), "a report on tides"])))


def log_prob(token: int) -> float:
    """What the engine says of an id."""
    return -(token % 97) / 97 - 0.01


@dataclass
class Sampled:
    """verl's TokenOutput, as far as it is read."""

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str | None = "completed"
    num_preempted: int = 0
    extra_fields: dict[str, Any] = field(default_factory=lambda: {"max_global_steps": 3})


class ScriptedEngine:
    """Samples `script(thread)`. `after` is appended to what ends with a stop tag, as a token that
    completes a stop string may carry more. `fault` may raise or wait before it answers."""

    def __init__(
        self, tokens: ThreadTokens, script: Script | None = None, *, after: str = "",
        fault: Callable[[Thread, int], None] | None = None, seconds: float = 0.0,
    ) -> None:  # fmt: skip
        self.tokens, self.script = tokens, script or research_script()
        self.after, self.fault, self.seconds = after, fault, seconds
        self.threads: dict[str, Thread] = {}
        self.prompts: list[tuple[str, list[int]]] = []
        self.written: list[tuple[Thread, str, list[int]]] = []

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> Sampled:
        thread = self.threads[request_id]
        self.prompts.append((request_id, list(prompt_ids)))
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if self.fault is not None:
            self.fault(thread, len(self.prompts))
        text = self.script(thread)
        if any(text.endswith(tag) for tag in sampling_params["stop"]):
            text += self.after
        # A model samples special tokens as well, such as the one that ends its turn.
        sampled = self.tokens.tokenizer.encode(text, add_special_tokens=False)
        ids = sampled[: sampling_params["max_tokens"]]
        self.written.append((thread, self.tokens.decode(ids), ids))
        sampling_params.clear()  # verl takes the parameters apart
        prompt_ids.clear()
        return Sampled(ids, [log_prob(token) for token in ids])


class ScriptedLedgerPolicy(LedgerPolicy):
    """The ledger policy, which shows its threads to a scripted engine."""

    engine: ScriptedEngine

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        self.engine.threads[thread.id] = thread
        return await super().continue_thread(thread, stop, on_text=on_text)
