"""What the allow-list lets through learns the same however rollouts are split into rows and rows
into micro-batches; what it refuses does not. Measured through verl's own loss and correction."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import pytest
import torch
from tensordict import TensorDict
from transformers import Qwen2ForCausalLM
from verl.protocol import DataProto
from verl.trainer.config import RolloutCorrectionConfig
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_add_to_batch
from verl.utils import tensordict_utils as tu
from verl.workers.config import ActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

import tests.helpers.verl_quietly  # noqa: F401
from rl.check.learning_settings import KL_TYPES, LOSS_AGGREGATIONS, LOSS_MODES, REJECTIONS
from rl.learning.mismatch import BOUNDS
from tests.helpers.launches import tiny_config

WORDS = 11
SAME = 1e-6
MICRO_BATCHES = (1, 2, 3, 100)


class Token(NamedTuple):
    """A token of a response; what it is predicted from goes with it, whatever its row."""

    rollout: int
    place: int
    context: int
    word: int
    sampled: int
    old: float
    engine: float
    reference: float
    advantage: float


Row = list[Token]


def rollouts(seed: int = 0) -> list[Row]:
    """Three rollouts of unlike lengths, with world tokens between sampled ones."""
    random = torch.Generator().manual_seed(seed)
    rows = []
    for rollout, (length, advantage) in enumerate(((9, 0.9), (4, -1.3), (6, 0.4))):
        near = torch.randn((3, length), generator=random) * 0.3 - 2.4
        words = torch.randint(WORDS, (2, length), generator=random).tolist()
        row = []
        for place in range(length):
            old, engine, reference = near[:, place].tolist()
            sampled = int(place % 4 != 2)
            row.append(Token(rollout, place, words[0][place], words[1][place], sampled, old,
                             engine, reference, advantage))  # fmt: skip
        rows.append(row)
    return rows


def split(rows: list[Row]) -> list[Row]:
    """The same tokens in more rows, in another order."""
    cuts = ((0, 1, 5, 9), (0, 2, 4), (0, 6))
    parts = [
        row[start:end]
        for row, ends in zip(rows, cuts, strict=True)
        for start, end in pairwise(ends)
    ]
    return parts[::-1]


def gradient(rows: list[Row], micro_batch: int, weights: dict[str, float], **config: Any) -> Any:
    """Of verl's PPO loss, accumulated over micro-batches as its engine does it."""
    torch.manual_seed(0)
    embedding, head = torch.nn.Embedding(WORDS, 4), torch.nn.Linear(4, WORDS)
    model = torch.nn.Sequential(embedding, head).double()
    torch.nn.init.normal_(head.weight, std=0.5)
    actor = ActorConfig(strategy="fsdp", rollout_n=1, use_dynamic_bsz=True, **config)
    for start in range(0, len(rows), micro_batch):
        part = rows[start : start + micro_batch]
        log_probs = torch.log_softmax(model(column(part, "context").long()), dim=-1)
        entropy = -(log_probs.exp() * log_probs).sum(dim=-1)
        sampled = log_probs.gather(1, column(part, "word").long().unsqueeze(1)).squeeze(1)
        output = {"log_probs": shifted(part, sampled), "entropy": shifted(part, entropy)}
        loss, _ = ppo_loss(actor, output, batch(part, rows, weights))
        loss.backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


def column(rows: list[Row], name: str) -> torch.Tensor:
    return torch.tensor([getattr(token, name) for row in rows for token in row]).double()


def nested(rows: list[Row], values: torch.Tensor) -> torch.Tensor:
    return torch.nested.as_nested_tensor(
        list(values.split([len(row) for row in rows])), layout=torch.jagged
    )


def shifted(rows: list[Row], values: torch.Tensor) -> torch.Tensor:
    """As a model gives them over prompt (one token) and response: each one place early."""
    zero = torch.zeros(1, dtype=values.dtype)
    parts = values.split([len(row) for row in rows])
    return torch.cat([torch.cat([part, zero]) for part in parts])


