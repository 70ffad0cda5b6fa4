"""The trainer on verl's own composed configuration: what it sends to workers, without any."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig, OmegaConf, open_dict
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

import tests.helpers.verl_quietly  # noqa: F401
from oresearch_graph.errors import ConfigurationError
from rl.learning.mismatch import EngineDisagrees
from rl.learning.trainer import MODE, ResearchTrainer, micro_batch_rows
from rl.rows.fingerprint import read_fingerprint
from tests.helpers.queue_double import QueueDouble

OVERRIDES = [
    f"trainer.v1.trainer_mode={MODE}",
    "algorithm.adv_estimator=rollout_grpo",
    "critic.enable=false",
    "data.train_batch_size=4",
    "actor_rollout_ref.rollout.n=2",
    "actor_rollout_ref.actor.ppo_mini_batch_size=2",
    "actor_rollout_ref.actor.use_dynamic_bsz=true",
]


def configured(*overrides: str, **oresearch: Any) -> DictConfig:
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose("ppo_trainer", [*OVERRIDES, *overrides])
    with open_dict(config):
        config.oresearch = OmegaConf.create(oresearch)
    return config


class Workers:
    """The actor's worker group: keeps what it is sent."""

    def __init__(self, ranks: int) -> None:
        self._dispatch_info = {"actor": list(range(ranks))}
        self.sent: KVBatchMeta | None = None
        self.saved: Path | None = None

    def update_actor(self, batch: KVBatchMeta) -> dict[str, Any]:
        self.sent = batch
        return {"metrics": {"pg_loss": [0.5], "mfu": [0.0]}}

    def save_checkpoint(self, folder: str, *_: Any, **__: Any) -> None:
        self.saved = Path(folder)
        self.saved.mkdir(parents=True)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> QueueDouble:
    return QueueDouble(monkeypatch)


def trainer(config: DictConfig | None = None, ranks: int = 1) -> ResearchTrainer:
    made = ResearchTrainer(configured() if config is None else config)
    made.actor_rollout_wg = Workers(ranks)
    made.tokenizer = SimpleNamespace(eos_token_id=0)
    made.global_steps = 1
    return made


def batch(queue: QueueDouble, **rows: int) -> KVBatchMeta:
    """Prompts of two rollouts with so many rows each, the rollout's session being its reward; the
    prompts' rows come mixed."""
    keys: list[str] = []
    for uid, count in rows.items():
        for session in (0, 1):
            queue.rollout(uid, session, count, quality=float(session), total=float(session))
            keys += [f"{uid}_{session}_{row}" for row in range(count)]
        queue.prompt(uid, "finished")
    for key in keys:
        mask = torch.tensor([1, 0, 1])
        scores = torch.tensor([0.0, 0.0, float(key.split("_")[1])])
        queue.fields["train"][key] |= {
            "prompts": torch.tensor([5, 6]),
            "responses": torch.tensor([7, 8, 9]),
            "response_mask": mask,
            "rm_scores": scores,
            "rollout_log_probs": torch.tensor([-1.0, 0.0, -2.0]),
            "old_log_probs": torch.tensor([-1.1, -5.0, -2.0]),
            "uid": key.split("_")[0],
        }
    keys.sort(key=lambda key: key.split("_")[::-1])
    return KVBatchMeta(keys, [queue.tags["train"][key] for key in keys], "train")


def test_the_mode_is_registered_and_counts_as_synchronous():
    from verl.trainer.ppo.v1 import get_trainer_cls

    assert get_trainer_cls(MODE) is ResearchTrainer
    assert trainer().trainer_mode == "sync"


@pytest.mark.parametrize(
    ("override", "cause"),
    [
        ("algorithm.adv_estimator=grpo", "set it to 'rollout_grpo'"),
        ("critic.enable=true", "has no critic"),
        ("algorithm.use_kl_in_reward=true", "use_kl_loss"),
    ],
)
def test_settings_it_would_read_differently_are_refused(override: str, cause: str):
    with pytest.raises(ConfigurationError, match=cause):
        ResearchTrainer(configured(override))


