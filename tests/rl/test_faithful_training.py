"""What is trained is what was sampled: log-probabilities of a real model under the contexts of the
rollout and of training agree; under the contexts that this design avoids they do not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from oresearch_graph.trace import render_steps
from rl.plan.rehearsal import LocalEngine
from rl.rollouts.faithfulness import compare, decoded_policy_text, mask_runs, retokenized
from rl.rollouts.graph import Rollout, RolloutGraph
from rl.rollouts.ledger_policy import Sampling
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.settings import RLSettings
from rl.tiny.base_model import make_model
from rl.tools.training_tools import training_tools
from tests.helpers.rl_engine import Sampled, ScriptedEngine, ScriptedLedgerPolicy
from tests.helpers.scripted import PAGES, Documents, research_script
from tests.helpers.small_tokenizers import greedy_tokenizer, protocol_tokenizer

BOTH = ("parallel", "sequential")
AGREE = 1e-4
"""The issue's bound on |Δ log-prob| between rollout and actor, fp32."""


@torch.no_grad()
def response_log_probs(
    model: PreTrainedModel, prompt: list[int], response: list[int]
) -> list[float]:
    """What a training forward pass gives each response id under prompt and what stands before."""
    ids = torch.tensor([prompt + response])
    scores = torch.log_softmax(model(input_ids=ids).logits[0, len(prompt) - 1 : -1].float(), dim=-1)
    return [float(scores[place, token]) for place, token in enumerate(response)]


class ModelEngine(ScriptedEngine):
    """Writes the script's text and says what a real model gives its ids under the prompt."""

    def __init__(self, tokens: ThreadTokens, model: Any, turns: int = 2) -> None:
        super().__init__(tokens, research_script(turns=turns))
        self.model = model

    async def generate(
        self, request_id: str, *, prompt_ids: list[int], sampling_params: dict[str, Any]
    ) -> Sampled:
        prompt = list(prompt_ids)
        output = await super().generate(
            request_id, prompt_ids=prompt_ids, sampling_params=sampling_params
        )
        output.log_probs = response_log_probs(self.model, prompt, output.token_ids)
        return output


def model_for(tokens: ThreadTokens):
    """A random model whose predictions depend on everything before: weights five times as wide."""
    torch.manual_seed(1)
    model = make_model(tokens.tokenizer, layers=2).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


async def roll(engine: ScriptedEngine, execution: str) -> Rollout:
    settings = RLSettings(research={"execution": execution})
    documents = Documents(PAGES)
    sampling = Sampling({"logprobs": True}, 100_000, 2_000, 2_000, 60.0)
    policy = ScriptedLedgerPolicy(engine, engine.tokens, sampling)
    tools = training_tools(settings, (documents, documents))
    return await RolloutGraph(settings).run("What causes tides?", policy, tools)


def largest_gap(row: TokenRow, log_probs: list[float]) -> float:
    """max |Δ log-prob| over the sampled ids of a row."""
    pairs = zip(row.log_probs, log_probs, row.mask, strict=True)
    return max(abs(one - two) for one, two, mask in pairs if mask)


@pytest.mark.parametrize("execution", BOTH)
@pytest.mark.parametrize("tokenizer", [protocol_tokenizer, greedy_tokenizer])
async def test_rollout_and_training_give_sampled_ids_the_same_log_probs(execution, tokenizer):
    tokens = ThreadTokens(tokenizer())
    model = model_for(tokens)
    rollout = await roll(ModelEngine(tokens, model), execution)
    assert rollout.rows
    for row in rollout.rows:
        trained = response_log_probs(model, row.prompt_ids, row.response_ids)
        assert largest_gap(row, trained) <= AGREE


@pytest.mark.parametrize("execution", BOTH)
async def test_decoded_sampled_ids_are_the_policys_text(execution):
    tokens = ThreadTokens(greedy_tokenizer())
    rollout = await roll(ModelEngine(tokens, model_for(tokens)), execution)
    assert rollout.trace is not None
    written = [render_steps([step]) for step in rollout.trace.steps if step.author == "policy"]
    assert "".join(decoded_policy_text(row, tokens) for row in rollout.rows) == "".join(written)


async def test_ids_encoded_again_as_one_text_are_other_ids():
    """Negative control: a tokenizer whose merges cross the border between policy and world."""
    tokens = ThreadTokens(greedy_tokenizer())
    model = model_for(tokens)
    rollout = await roll(ModelEngine(tokens, model), "parallel")
    compared = compare(rollout.rows, tokens)
    assert compared.share == 1.0
    researched = [row for row in rollout.rows if row.role == "researcher"]
    for row in researched:
        again = retokenized(row, tokens)
        assert again != row.response_ids
        assert tokens.decode(again) == tokens.decode(row.response_ids)
        sampled = sum(v for v, mask in zip(row.log_probs, row.mask, strict=True) if mask)
        whole = sum(response_log_probs(model, row.prompt_ids, row.response_ids))
        apart = sum(response_log_probs(model, row.prompt_ids, again))
        assert abs(whole - apart) > 100 * AGREE, (sampled, whole, apart)


async def test_a_parallel_run_concatenated_is_another_context():
    """Negative control: the second researcher's ids behind the first one's steps, as one linear
    row would have them, get other log-probabilities than they were sampled with."""
    tokens = ThreadTokens(protocol_tokenizer())
    model = model_for(tokens)
    rollout = await roll(ModelEngine(tokens, model), "parallel")
    planner, first, second, _ = rollout.rows
    before = [*planner.ids, *first.response_ids]
    linear = response_log_probs(model, before, second.response_ids)
    assert largest_gap(second, linear) > 100 * AGREE
    alone = response_log_probs(model, second.prompt_ids, second.response_ids)
    assert largest_gap(second, alone) <= AGREE


async def test_an_engine_that_samples_agrees_with_the_forward_pass():
    """A real sampler with a cache, not a script: token by token against the whole row at once."""
    tokens = ThreadTokens(protocol_tokenizer())
    model = model_for(tokens)
    engine = LocalEngine(model, tokens, seed=3)
    prompt = tokens.opening("You search.", "What causes tides?")
    output = await engine.generate(
        "t", prompt_ids=list(prompt),
        sampling_params={"temperature": 1.0, "max_tokens": 80, "stop": ["</web_search>"]},
    )  # fmt: skip
    assert output.log_probs is not None
    trained = response_log_probs(model, prompt, output.token_ids)
    gaps = [abs(one - two) for one, two in zip(output.log_probs, trained, strict=True)]
    assert max(gaps) <= AGREE


async def test_the_share_of_rows_that_sft_encodes_alike_is_measured_on_odd_splits():
    """A policy may sample another split of its text than the tokenizer makes; then the row is not
    counted as the same, and its decoded text still is the policy's."""
    tokens = ThreadTokens(protocol_tokenizer())

    class ByCharacter(ModelEngine):
        async def generate(self, request_id: str, **asked: Any) -> Sampled:
            output = await ScriptedEngine.generate(self, request_id, **asked)
            text = tokens.decode(output.token_ids)
            output.token_ids = [token for character in text for token in tokens.encode(character)]
            output.log_probs = [-1.0] * len(output.token_ids)
            return output

    rollout = await roll(ByCharacter(tokens, None), "parallel")
    compared = compare(rollout.rows, tokens)
    assert compared.share == 0.0
    assert all(run.ids for row in rollout.rows for run in mask_runs(row))
