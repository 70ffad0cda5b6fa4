"""The rehearsal: one real rollout of a run's first question on the CPU, before anything is rented.

The graph, the tools, the limits, the tokenizer, the judge and the reward are the run's own. What
writes is the run's model where it is a local folder small enough, sampled in this process; else the
extractive policy, in the run's tokens where its tokenizer is a local folder, else in a tiny one's:
then no log-probability exists, and none is shown.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig
from rich.table import Table
from rich.text import Text
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.prompts import system_prompt
from oresearch_graph.threads import Thread
from rl.check.problem import existing_folder
from rl.rollouts.faithfulness import decoded_policy_text, same_tokenization
from rl.rollouts.ledger_policy import EngineOutput, LedgerPolicy, Sampling
from rl.rollouts.log import RolloutLog
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.rollouts.worker import RolloutWorker, ScoredRollout
from rl.settings import RLSettings, from_config
from rl.tiny.base_model import as_pretrained, make_tokenizer

SMALL: Final = 500_000_000
"""Bytes of weights up to which the run's own model writes."""


@dataclass
class LocalOutput:
    """verl's TokenOutput, as far as the ledger reads it."""

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str | None = "completed"
    extra_fields: dict[str, Any] = field(default_factory=dict)


class LocalEngine:
    """Samples a small model on the CPU, token by token, and answers as verl's LLMServerClient does;
    it is not fast. Log-probabilities are the sampled distribution's (temperature applied), as
    vLLM's `processed_logprobs`."""

    def __init__(self, model: PreTrainedModel, tokens: ThreadTokens, seed: int = 0) -> None:
        self.model, self.tokens = model.eval(), tokens
        self._draw = torch.Generator().manual_seed(seed)
        self._turn = asyncio.Lock()

    @classmethod
    def load(cls, folder: Path | str, seed: int = 0) -> LocalEngine:
        """Model and tokenizer of a local folder, in fp32."""
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        return cls(model, ThreadTokens(AutoTokenizer.from_pretrained(folder)), seed)

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]  # noqa: ARG002
    ) -> LocalOutput:  # fmt: skip
        """One continuation at a time: the machine has no room for more."""
        async with self._turn:
            return await asyncio.to_thread(self._sample, prompt_ids, sampling_params)

    @torch.no_grad()
    def _sample(self, prompt: list[int], parameters: dict[str, Any]) -> LocalOutput:
        temperature = float(parameters.get("temperature", 1.0))
        stop, most = list(parameters.get("stop", ())), int(parameters["max_tokens"])
        ids: list[int] = []
        log_probs: list[float] = []
        step, cache = torch.tensor([prompt]), None
        while len(ids) < most:
            out = self.model(input_ids=step, past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            logits = out.logits[0, -1].float()
            scores = torch.log_softmax(logits / temperature if temperature > 0 else logits, dim=-1)
            token = self._choose(scores, greedy=temperature == 0)
            ids.append(token)
            log_probs.append(float(scores[token]))
            # A stop tag is at most a few tokens long, so the tail shows it.
            tail = self.tokens.decode(ids[-32:])
            if token in self.tokens.end_ids or any(tag in tail for tag in stop):
                break
            step = torch.tensor([[token]])
        return LocalOutput(ids, log_probs)

    def _choose(self, scores: torch.Tensor, *, greedy: bool) -> int:
        if greedy:
            return int(scores.argmax())
        return int(torch.multinomial(scores.exp(), 1, generator=self._draw))


@dataclass(frozen=True)
class Rehearsal:
    """What came of it."""

    question: str
    author: str
    """Who wrote: the model's folder, or `extractive`."""
    scored: ScoredRollout | None
    """None when the rollout would have been dropped."""
    failures: dict[str, int]
    tokens: ThreadTokens

    def tables(self) -> list[Table]:
        """Rows with their masks, and the parts of the reward."""
        if self.scored is None:
            table = Table("the rollout would be dropped", title=Text(self.question))
            lines = [f"{name} × {count}" for name, count in self.failures.items()]
            table.add_row(Text(", ".join(lines)))
            return [table]
        return [rows_table(self, self.scored), _parts_table(self.scored)]


def rehearse(config: DictConfig) -> Rehearsal:
    """Run it. Raises ConfigurationError where the run's data cannot be read."""
    settings, row = from_config(config).model_copy(update={"traces": None}), _first_row(config)
    folder = existing_folder(config.actor_rollout_ref.model.path)
    engine = _own_engine(folder)
    tokens = engine.tokens if engine else _tokens(folder, settings, config)
    author = str(folder) if engine else ExtractivePolicy.name
    log = RolloutLog()
    worker = RolloutWorker(
        settings, tokens, log, model=author, policy=None if engine else _Extractive
    )
    sampling = Sampling.of(
        config, settings, {"temperature": float(config.actor_rollout_ref.rollout.temperature)}
    )
    scored = asyncio.run(worker.rollout(row, engine or _NoEngine(), sampling))
    return Rehearsal(
        question=str(row["raw_prompt"][-1]["content"]),
        author=author,
        scored=scored,
        failures=dict(log.drain(validate=True)[-1].failures),
        tokens=tokens,
    )


def _own_engine(folder: Path | None) -> LocalEngine | None:
    """The run's model, where it is small enough to be sampled here."""
    weights = list(folder.glob("*.safetensors")) if folder else []
    if folder is None or not weights or sum(file.stat().st_size for file in weights) > SMALL:
        return None
    return LocalEngine.load(folder)


def _tokens(folder: Path | None, settings: RLSettings, config: DictConfig) -> ThreadTokens:
    """The run's tokenizer; a tiny one of the same protocol where only the hub has it."""
    if folder is None:
        system = system_prompt(settings.research_settings)
        return ThreadTokens(as_pretrained(make_tokenizer([system], system)))
    arguments = config.data.get("apply_chat_template_kwargs") or {}
    return ThreadTokens(AutoTokenizer.from_pretrained(folder), dict(arguments))


class _NoEngine:
    """Stands where an engine would; the extractive policy never asks it."""

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]  # noqa: ARG002
    ) -> EngineOutput:  # fmt: skip
        raise AssertionError(f"{request_id}: the rehearsal has no engine")