@pytest.mark.parametrize("ranks", [1, 2])
def test_workers_are_sent_a_number_of_steps_and_whole_prompts_for_each(
    queue: QueueDouble, ranks: int
):
    made, metrics = trainer(ranks=ranks), dict[str, Any]()
    balanced = made._balance_batch(batch(queue, a=4, b=1, c=2, d=3), metrics)
    made._update_actor(balanced, metrics)
    sent = made.actor_rollout_wg.sent
    assert sent.extra_info["num_mini_batch"] == 2
    assert "mini_batch_size" not in sent.extra_info
    assert sent.extra_info["global_batch_size"] == 4
    assert sent.extra_info["dataloader_kwargs"] == {"shuffle": False}
    steps = [set[str](), set[str]()]
    for share in sent.chunk(ranks):
        for place, part in enumerate(share.chunk(2)):
            assert len(part) == len(sent) // (2 * ranks)
            steps[place] |= {key.split("_")[0] for key in part.keys if key[:3] != "pad"}
    assert sorted(map(len, steps)) == [2, 2]
    assert steps[0] | steps[1] == set("abcd")
    assert metrics["oresearch/optimizer_steps"] == 2.0
    assert metrics["actor/pg_loss"] == 0.5


def test_rows_of_a_rollout_change_neither_steps_nor_the_divisor(queue: QueueDouble):
    made = trainer()
    made._update_actor(made._balance_batch(batch(queue, a=9, b=9, c=9, d=9), {}), {})
    assert made.actor_rollout_wg.sent.extra_info["num_mini_batch"] == 2
    assert made.actor_rollout_wg.sent.extra_info["global_batch_size"] == 4


def test_padding_rows_carry_no_reward_mask_or_advantage(queue: QueueDouble):
    made, metrics = trainer(ranks=2), dict[str, Any]()
    balanced = made._balance_batch(batch(queue, a=3, b=1), metrics)
    pads = [key for key in balanced.keys if key.startswith("pad")]
    assert len(pads) == metrics["oresearch/padding_rows"] == len(balanced) - 8
    for key in pads:
        queue.fields["train"][key]["old_log_probs"] = torch.zeros(1)
    made._compute_advantage(balanced, metrics)
    for key in pads:
        assert queue.fields["train"][key]["response_mask"].sum() == 0
        assert queue.fields["train"][key]["advantages"].abs().sum() == 0


def test_an_update_of_a_batch_that_was_not_planned_is_refused(queue: QueueDouble):
    with pytest.raises(RuntimeError, match=r"verl 0\.9\.1"):
        trainer()._update_actor(batch(queue, a=1), {})


def test_advantages_are_written_for_every_row_of_a_rollout(queue: QueueDouble):
    metrics: dict[str, Any] = {}
    trainer()._compute_advantage(batch(queue, a=2), metrics)
    up = 0.5**0.5
    for key, row in queue.fields["train"].items():
        sign = 1.0 if key.startswith("a_1") else -1.0
        assert row["advantages"].tolist() == pytest.approx([sign * up, 0.0, sign * up], abs=1e-5)
    assert metrics["oresearch/mismatch/max_log_prob_difference"] == pytest.approx(0.1, abs=1e-6)


def disagreeing(queue: QueueDouble, difference: float) -> KVBatchMeta:
    """A batch whose sampled tokens the actor likes less than the engine did, by so much."""
    rows = batch(queue, a=2)
    for row in queue.fields["train"].values():
        row["rollout_log_probs"] = torch.tensor([-1.0, 0.0, -2.0])
        row["old_log_probs"] = torch.tensor([-1.0, -9.0, -2.0]) - difference
    return rows


FP32 = "+actor_rollout_ref.actor.fsdp_config.mixed_precision.param_dtype=fp32"


@pytest.mark.parametrize(
    ("difference", "config", "bound"),
    [
        (0.06, configured(), "0.05"),
        (0.02, configured(FP32), "0.01"),
        (0.51, configured(mismatch_bound=0.5), "0.5"),
        (float("nan"), configured(), "0.05"),
    ],
)
def test_the_first_step_ends_where_engine_and_actor_are_not_one_model(
    queue: QueueDouble, difference: float, config: DictConfig, bound: str
):
    made = trainer(config)
    with pytest.raises(EngineDisagrees, match=f"mismatch_bound = {bound}") as raised:
        made._compute_advantage(disagreeing(queue, difference), {})
    assert "\n" not in str(raised.value)
    assert "Compare attention" in str(raised.value)
    assert "advantages" not in queue.fields["train"]["a_0_0"], "nothing was learned from"


