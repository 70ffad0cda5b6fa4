"""The trainer: verl's synchronous V1 trainer, right for rollouts of several rows.

Registered with verl as `trainer.v1.trainer_mode: oresearch`. What differs from upstream: one
advantage per rollout (`advantage`), groups judged on quality (`replay_buffer`), optimizer steps set
by prompts (`groups`), the engine's and the actor's log-probabilities compared, what happened
to each rollout reported (`step_metrics`), the protocol beside each checkpoint, no update of a step
in which no row has an advantage. Written against verl 0.9.1, trainer/ppo/v1/trainer_base.py; the
names in comments are its.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, TypeVar

import torch
import transfer_queue as tq
from omegaconf import DictConfig, open_dict
from tensordict import TensorDict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.metric import reduce_metrics
from verl.utils.py_functional import rename_dict
from verl.utils.seqlen_balancing import log_seqlen_unbalance
from verl.workers.utils.padding import response_from_nested

from oresearch_graph.errors import ConfigurationError
from rl.learning.advantage import ESTIMATOR, row_advantages
from rl.learning.drops import warn_of_drops
from rl.learning.groups import MiniBatches, arrange, parse_row_key, plan_mini_batches
from rl.learning.mismatch import mismatch_bound, require_agreement
from rl.learning.replay_buffer import ResearchReplayBuffer
from rl.learning.sampled_tokens import (
    SampledTokens,
    batch_metrics,
    correct,
    log_prob_metrics,
    row_sums,
    staleness_metrics,
)
from rl.learning.step_metrics import mismatch, step_metrics, validation_metrics
from rl.rollouts.engine_client import ResearchLLMClient
from rl.rollouts.log import open_rollout_log
from rl.rows.fingerprint import training_protocol, write_fingerprint
from rl.settings import from_config

Worker = TypeVar("Worker")
MODE = "oresearch"
"""The value of `trainer.v1.trainer_mode`."""


@register_trainer(MODE)  # type: ignore[untyped-decorator, unused-ignore]
class ResearchTrainer(PPOTrainerSync):  # type: ignore[misc, unused-ignore]
    """GRPO over rollouts of the research graph. Raises ConfigurationError for what it cannot do."""

    replay_buffer: ResearchReplayBuffer

    def __init__(self, config: DictConfig) -> None:
        _refuse(config)
        self.settings = from_config(config)
        self.rollout_log = open_rollout_log()
        self.questions: dict[str, str] = {}
        self._keys: list[str] = []
        self._plan: MiniBatches | None = None
        self._compared = False
        self._teaching: set[str] | None = None
        super().__init__(config)

    def waiting_for(self) -> str | None:
        """What the start is at, by what `_setup` has made so far; None once rollouts came in.
        Read from another thread."""
        parts = vars(self)
        stages = {
            "train_dataloader": "tokenizer and data",
            "actor_rollout_wg": "worker processes",
            "reward_loop_manager": "the model's weights in the workers",
            "llm_server_manager": "the inference engine",
            "agent_loop_manager": "weights in the engine, and the agent loop workers",
        }
        for name, stage in stages.items():
            if name not in parts:
                return stage
        return None if self.replay_buffer.sampled else "the first rollouts"

    def _build_replay_buffer(self) -> ResearchReplayBuffer:
        # Upstream compares the mode with "sync" in many places; this trainer is synchronous.
        self.trainer_mode = "sync"
        sampler = self.config.trainer.v1.sampler
        return ResearchReplayBuffer(
            groups=self.settings.groups,
            seconds=self.settings.seconds.step,
            log=self.rollout_log,
            questions=self.questions,
            refill_fn=self._add_prompts_to_generate,
            trainer_mode=self.trainer_mode,
            trainer_config=self.config.trainer.v1.get(MODE, {}),
            max_off_policy_threshold=sampler.max_off_policy_threshold,
            max_off_policy_strategy=sampler.max_off_policy_strategy,
            sampler_kwargs=sampler.sampler_kwargs,
        )

    def _init_dataloader(self) -> None:
        if self.settings.groups.refill > 0:
            # A refill asks for single prompts; upstream fetches in units of gen_batch_size.
            with open_dict(self.config):
                self.config.data.gen_batch_size = 1
        super()._init_dataloader()

    def get_llm_client(self) -> ResearchLLMClient:
        client: ResearchLLMClient = self.llm_server_manager.get_client(client_cls=ResearchLLMClient)
        return client

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self.questions.clear()

    def _submit_batch_to_rollout(self, batch: TensorDict) -> int:
        for uid, messages in zip(list(batch["uid"]), list(batch["raw_prompt"]), strict=True):
            self.questions[str(_plain(uid))] = str(_plain(messages)[-1]["content"])
        submitted: int = super()._submit_batch_to_rollout(batch)
        # Upstream gives the first prompts to the first workers: refills of one all went to one.
        workers = self.agent_loop_manager.agent_loop_workers
        workers[:] = rotated(workers, submitted)
        return submitted

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        """Rows of the padded batch. Upstream pads to a multiple of this, so to exactly this."""
        keys, prompts = self._keys, self.config.actor_rollout_ref.actor.ppo_mini_batch_size
        self._plan = plan_mini_batches(keys, prompts, dp_size, micro_batch_rows(self.config))
        return self._plan.rows

    def _balance_batch(
        self,
        batch: KVBatchMeta,
        metrics: dict[str, Any],
        logging_prefix: str = "global_seqlen",
        keep_minibatch: bool = False,
    ) -> KVBatchMeta:
        self._keys, self._plan = list(batch.keys), None
        batch = super()._balance_batch(batch, metrics, logging_prefix, keep_minibatch)
        plan = self._planned(len(batch))
        # Upstream's order balances workers over the whole batch; ours does within each step.
        lengths = [int(tag["seq_len"]) for tag in batch.tags]
        shares = arrange(plan, batch.keys, lengths)
        metrics.update(log_seqlen_unbalance(lengths, shares, prefix=logging_prefix))
        batch.reorder([place for share in shares for place in share])
        metrics["oresearch/padding_rows"] = float(len(batch) - len(self._keys))
        return batch

    def _planned(self, rows: int) -> MiniBatches:
        """The plan of the batch at hand."""
        if self._plan is None or rows != self._plan.rows:
            raise RuntimeError(
                f"{rows} rows are not the batch that was planned: verl's _balance_batch changed; "
                "rl/learning/trainer.py is for verl 0.9.1"
            )
        return self._plan

    def _compute_old_log_prob(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        """As upstream, which pads all rows to the longest to log five numbers of them."""
        rollout, actor = self.config.actor_rollout_ref.rollout, self.config.actor_rollout_ref.actor
        batch.extra_info.update(
            {"calculate_entropy": True, "compute_loss": False, "temperature": rollout.temperature}
        )
        self.actor_rollout_wg.compute_log_prob(batch)
        fields = ["entropy", "log_probs", "response_mask", "rollout_log_probs"]
        nested = tq.kv_batch_get(batch.keys, batch.partition_id, select_fields=fields)
        mask = nested["response_mask"]
        written = {
            "old_log_probs": response_from_nested(nested["log_probs"], mask),
            "entropy": response_from_nested(nested["entropy"], mask),
        }
        rows = TensorDict(written, batch_size=len(batch))
        batch = tq.kv_batch_put(batch.keys, batch.partition_id, fields=rows)
        tokens = SampledTokens(mask)
        picked = {name: tokens.pick(value) for name, value in written.items()}
        engine = nested.get("rollout_log_probs", None)
        metrics.update(
            log_prob_metrics(
                tokens,
                picked["entropy"],
                picked["old_log_probs"],
                None if engine is None else tokens.pick(engine),
                actor,
            )
        )
        return batch

    def _compute_advantage(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        fields = ["response_mask", "rm_scores", "rollout_log_probs", "old_log_probs"]
        nested = tq.kv_batch_get(batch.keys, batch.partition_id, select_fields=fields)
        tokens = SampledTokens(nested["response_mask"])
        corrected = self._correct(tokens, nested, metrics)
        kept = corrected.get("response_mask", tokens.pick(nested["response_mask"]))
        counts = [int(row.sum()) for row in tokens.rows(kept)]
        advantages = row_advantages(
            row_sums(nested["rm_scores"]),
            counts,
            batch.keys,
            self.config.algorithm,
            rollout_weight=self.settings.rollout_weight,
        )
        muted = [parse_row_key(key).uid in self.replay_buffer.muted for key in batch.keys]
        # A difference within the tolerance would be divided by its own small deviation.
        advantages[torch.tensor(muted)] = 0.0
        pairs = zip(batch.keys, advantages.tolist(), counts, strict=True)
        self._teaching = {key for key, advantage, count in pairs if advantage and count}
        written = {name: tokens.spread(values) for name, values in corrected.items()}
        written["advantages"] = tokens.spread(tokens.repeated(advantages) * kept)
        written["returns"] = written["advantages"]
        rows = TensorDict(written, batch_size=len(batch))
        return tq.kv_batch_put(batch.keys, batch.partition_id, fields=rows)

    def _correct(
        self, tokens: SampledTokens, nested: TensorDict, metrics: dict[str, Any]
    ) -> dict[str, torch.Tensor]:
        """Compare engine and actor, and correct for the difference as upstream does where
        `algorithm.rollout_correction` says so; the fields it changed, of the sampled tokens."""
        if "rollout_log_probs" not in nested:
            return {}
        engine, actor = (
            tokens.pick(nested["rollout_log_probs"]),
            tokens.pick(nested["old_log_probs"]),
        )
        compared = mismatch(engine, actor)
        metrics.update(compared)
        self._require_agreement(compared)
        setting = self.config.algorithm.get("rollout_correction", None)
        if setting is None or not compared:
            return {}
        correction = correct(tokens, engine, actor, setting)
        metrics.update(correction.metrics)
        fields = {"response_mask": correction.kept, "rollout_is_weights": correction.weights}
        return {name: values for name, values in fields.items() if values is not None}

    def _require_agreement(self, compared: dict[str, float]) -> None:
        """In the first step of a start, before anything is learned from it."""
        name = "oresearch/mismatch/mean_log_prob_difference"
        if self._compared or name not in compared:
            return
        require_agreement(compared[name], mismatch_bound(self.config, self.settings.mismatch_bound))
        self._compared = True

    def _update_actor(self, batch: KVBatchMeta, metrics: dict[str, Any]) -> KVBatchMeta:
        plan, actor = self._planned(len(batch)), self.config.actor_rollout_ref.actor
        # Without an advantage momentum, weight decay and KL would move the weights all the same.
        teaching = set(batch.keys) if self._teaching is None else self._teaching
        sent = batch.select_keys(plan.without_muted(batch.keys, teaching))
        steps = len(sent) // (plan.ranks * plan.rows_per_rank)
        metrics["oresearch/muted_steps"] = float((plan.steps - steps) * actor.ppo_epochs)
        metrics["oresearch/optimizer_steps"] = float(steps * actor.ppo_epochs)
        if not steps:
            return batch
        rollouts = len({parse_row_key(key).rollout for key in self._keys})
        sent.extra_info.update(
            {
                "calculate_entropy": actor.calculate_entropy or actor.entropy_coeff != 0.0,
                "distillation_use_topk": False,
                "distillation_only": False,
                # The divisor of the seq-mean losses: rollouts of one step, not rows.
                "global_batch_size": math.ceil(rollouts / plan.steps),
                "num_mini_batch": steps,
                "epochs": actor.ppo_epochs,
                "seed": actor.data_loader_seed,
                # Shuffling rows would tear prompts apart; the sampler shuffles prompts.
                "dataloader_kwargs": {"shuffle": False},
                "temperature": self.config.actor_rollout_ref.rollout.temperature,
            }
        )
        output = self.actor_rollout_wg.update_actor(sent)
        actor_metrics = rename_dict(output["metrics"], "actor/")
        actor_metrics["perf/mfu/actor"] = actor_metrics.pop("actor/mfu")
        metrics.update(reduce_metrics(actor_metrics))
        return batch

    def _compute_metrics(
        self,
        batch: KVBatchMeta,
        metrics: dict[str, Any],
        timing_raw: dict[str, float],
        global_steps: int,
        epoch: int,
    ) -> None:
        """Upstream's lines without its matrices, and ours (`step_metrics`)."""
        fields = ["prompts", "responses", "response_mask", "advantages", "returns", "rm_scores",
                  "num_turns", "extra_fields"]  # fmt: skip
        data = tq.kv_batch_get(batch.keys, batch.partition_id, select_fields=fields)
        real = [not tag.get("is_padding", False) for tag in batch.tags]
        tags = [tag for tag, is_real in zip(batch.tags, real, strict=True) if is_real]
        metrics.update({"training/global_step": global_steps, "training/epoch": epoch})
        metrics.update(batch_metrics(data, real, timing_raw, self._get_n_gpus_for_throughput()))
        metrics.update(staleness_metrics(tags, global_steps))
        rows = [_plain(value) for value in compress(data["extra_fields"], real)]
        scores = [rollout.scores for rollout in self.replay_buffer.rollouts]
        sampled = [row.get("sampled_by", {}) for row in rows]
        records = [*self.replay_buffer.records, *self.rollout_log.drain()]
        metrics.update(step_metrics(scores, sampled, records))

    def _validate(self) -> dict[str, float]:
        metrics: dict[str, float] = super()._validate()
        records = self.rollout_log.drain(validate=True)
        warn_of_drops(records, "the validation")  # nothing is learned from it
        return {**metrics, **validation_metrics(records)}

    def _save_checkpoint(self) -> None:
        super()._save_checkpoint()
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        write_fingerprint(folder / "actor", training_protocol(self.settings.research_settings))


