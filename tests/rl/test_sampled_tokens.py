"""What the driver computes of a step's sampled tokens is what upstream computes of padded rows, and
no matrix is as wide as the longest row."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transfer_queue import KVBatchMeta
from verl.protocol import DataProto
from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_add_to_batch
from verl.workers.utils.padding import response_to_nested

import tests.helpers.verl_quietly  # noqa: F401
from rl.check.learning_settings import LOSS_AGGREGATIONS, REJECTIONS
from rl.learning.advantage import rollout_grpo
from rl.learning.sampled_tokens import SampledTokens, row_sums
from rl.learning.trainer import ResearchTrainer
from tests.helpers.queue_double import QueueDouble
from tests.rl.test_trainer import configured, trainer

(Upstream,) = ResearchTrainer.__bases__
SAME = 1e-6
FIELDS = ("response_mask", "rm_scores", "rollout_log_probs", "old_log_probs")
LENGTHS = (1, 400, 7, 33, 2, 90, 5, 61)
CORRECTIONS: list[dict[str, Any]] = [
    {},
    {"rollout_is": "token", "rollout_is_threshold": 1.1},
    {"rollout_is": "token", "rollout_is_threshold": "'0.8_1.2'"},
    {"rollout_is": "token", "rollout_is_batch_normalize": True},
    *({"rollout_rs": name, "rollout_rs_threshold": "'0.8_1.2'" if name == "token_k1" else 0.02}
      for name in REJECTIONS),
    {"rollout_is": "token", "rollout_is_batch_normalize": True,
     "rollout_rs": "'token_k1,token_k3'", "rollout_rs_threshold": "'0.8_1.2,0.02'"},
]  # fmt: skip


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> QueueDouble:
    return QueueDouble(monkeypatch)


def batch(queue: QueueDouble, lengths: tuple[int, ...] = LENGTHS, padding: int = 0) -> KVBatchMeta:
    """Two prompts of two rollouts, whose rows have these lengths, then padding rows. World tokens
    stand between sampled ones, and their log-probabilities would ruin every number."""
    random, keys = torch.Generator().manual_seed(1), []
    rows = queue.fields.setdefault("train", {})
    for place, length in enumerate((*lengths, *[1] * padding)):
        is_padding = place >= len(lengths)
        uid, session = ("pad", place) if is_padding else ("ab"[place % 2], place // 2 % 2)
        key = f"{uid}_{session}_{place}"
        mask = (torch.rand(length, generator=random) < 0.4).long()
        mask[-1] = not is_padding
        actor = -2 * torch.rand(length, generator=random) - 0.1
        engine = actor + 0.15 * torch.randn(length, generator=random)
        scores = torch.zeros(length)
        scores[-1] = 0.0 if is_padding else float(torch.rand(1, generator=random))
        world = mask == 0
        prompt = torch.ones(1 if is_padding else 3 + place, dtype=torch.int64)
        whole = torch.zeros(len(prompt) + length)
        # As a model gives them over prompt and response: each one place early.
        whole[len(prompt) - 1 : -1] = actor.masked_fill(world, -80.0)
        rows[key] = {
            "prompts": prompt,
            "responses": torch.ones(length, dtype=torch.int64),
            "response_mask": mask,
            "rm_scores": scores,
            "rollout_log_probs": engine.masked_fill(world, 0.0),
            "old_log_probs": actor.masked_fill(world, -80.0),
            "log_probs": whole,
            "entropy": whole.abs(),
            "num_turns": torch.tensor(2 + place),
            "extra_fields": {},
        }
        queue.tags.setdefault("train", {})[key] = {
            "is_padding": is_padding, "min_global_steps": 0, "max_global_steps": place % 2,
        }  # fmt: skip
        keys.append(key)
    return KVBatchMeta(keys, [queue.tags["train"][key] for key in keys], "train")


def correcting(setting: dict[str, Any]) -> Any:
    key = "algorithm.rollout_correction"
    return configured(
        *(f"{key}.{name}={value}" for name, value in {"rollout_is": "null", **setting}.items()),
        rollout_weight="equal",
        mismatch_bound=1.0,
    )


def padded(
    queue: QueueDouble, rows: KVBatchMeta, config: Any
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The fields and metrics of the same step by matrices as wide as the longest row."""
    nested = queue.kv_batch_get(rows.keys, "train", FIELDS)
    data = DataProto(batch=nested.to_padded_tensor())
    setting = config.algorithm.rollout_correction
    data, metrics = compute_rollout_correction_and_add_to_batch(data, setting)
    advantages, returns = rollout_grpo(
        data.batch["rm_scores"], data.batch["response_mask"], rows.keys, config.algorithm,
        rollout_weight="equal",
    )  # fmt: skip
    values = {"advantages": advantages, "returns": returns}
    names = ("response_mask", "rollout_is_weights")
    values |= {name: data.batch[name] for name in names if name in data.batch}
    lengths = nested["response_mask"]
    return {name: response_to_nested(value, lengths) for name, value in values.items()}, metrics