class _Extractive(LedgerPolicy):
    """The ledger policy with the extractive policy's texts in place of an engine's."""

    async def ask_engine(
        self, thread: Thread, row: TokenRow, stop: Sequence[str], parameters: dict[str, Any]  # noqa: ARG002
    ) -> EngineOutput:  # fmt: skip
        continuation = await ExtractivePolicy().continue_thread(thread, stop)
        ids = self.tokens.encode(continuation.text)[: parameters["max_tokens"]]
        self.counts.calls += 1
        return LocalOutput(ids, [math.nan] * len(ids))


def _first_row(config: DictConfig) -> dict[str, Any]:
    files = config.data.train_files
    file = Path(str(files if isinstance(files, str) else files[0]))
    try:
        first = pq.ParquetFile(file).iter_batches(batch_size=1)
        row: dict[str, Any] = next(iter(first)).to_pylist()[0]
    except (OSError, StopIteration) as error:
        raise ConfigurationError(f"data.train_files: {file} cannot be read: {error}") from error
    extra_info = {**(row.get("extra_info") or {}), "split": "validation"}
    return {**row, "raw_prompt": row["prompt"], "extra_info": extra_info}


def rows_table(rehearsal: Rehearsal, scored: ScoredRollout) -> Table:
    """Each row of the rollout; what strangers wrote is no markup."""
    tokens = rehearsal.tokens
    table = Table(title=Text(f"{rehearsal.question}  (written by {rehearsal.author})"))
    table.add_column("row", no_wrap=True)
    for name in ("prompt", "sampled", "world", "ended by", "log-prob", "begins with", "as in SFT"):
        table.add_column(name)
    for row in scored.rows:
        sampled = [v for v, mask in zip(row.log_probs, row.mask, strict=True) if mask]
        mean = sum(sampled) / len(sampled)
        name = row.role if row.branch is None else f"{row.role} {row.branch}"
        table.add_row(
            name, str(len(row.prompt_ids)), str(row.sampled),
            str(len(row.mask) - row.sampled), _count_line(row.stops),
            "–" if math.isnan(mean) else f"{mean:.3f}",
            Text(" ".join(decoded_policy_text(row, tokens).split())[:32]),
            "yes" if same_tokenization(row, tokens) else "no",
        )  # fmt: skip
    return table


def _count_line(stops: Sequence[str]) -> str:
    return ", ".join(f"{count} × {stop}" for stop, count in Counter(stops).items())


def _parts_table(scored: ScoredRollout) -> Table:
    table = Table("reward", "value")
    for name, value in scored.info.items():
        table.add_row(name, "–" if value is None else f"{value:.3f}")
    return table