@pytest.mark.parametrize(
    ("difference", "config"),
    [
        (0.04, configured()),
        (0.009, configured(FP32)),
        (0.02, configured(FP32, mismatch_bound=0.03)),
    ],
)
def test_what_kernels_differ_by_is_trained_on(
    queue: QueueDouble, difference: float, config: DictConfig
):
    metrics: dict[str, Any] = {}
    trainer(config)._compute_advantage(disagreeing(queue, difference), metrics)
    mean = metrics["oresearch/mismatch/mean_log_prob_difference"]
    assert mean == pytest.approx(difference, abs=1e-6)


def test_a_later_step_is_logged_and_not_ended(queue: QueueDouble):
    made, metrics = trainer(), dict[str, Any]()
    made._compute_advantage(disagreeing(queue, 0.0), {})
    made._compute_advantage(disagreeing(queue, 0.9), metrics)
    assert metrics["oresearch/mismatch/mean_log_prob_difference"] == pytest.approx(0.9, abs=1e-6)


class LearningWorkers(Workers):
    """Holds a model and its optimizer, and steps as verl's engine does, whatever the advantages."""

    def __init__(self) -> None:
        super().__init__(1)
        torch.manual_seed(0)
        self.model = torch.nn.Linear(3, 2)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1, weight_decay=0.1)
        self.step(1.0)  # moments from an earlier step

    def step(self, scale: float) -> None:
        self.optimizer.zero_grad()
        (self.model(torch.ones(3)).sum() * scale).backward()
        self.optimizer.step()

    def update_actor(self, batch: KVBatchMeta) -> dict[str, Any]:
        self.step(0.0)  # no advantage: the gradient is 0
        return super().update_actor(batch)

    def state(self) -> list[torch.Tensor]:
        moments = [value for held in self.optimizer.state.values() for value in held.values()]
        return [value.detach().clone() for value in (*self.model.parameters(), *moments)]


@pytest.mark.parametrize("muted", [True, False])
def test_a_step_without_an_advantage_changes_no_bit(queue: QueueDouble, muted: bool):
    made, metrics = trainer(), dict[str, Any]()
    made.actor_rollout_wg = workers = LearningWorkers()
    rows = made._balance_batch(batch(queue, a=2, b=1), {})
    made.replay_buffer.muted = {"a", "b"} if muted else {"a"}
    before = workers.state()
    made._compute_advantage(rows, {})
    made._update_actor(rows, metrics)
    same = [torch.equal(one, two) for one, two in zip(before, workers.state(), strict=True)]
    assert all(same) if muted else not any(same)
    assert metrics["oresearch/muted_steps"] == float(muted)
    assert metrics["oresearch/optimizer_steps"] == float(not muted)