@pytest.mark.parametrize("setting", CORRECTIONS, ids=str)
def test_a_correction_of_packed_tokens_is_that_of_padded_rows(
    queue: QueueDouble, setting: dict[str, Any]
):
    config, rows, metrics = correcting(setting), batch(queue), dict[str, Any]()
    fields, logged = padded(queue, rows, config)
    trainer(config)._compute_advantage(rows, metrics)
    written = queue.kv_batch_get(rows.keys, "train", list(fields))
    for name, value in fields.items():
        assert torch.equal(written[name].offsets(), value.offsets())
        assert torch.allclose(written[name].values(), value.values(), atol=SAME), name
    assert {name for name in metrics if name.startswith("rollout_corr/")} == set(logged)
    for name, number in logged.items():
        assert metrics[name] == pytest.approx(number, rel=2e-5, abs=SAME), name
    assert bool(written["advantages"].values().any())


def test_padding_rows_change_nothing_that_is_logged(queue: QueueDouble):
    config = correcting(CORRECTIONS[-1])
    alone, among = dict[str, Any](), dict[str, Any]()
    trainer(config)._compute_advantage(batch(queue), alone)
    trainer(config)._compute_advantage(batch(queue, padding=5), among)
    assert among == alone


def test_a_step_in_which_nothing_was_sampled_has_no_advantage(queue: QueueDouble):
    rows, metrics = batch(queue, lengths=(), padding=2), dict[str, Any]()
    made = trainer(correcting(CORRECTIONS[1]))
    made._compute_advantage(rows, metrics)
    assert metrics == {}
    assert made._teaching == set()


class LogProbs:
    """The worker group of an actor whose log-probabilities are in the queue already."""

    def compute_log_prob(self, batch: KVBatchMeta) -> KVBatchMeta:
        return batch


@pytest.mark.parametrize("aggregation", LOSS_AGGREGATIONS)
def test_what_is_logged_of_the_actors_pass_is_upstreams(queue: QueueDouble, aggregation: str):
    override = [f"actor_rollout_ref.actor.loss_agg_mode={aggregation}"]
    if aggregation == "seq-mean-token-sum-norm":
        override.append("actor_rollout_ref.actor.loss_scale_factor=16")
    override.append("actor_rollout_ref.rollout.calculate_log_probs=true")
    made, ours, upstreams = trainer(configured(*override)), dict[str, Any](), dict[str, Any]()
    made.actor_rollout_wg = LogProbs()
    rows = batch(queue, padding=2)
    before = queue.kv_batch_get(rows.keys, "train", ["old_log_probs"])["old_log_probs"]
    Upstream._compute_old_log_prob(made, batch(queue, padding=2), upstreams)
    made._compute_old_log_prob(batch(queue, padding=2), ours)
    assert ours == pytest.approx(upstreams, abs=1e-5, rel=1e-5)
    assert len(ours) > 4
    after = queue.kv_batch_get(rows.keys, "train", ["old_log_probs"])["old_log_probs"]
    assert torch.equal(after.values(), before.values())


@pytest.mark.parametrize("padding", [0, 3])
def test_what_is_logged_of_a_step_is_upstreams(queue: QueueDouble, padding: int):
    made, ours, upstreams = trainer(correcting({})), dict[str, Any](), dict[str, Any]()
    made.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 8)
    made._rollout_moe_lb_metrics_accumulator = None
    rows, timing = batch(queue, padding=padding), {"step": 9.0, "gen": 5.0, "adv": 0.1}
    made._compute_advantage(rows, {})
    Upstream._compute_metrics(made, rows, upstreams, timing, 2, 0)
    made._compute_metrics(rows, ours, timing, 2, 0)
    assert {name: ours[name] for name in upstreams} == pytest.approx(upstreams, abs=SAME, rel=2e-5)
    assert len(upstreams) > 40
    added = set(ours) - set(upstreams)
    assert all(name.startswith("oresearch/") for name in added)


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that any operation gives."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        sizes = [each.numel() for each in tree_leaves(made)
                 if isinstance(each, torch.Tensor) and not each.is_nested]  # fmt: skip
        self.elements = max([self.elements, *sizes])
        return made


def test_no_tensor_of_the_driver_is_as_wide_as_the_longest_row(queue: QueueDouble):
    made = trainer(correcting(CORRECTIONS[-1]))
    made.actor_rollout_wg = LogProbs()
    made.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 8)
    rows = batch(queue, lengths=(*[50] * 39, 5_000), padding=3)
    tokens = 39 * 50 + 5_000 + 3 + sum(3 + place for place in range(40)) + 3
    with LargestTensor() as ours:
        made._compute_old_log_prob(rows, {})
        made._compute_advantage(rows, {})
        made._compute_metrics(rows, {}, {"step": 1.0}, 2, 0)
    assert 0 < ours.elements <= tokens
    with LargestTensor() as upstreams:
        Upstream._compute_metrics(made, rows, {}, {"step": 1.0}, 2, 0)
    assert upstreams.elements >= 43 * 5_000, "else this measures nothing"


def test_a_jagged_field_comes_back_as_it_was(queue: QueueDouble):
    nested: TensorDict = queue.kv_batch_get(batch(queue, padding=1).keys, "train", FIELDS)
    tokens = SampledTokens(nested["response_mask"])
    back = tokens.spread(tokens.pick(nested["response_mask"]))
    assert torch.equal(back.values(), nested["response_mask"].values())
    assert tokens.counts == row_sums(nested["response_mask"]).tolist()