def batch(part: list[Row], rows: list[Row], weights: dict[str, float]) -> TensorDict:
    """One micro-batch, with the counts of the whole mini-batch that verl's engine adds."""
    fields = {
        "prompts": nested([row[:1] for row in part], torch.zeros(len(part))),
        "responses": nested(part, column(part, "word")),
        "response_mask": nested(part, column(part, "sampled")),
        "old_log_probs": nested(part, column(part, "old")),
        "ref_log_prob": nested(part, column(part, "reference")),
        "advantages": nested(part, column(part, "advantage")),
    }
    if weights:
        values = [weights[f"{token.rollout}-{token.place}"] for row in part for token in row]
        fields["rollout_is_weights"] = nested(part, torch.tensor(values).double())
    made = TensorDict(fields, batch_size=len(part))
    tu.assign_non_tensor(
        made, dp_size=1, global_batch_size=3,
        batch_num_tokens=int(sum(token.sampled for row in rows for token in row)),
    )  # fmt: skip
    return made


def largest_difference(**config: Any) -> float:
    """Between the gradients of all splits into rows and micro-batches."""
    whole, parts = rollouts(), split(rollouts())
    weights = {f"{token.rollout}-{token.place}": 0.5 + 0.1 * token.place
               for row in whole for token in row}  # fmt: skip
    gradients = [
        gradient(rows, size, weights, **config) for rows in (whole, parts) for size in MICRO_BATCHES
    ]
    assert all(bool(each.abs().max() > 1e-3) for each in gradients), "there is something to learn"
    return max(float((each - gradients[0]).abs().max()) for each in gradients)


@pytest.mark.parametrize("mode", LOSS_MODES)
@pytest.mark.parametrize("aggregation", LOSS_AGGREGATIONS)
def test_a_loss_that_is_allowed_does_not_know_rows(mode: str, aggregation: str):
    losses = PolicyLossConfig(loss_mode=mode, dro_beta=0.5 if mode == "dro" else None)
    scale = 16 if aggregation == "seq-mean-token-sum-norm" else None
    config = {"policy_loss": losses, "loss_agg_mode": aggregation, "loss_scale_factor": scale}
    assert largest_difference(**config) < SAME


@pytest.mark.parametrize("kind", KL_TYPES)
def test_kl_and_entropy_do_not_know_rows(kind: str):
    assert largest_difference(use_kl_loss=True, kl_loss_coef=0.3, kl_loss_type=kind,
                              entropy_coeff=0.1, clip_ratio_high=0.3) < SAME  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        {"policy_loss": PolicyLossConfig(loss_mode="gspo")},
        {"policy_loss": PolicyLossConfig(loss_mode="sapo")},
        {"policy_loss": PolicyLossConfig(loss_mode="geo_mean")},
        {"policy_loss": PolicyLossConfig(loss_mode="kl_cov")},
        {"policy_loss": PolicyLossConfig(loss_mode="clip_cov", clip_cov_lb=-9.0)},
        {"loss_agg_mode": "seq-mean-token-mean"},
        {"loss_agg_mode": "seq-mean-token-sum-norm"},
    ],
)
def test_a_loss_that_is_refused_knows_rows(config: dict[str, Any]):
    assert largest_difference(**config) > 1000 * SAME


def corrected(rows: list[Row], **config: Any) -> dict[str, tuple[float, float]]:
    """Weight and mask of each token after verl's correction, the whole batch at once."""
    width = max(map(len, rows))
    padded = {
        name: torch.stack([
            torch.nn.functional.pad(column([row], name), (0, width - len(row))) for row in rows
        ])
        for name in ("old", "engine", "sampled")
    }  # fmt: skip
    names = {"old": "old_log_probs", "engine": "rollout_log_probs", "sampled": "response_mask"}
    data = DataProto.from_dict({names[name]: value for name, value in padded.items()})
    done, _ = compute_rollout_correction_and_add_to_batch(data, RolloutCorrectionConfig(**config))
    mask = done.batch["response_mask"]
    weights = done.batch.get("rollout_is_weights", mask)
    return {
        f"{token.rollout}-{token.place}": (float(weights[i, j]), float(mask[i, j]))
        for i, row in enumerate(rows)
        for j, token in enumerate(row)
        if token.sampled
    }