@pytest.mark.parametrize("ranks", [1, 2])
def test_of_a_step_the_optimizer_steps_without_an_advantage_are_not_taken(
    queue: QueueDouble, ranks: int
):
    made, metrics = trainer(ranks=ranks), dict[str, Any]()
    rows = made._balance_batch(batch(queue, a=2, b=2, c=2, d=2), {})
    plan = made._planned(len(rows))
    muted = {uid for uid, step in plan.of_prompt.items() if step == 0}
    made._teaching = {key for key in rows.keys if key.split("_")[0] in set("abcd") - muted}
    assert made._update_actor(rows, metrics) is rows
    sent = made.actor_rollout_wg.sent
    assert {key.split("_")[0] for key in sent.keys} == set("abcd") - muted
    assert sent.extra_info["num_mini_batch"] == 1
    assert sent.extra_info["global_batch_size"] == 4, "the divisor stays"
    shares = [share.keys for share in rows.chunk(ranks)]
    assert list(sent.keys) == [key for share in shares for key in share[len(share) // 2 :]]
    assert metrics["oresearch/muted_steps"] == metrics["oresearch/optimizer_steps"] == 1.0


def test_the_weight_of_rollouts_is_a_setting(queue: QueueDouble):
    held = batch(queue, a=1)
    row = queue.fields["train"]["a_0_0"]
    row["response_mask"] = torch.tensor([0, 0, 1])
    trainer(configured(rollout_weight="equal"))._compute_advantage(held, {})
    assert row["advantages"].abs().sum() == pytest.approx(1.5 * 0.5**0.5, abs=1e-5)
    other = queue.fields["train"]["a_1_0"]["advantages"]
    assert other.abs().sum() == pytest.approx(1.5 * 0.5**0.5, abs=1e-5)


def test_rollout_correction_is_applied_where_it_is_switched_on(queue: QueueDouble):
    on = configured(
        "algorithm.rollout_correction.rollout_is=token",
        "algorithm.rollout_correction.rollout_is_threshold=2.0",
    )
    metrics: dict[str, Any] = {}
    trainer(on)._compute_advantage(batch(queue, a=1), metrics)
    weights = queue.fields["train"]["a_0_0"]["rollout_is_weights"]
    assert weights.tolist() == pytest.approx([0.904837, 0.0, 1.0], abs=1e-5)
    assert "rollout_corr/kl" in metrics


def test_questions_are_known_by_uid_until_the_next_step(queue: QueueDouble):
    from verl.utils import tensordict_utils

    sent: list[TensorDict] = []
    made = trainer()
    workers = ["a", "b", "c"]
    made.agent_loop_manager = SimpleNamespace(
        generate_sequences=sent.append, agent_loop_workers=workers
    )
    messages = [[{"role": "user", "content": "Why?"}], [{"role": "user", "content": "How?"}]]
    rows = {"uid": ["u1", "u2"], "raw_prompt": messages, "index": torch.arange(2)}
    prompts: TensorDict = tensordict_utils.get_tensordict(rows)
    assert made._submit_batch_to_rollout(prompts) == 2
    assert made.replay_buffer.questions == {"u1": "Why?", "u2": "How?"}
    assert len(sent) == 1
    assert workers == ["c", "a", "b"], "the next prompt goes to the worker that had none"
    made.on_step_begin()
    assert made.replay_buffer.questions == {}


def test_a_refill_fetches_prompts_one_by_one(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("rl.learning.trainer.PPOTrainerSync._init_dataloader", lambda self: None)
    made = trainer(configured(groups={"refill": 2}))
    made._init_dataloader()
    assert made.config.data.gen_batch_size == 1


def test_metrics_of_a_step_count_trained_rows_and_all_rollouts(
    queue: QueueDouble, monkeypatch: pytest.MonkeyPatch
):
    for name in ("batch_metrics", "staleness_metrics"):
        monkeypatch.setattr(f"rl.learning.trainer.{name}", lambda *_: {})
    made, metrics = trainer(ranks=2), dict[str, Any]()
    made.resource_pool_manager = SimpleNamespace(get_n_gpus=lambda: 2)
    batch(queue, a=3, b=1)
    queue.rollout("c", 0, quality=0.5, total=0.8)
    queue.prompt("c", "finished")
    taken, found = made.replay_buffer.sample(global_steps=1, partition_id="train", batch_size=3)
    made.rollout_log.begin("c", 1, "How?", step=1)
    made.rollout_log.report("c", 1, "dropped", {"engine": 1})
    made._compute_metrics(made._balance_batch(taken, metrics), metrics, {}, 1, 0)
    assert found["oresearch/groups/left_out/too_few"] == 1.0
    assert metrics["oresearch/reward/total/mean"] == pytest.approx((0 + 1 + 0 + 1 + 0.8) / 5)
    assert metrics["oresearch/tokens/trained"] == 32.0
    assert metrics["oresearch/failures/engine"] == 1.0


def test_a_checkpoint_carries_the_protocol_it_was_trained_under(queue: QueueDouble, tmp_path: Path):
    made = trainer(configured(f"trainer.default_local_dir={tmp_path}"))
    made.train_dataloader = SimpleNamespace(state_dict=dict)
    made._save_checkpoint()
    assert made.actor_rollout_wg.saved == tmp_path / "global_step_1" / "actor"
    kept = read_fingerprint(made.actor_rollout_wg.saved)
    assert kept is not None
    assert kept.execution == "parallel"
    assert json.loads((tmp_path / "latest_checkpointed_iteration.txt").read_text()) == 1


def test_fixed_micro_batches_of_all_passes_have_to_fit():
    fixed = configured(
        "actor_rollout_ref.actor.use_dynamic_bsz=false",
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=2",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=3",
    )
    assert micro_batch_rows(fixed) == 6
    assert micro_batch_rows(configured()) == 1


def test_the_start_says_what_it_waits_for():
    made = trainer()
    del made.actor_rollout_wg
    assert made.waiting_for() == "tokenizer and data"
    made.train_dataloader = None
    assert made.waiting_for() == "worker processes"
    made.actor_rollout_wg = made.reward_loop_manager = None
    assert made.waiting_for() == "the inference engine"
    made.llm_server_manager = made.agent_loop_manager = None
    assert made.waiting_for() == "the first rollouts"
    made.replay_buffer.sampled = True
    assert made.waiting_for() is None