def rotated(workers: Sequence[Worker], prompts: int) -> list[Worker]:
    """The workers in the order in which the next prompts go to them, after so many."""
    at = prompts % len(workers)
    return [*workers[at:], *workers[:at]]


def micro_batch_rows(config: DictConfig) -> int:
    """Rows that a worker's mini-batch has to be a multiple of: where micro-batches have a fixed
    size, they must divide it (upstream: workers/engine/utils.py, `prepare_micro_batches`)."""
    part = config.actor_rollout_ref
    sizes = [
        (part.actor.use_dynamic_bsz, part.actor.ppo_micro_batch_size_per_gpu),
        (part.rollout.log_prob_use_dynamic_bsz, part.rollout.log_prob_micro_batch_size_per_gpu),
        (part.ref.log_prob_use_dynamic_bsz, part.ref.log_prob_micro_batch_size_per_gpu),
    ]
    return math.lcm(*(int(size) for dynamic, size in sizes if size and not dynamic))


def _plain(value: object) -> Any:  # noqa: ANN401 - verl's rows have no types
    """What a TensorDict wraps when it holds something that is not a tensor."""
    return getattr(value, "data", value)


def _refuse(config: DictConfig) -> None:
    """Settings that this trainer would silently read differently from verl's own."""
    estimator, critic = config.algorithm.adv_estimator, config.critic.enable
    if estimator != ESTIMATOR:
        raise ConfigurationError(
            f"algorithm.adv_estimator is {estimator!r}, which takes each row for a rollout; "
            f"set it to {ESTIMATOR!r}"
        )
    if critic:
        raise ConfigurationError("critic.enable is true; rollout_grpo has no critic: set it false")
    if config.algorithm.use_kl_in_reward:
        raise ConfigurationError(
            "algorithm.use_kl_in_reward adds to the reward row by row; set it to false and use "
            "actor_rollout_ref.actor.use_kl_loss"
        )