def apart(**config: Any) -> float:
    """The largest difference that another split into rows makes."""
    whole, parts = corrected(rollouts(), **config), corrected(split(rollouts()), **config)
    assert whole.keys() == parts.keys()
    pairs = [(whole[key], parts[key]) for key in whole]
    return max(abs(one - two) for first, second in pairs
               for one, two in zip(first, second, strict=True))  # fmt: skip


@pytest.mark.parametrize(
    "config",
    [
        {"rollout_is": "token", "rollout_is_threshold": 1.1},
        {"rollout_is": "token", "rollout_is_threshold": "0.8_1.2"},
        {"rollout_is": "token", "rollout_is_batch_normalize": True},
        *({"rollout_is": None, "rollout_rs": name,
           "rollout_rs_threshold": "0.8_1.2" if name == "token_k1" else 0.02}
          for name in REJECTIONS),
        {"rollout_is": "token", "rollout_rs": "token_k1,token_k3",
         "rollout_rs_threshold": "0.8_1.2,0.02"},
    ],
)  # fmt: skip
def test_a_correction_that_is_allowed_does_not_know_rows(config: dict[str, Any]):
    assert apart(**config) < SAME
    values = {value for pair in corrected(rollouts(), **config).values() for value in pair}
    assert len(values) > 1, "something is corrected"


@pytest.mark.parametrize(
    "config",
    [
        {"rollout_is": "sequence", "rollout_is_threshold": 5.0},
        {"rollout_is": None, "rollout_rs": "seq_sum_k1", "rollout_rs_threshold": "0.7_1.4"},
        {"rollout_is": None, "rollout_rs": "seq_mean_k2", "rollout_rs_threshold": 0.04},
        {"rollout_is": None, "rollout_rs": "seq_max_k3", "rollout_rs_threshold": 0.05},
    ],
)
def test_a_correction_that_is_refused_knows_rows(config: dict[str, Any]):
    assert apart(**config) > 1000 * SAME


def tiny(attention: str) -> Qwen2ForCausalLM:
    """A random model whose predictions depend on everything before."""
    torch.manual_seed(1)
    model = Qwen2ForCausalLM._from_config(tiny_config(), attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(5)
    return model


@torch.no_grad()
def log_probs(model: Qwen2ForCausalLM, *rows: list[int], start: int = 0) -> torch.Tensor:
    """Of the next tokens of rows packed into one, as verl's engine gives them to a model."""
    ids = torch.tensor([[token for row in rows for token in row]])
    places = torch.tensor([[start + place for row in rows for place in range(len(row))]])
    logits = model(input_ids=ids, position_ids=places, attention_mask=None, use_cache=False).logits
    return torch.log_softmax(logits[0], dim=-1)[:-1].gather(1, ids[0, 1:, None]).squeeze(1)


ROWS = [[5, 9, 3, 7, 2, 8, 4, 6], [6, 4, 8, 1, 3], [9, 2, 2, 5, 7, 1]]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_rows_do_not_see_each_other(attention: str):
    model = tiny(attention)
    packed, at = log_probs(model, *ROWS), 0
    for row in ROWS:
        alone = log_probs(model, row)
        assert torch.allclose(packed[at : at + len(alone)], alone, atol=1e-4)
        at += len(row)


def test_a_slice_of_a_row_alone_is_another_model():
    """What sdpa computes on a sequence-parallel rank: beyond the bound of the first step."""
    model, row = tiny("sdpa"), [*ROWS[0], *ROWS[1], *ROWS[2]]
    half = len(row) // 2
    whole = log_probs(model, row)[half:]
    sliced = log_probs(model, row[half:], start=half)
    assert float((whole - sliced).abs().mean()) > 2 * max(BOUNDS.values())


def test_a_step_of_the_usual_rate_is_lost_in_16_bits():
    """Why `model_dtype` is fp32: the spacing of bf16 is 1/256 of a weight."""
    weight = torch.nn.Parameter(torch.full((4,), 0.02, dtype=torch.bfloat16))
    optimizer = torch.optim.AdamW([weight], lr=1e-6)
    for _ in range(10):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    assert (weight == torch.full_like(weight, 0.02)).all()
