"""An engine in this process: a small model sampled token by token, for the rehearsal and for
tests of faithfulness. It answers as verl's LLMServerClient does; it is not fast."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from rl.rollouts.thread_tokens import ThreadTokens


@dataclass
class LocalOutput:
    """verl's TokenOutput, as far as the ledger reads it."""

    token_ids: list[int]
    log_probs: list[float] | None
    stop_reason: str | None = "completed"
    extra_fields: dict[str, Any] = field(default_factory=dict)


class LocalEngine:
    """Samples from a transformers model on the CPU. Log-probabilities are the sampled
    distribution's (temperature applied), as vLLM's `processed_logprobs`."""

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


@torch.no_grad()
def response_log_probs(
    model: PreTrainedModel, prompt: list[int], response: list[int]
) -> list[float]:
    """What a training forward pass gives each response id under prompt and what stands before."""
    ids = torch.tensor([prompt + response])
    scores = torch.log_softmax(model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float(), dim=-1)
    return [float(scores[place, token]) for place, token in enumerate(response)]
