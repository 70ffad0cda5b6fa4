"""The allow-list of what is learned: loss, advantage, correction of the engine's mismatch, reward.

A rollout is a number of rows that its threads make, and micro-batches are cut by tokens. So a
setting is right only if neither another split into rows nor another micro-batch changes the
gradient; tests/rl/test_row_invariance.py measures it through verl's own loss.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from rl.check.allowance import Allowance, by_value, number

if TYPE_CHECKING:
    from rl.check.problem import Launch

_ACTOR = "actor_rollout_ref.actor"
_CORRECTION = "algorithm.rollout_correction"
_INVARIANT = "tests/rl/test_row_invariance.py"
LOSS_MODES: Final = ("vanilla", "dppo_tv", "dppo_kl", "gpg", "dro", "cispo")
"""Each token's loss is its own; `agg_loss` sums them."""
LOSS_AGGREGATIONS: Final = ("token-mean", "token-sum", "seq-mean-token-sum",
                            "seq-mean-token-sum-norm")  # fmt: skip
_KL = ("kl", "k1", "abs", "mse", "k2", "low_var_kl", "k3")
KL_TYPES: Final = (*_KL, *(f"{name}+" for name in _KL))
REJECTIONS: Final = ("token_k1", "token_k2", "token_k3")
_CHECKPOINT: Final = ("model", "optimizer", "extra")
BY_ROW: Final = {
    "gspo": "weighs each token by the mean ratio of its row: rows split otherwise learn otherwise",
    "sapo": "averages within rows, loss_agg_mode or not: rows split otherwise learn otherwise",
    "geo_mean": "takes means over rows and micro-batches: either split otherwise learns otherwise",
    "clip_cov": "draws tokens at random in each micro-batch, by means over it: another micro-batch"
    " learns otherwise",
    "kl_cov": "picks tokens by rank in each micro-batch: another micro-batch learns otherwise",
    "bypass_mode": "rejects by rows and never computes the actor's own log-probabilities",
}


_QUOTES = "is below 1, where every ratio is cut; lower_upper is a number unless quoted: '\"0.5_2\"'"


def _scale(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if launch.get(f"{_ACTOR}.loss_agg_mode") != "seq-mean-token-sum-norm":
        return None if value is None else "is read by seq-mean-token-sum-norm only"
    if value is None:
        return "lets seq-mean-token-sum-norm divide by the width of each padded micro-batch"
    return number(0, above=True)(launch, value)


def _dro_beta(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if launch.get(f"{_ACTOR}.policy_loss.loss_mode") != "dro":
        return None if value is None else "is read by loss_mode=dro only"
    return number(0, above=True)(launch, value)


def _weight_threshold(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """As verl parses it: an upper bound, or `lower_upper`."""
    weighed = launch.get(f"{_CORRECTION}.rollout_is") is not None
    if value is None:
        return "switches rollout_is off without a word" if weighed else None
    bounds = _bounds(value)
    if bounds is None or len(bounds) > 2 or bounds != sorted(bounds):
        return ""
    return None if bounds[-1] >= 1 else _QUOTES


def _rejection(_: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    names = [name.strip() for name in str(value).split(",")]
    if value is None or all(name in REJECTIONS for name in names):
        return None
    if any(name.startswith("seq_") for name in names):
        return (
            "drops whole rows by their sum, mean or maximum: rows split otherwise learn otherwise"
        )
    return "is no criterion of verl 0.9.1: it raises after the first rollouts"


def _rejection_threshold(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    criteria = launch.get(f"{_CORRECTION}.rollout_rs")
    if criteria is not None and _rejection(launch, criteria):
        return None  # one line is enough
    if criteria is None:
        return None if value is None else "is read with rollout_rs only"
    names, parts = str(criteria).split(","), str(value).split(",")
    if value is None or len(parts) not in {1, len(names)}:
        return "is not one bound for all criteria of rollout_rs, nor one for each"
    for name, part in zip(names, parts * len(names) if len(parts) == 1 else parts, strict=True):
        bounds = _bounds(part)
        ratio = name.strip().endswith("k1")
        if bounds is None or len(bounds) > 1 + ratio or bounds != sorted(bounds):
            return ""
        if ratio and bounds[-1] < 1:
            return _QUOTES
    return None


def _bounds(value: object) -> list[float] | None:
    """The positive numbers of `lower_upper` or `upper`."""
    try:
        bounds = [float(part) for part in str(value).split("_")]
    except ValueError:
        return None
    return bounds if all(bound > 0 for bound in bounds) else None


def _whole(_: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """Nothing of a checkpoint is left out."""
    missing = [part for part in _CHECKPOINT if part not in (value or _CHECKPOINT)]
    if not missing:
        return None
    parts = {"model": "weights, while the base's are trained on", "optimizer": "moments",
             "extra": "learning rate and random numbers"}  # fmt: skip
    return f"leaves out {missing[0]}: a resume has not the run's {parts[missing[0]]}"


def _checkpoint(place: str, kinds: tuple[str, ...]) -> Iterator[Allowance]:
    """What is saved and what a resume reads."""
    manager = "utils/checkpoint/checkpoint_manager.py"
    whole = f"with {', '.join(f'`{part}`' for part in _CHECKPOINT)}"
    for setting, line in (("save_contents", 53), ("load_contents", 52)):
        yield Allowance(f"{place}.{setting}", (), "leaves something out",
            f"{{setting}}=[{','.join(_CHECKPOINT)}]", f"{manager}:{line} {setting}",
            whole, _whole, kinds=kinds)  # fmt: skip
    yield Allowance(f"{place}.save_lora_only", (False,),
        "leaves the base out, without which rl.export makes a model of no weights",
        "{setting}=false", f"{manager}:106 save_lora_only", kinds=kinds)  # fmt: skip


LEARNING: Final = (
    Allowance("trainer.use_v1", (True,),
        "takes one row per rollout, and threads mode returns a list of them",
        "{setting}=true", "trainer/main_ppo.py:183 use_v1"),
    Allowance("trainer.v1.trainer_mode", ("oresearch",),
        "cuts mini-batches by rows, so that optimizer steps grow with subtasks",
        "{setting}=oresearch", "trainer/ppo/v1/trainer_base.py:1829 ppo_mini_batch_size"),
    Allowance("algorithm.adv_estimator", ("rollout_grpo",),
        "takes each row for a member of the group: a rollout with more rows counts more, and a lone"
        " survivor has the raw reward for its advantage",
        "{setting}=rollout_grpo", "trainer/ppo/core_algos.py:304 scores"),
    Allowance("algorithm.norm_adv_by_std_in_grpo", (True, False), "is neither true nor false",
        "{setting}=true", "tests/rl/test_advantage.py"),
    Allowance("algorithm.use_kl_in_reward", (False,),
        "adds the KL to the reward row by row, which rollout_grpo does not read",
        f"{{setting}}=false {_ACTOR}.use_kl_loss=true", "tests/rl/test_trainer.py"),
    Allowance("algorithm.use_pf_ppo", (False,), "resamples rows, each taken for a rollout",
        "{setting}=false", "trainer/ppo/core_algos.py:2254 pf_ppo"),
    Allowance("algorithm.filter_groups.enable", (False,),
        "filters groups on the whole reward: those that differ in form only are trained on",
        "{setting}=false; oresearch.groups.tolerance filters on quality",
        "trainer/ppo/v1/trainer_base.py:187 filter_groups"),
    Allowance("trainer.critic_warmup", (0,), "leaves the actor as it is in the first steps",
        "{setting}=0", "trainer/ppo/v1/trainer_base.py:608 critic_warmup"),
    Allowance("critic.enable", (False, None), "trains a critic that rollout_grpo does not read",
        "{setting}=false", "tests/rl/test_trainer.py"),
    Allowance("distillation.enabled", (False,), "replaces the loss by a teacher's",
        "{setting}=false", "workers/engine_workers.py:640 distillation_ppo_loss"),
    Allowance("trainer.v1.sampler.custom_sampler.path", (None,),
        "would stand in for the buffer that judges groups, and this trainer does not load it",
        "{setting}=null", "tests/rl/test_replay_buffer.py"),
    Allowance("trainer.v1.sampler.sync_refill_failed_groups", (False,),
        "is not read by this trainer's buffer",
        "{setting}=false; oresearch.groups.refill asks for more questions",
        "tests/rl/test_replay_buffer.py"),
    Allowance("skip.rollout_tq.enable", (False,), "trains on rollouts of an earlier policy",
        "{setting}=false", "trainer/ppo/v1/trainer_base.py:1519 rollout_tq"),
    Allowance("skip.rollout.enable", (False,), "trains on rollouts of an earlier policy",
        "{setting}=false", "utils/skip/config.py:75 rollout"),
    Allowance("skip.async_rollout.enable", (False,), "trains on rollouts of an earlier policy",
        "{setting}=false", "utils/skip/config.py:75 rollout"),
    # The loss.
    Allowance(f"{_ACTOR}.policy_loss.loss_mode", LOSS_MODES,
        "learns otherwise where rows or micro-batches are split otherwise, or is not verl's",
        "{setting}=vanilla", _INVARIANT,
        test=by_value(BY_ROW, "is no loss of verl 0.9.1: it raises after the first rollouts")),
    Allowance(f"{_ACTOR}.policy_loss.dro_beta", (),
        "is no positive number, without which loss_mode=dro raises after the first rollouts",
        "{setting}=1.0 with dro, else null", "trainer/ppo/core_algos.py:2030 dro_beta",
        "with `loss_mode=dro` above 0, else `null`", _dro_beta),
    Allowance(f"{_ACTOR}.loss_agg_mode", LOSS_AGGREGATIONS,
        "averages within a row first: a rollout that was split into more rows weighs more",
        "{setting}=token-mean; oresearch.rollout_weight=equal for equal rollouts", _INVARIANT),
    Allowance(f"{_ACTOR}.loss_scale_factor", (), "is no positive number",
        "{setting}=16384 with seq-mean-token-sum-norm, else null",
        "trainer/ppo/core_algos.py:1191 loss_mask",
        "with `seq-mean-token-sum-norm` above 0, else `null`", _scale),
    Allowance(f"{_ACTOR}.clip_ratio", (), "is no number from 0 on", "{setting}=0.2", _INVARIANT,
        "from 0 on", number(0)),
    Allowance(f"{_ACTOR}.clip_ratio_low", (None,), "is no number from 0 on", "{setting}=0.2",
        _INVARIANT, "from 0 on", number(0)),
    Allowance(f"{_ACTOR}.clip_ratio_high", (None,), "is no number from 0 on", "{setting}=0.2",
        _INVARIANT, "from 0 on", number(0)),
    Allowance(f"{_ACTOR}.clip_ratio_c", (), "is not above 1: it raises after the first rollouts",
        "{setting}=3.0", "trainer/ppo/core_algos.py:1331 clip_ratio_c", "above 1",
        number(1, above=True)),
    Allowance(f"{_ACTOR}.entropy_coeff", (), "is no number from 0 on", "{setting}=0", _INVARIANT,
        "from 0 on", number(0)),
    Allowance(f"{_ACTOR}.use_kl_loss", (True, False), "is neither true nor false",
        "{setting}=false", _INVARIANT),
    Allowance(f"{_ACTOR}.kl_loss_coef", (), "is no number from 0 on", "{setting}=0.001", _INVARIANT,
        "from 0 on", number(0)),
    Allowance(f"{_ACTOR}.kl_loss_type", KL_TYPES,
        "is no estimate that verl 0.9.1 computes of sampled tokens: it raises after the first"
        " rollouts", "{setting}=low_var_kl", _INVARIANT),
    Allowance(f"{_ACTOR}.ppo_epochs", (), "is no whole number from 1 on", "{setting}=1", _INVARIANT,
        "whole, from 1 on", number(1, whole=True)),
    Allowance(f"{_ACTOR}.shuffle", (False,),
        "would tear a prompt's rows apart, and this trainer does not read it",
        "{setting}=false; data.shuffle=true shuffles prompts", "tests/rl/test_trainer.py"),
    Allowance(f"{_ACTOR}.optim.clip_grad", (), "is no positive number: the optimizer raises after"
        " the first rollouts", "{setting}=1.0",
        "workers/engine/fsdp/transformer_impl.py:795 clip_grad", "above 0", number(0, above=True)),
    Allowance(f"{_ACTOR}.grad_clip", (1.0,), "is read by nothing in verl 0.9.1",
        f"{{setting}}=1.0 {_ACTOR}.optim.clip_grad=…", "workers/config/optimizer.py:61 clip_grad"),
    # The optimizer, and what of it a resume goes on from.
    *(Allowance(f"{place}.{older}", (None,), f"is verl's older key, and takes the place of {newer}",
        f"{{setting}}=null {place}.{newer}=…", f"workers/config/optimizer.py:{line} {newer}",
        kinds=kinds)
      for place, kinds in ((f"{_ACTOR}.optim", ("grpo",)), ("optim", ("sft",)))
      for older, newer, line in (("grad_clip", "clip_grad", 61),
                                 ("warmup_style", "lr_scheduler_type", 122))),
    *(allowance
      for place, kinds in ((f"{_ACTOR}.checkpoint", ("grpo",)), ("checkpoint", ("sft",)))
      for allowance in _checkpoint(place, kinds)),
    Allowance(f"{_ACTOR}.checkpoint.async_save", (False,),
        "is not of FSDP, and has the trainer not write which checkpoint is the latest: a run that"
        " is started again begins anew",
        "{setting}=false", "trainer/ppo/v1/trainer_base.py:1012 async_save"),
    # What corrects for the difference between engine and actor.
    Allowance(f"{_CORRECTION}.rollout_is", (None, "token"),
        "learns otherwise where rows are split otherwise, or is not verl's",
        "{setting}=token", _INVARIANT,
        test=by_value({"sequence": "weighs by the product over a row: rows split otherwise learn"
            " otherwise"}, "is no level of verl 0.9.1: it raises after the first rollouts")),
    Allowance(f"{_CORRECTION}.rollout_is_threshold", (),
        "is neither a positive upper bound nor lower_upper", "{setting}=2.0",
        "trainer/ppo/rollout_corr_helper.py:93 threshold",
        'an upper bound from 1 on, or `"lower_upper"` in quotes', _weight_threshold),
    Allowance(f"{_CORRECTION}.rollout_is_batch_normalize", (True, False),
        "is neither true nor false", "{setting}=false", _INVARIANT),
    Allowance(f"{_CORRECTION}.rollout_rs", (None,),
        "learns otherwise where rows are split otherwise, or is not verl's",
        "{setting}=token_k1 or null", _INVARIANT,
        "`token_k1`, `token_k2`, `token_k3`, one or several with commas", _rejection),
    Allowance(f"{_CORRECTION}.rollout_rs_threshold", (),
        "is no positive bound (k1: lower_upper, too)", "{setting}=2.0",
        "trainer/ppo/rollout_corr_helper.py:132 thresholds",
        "with `rollout_rs` one bound, or one for each criterion; else `null`",
        _rejection_threshold),
    Allowance(f"{_CORRECTION}.bypass_mode", (False,),
        "never computes the actor's own log-probabilities: rollout_is is ignored, and no step can"
        " be stopped for what engine and actor differ by",
        "{setting}=false", "trainer/ppo/v1/trainer_base.py:1642 bypass"),
    Allowance(f"{_CORRECTION}.loss_type", ("ppo_clip",), "is read in bypass_mode only",
        "{setting}=ppo_clip", "trainer/ppo/core_algos.py:2484 loss_type"),
    # Who rewards.
    Allowance("reward.reward_model.enable", (False,),
        "replaces the reward of the rollouts by a model's, while theirs is still logged",
        "{setting}=false; oresearch.judge names a model",
        "trainer/ppo/v1/trainer_base.py:577 reward"),
    Allowance("reward.custom_reward_function.path", (None,),
        "rewards nothing: the reward is computed in the rollout, of its Trace",
        "{setting}=null; oresearch.reward weighs its terms", "tests/rl/test_agent_loop.py"),
    Allowance("reward.reward_manager.name", ("naive",),
        "rewards nothing: the reward is computed in the rollout, of its Trace",
        "{setting}=naive; oresearch.reward weighs its terms", "tests/rl/test_agent_loop.py"),
    Allowance("reward.reward_manager.source", ("register",),
        "rewards nothing: the reward is computed in the rollout, of its Trace",
        "{setting}=register", "tests/rl/test_agent_loop.py"),
    Allowance("reward.reward_manager.module.path", (None,),
        "rewards nothing: the reward is computed in the rollout, of its Trace",
        "{setting}=null", "tests/rl/test_agent_loop.py"),
    Allowance("reward.sandbox_fusion.url", (None,), "is read by no reward of ours",
        "{setting}=null", "tests/rl/test_agent_loop.py"),
    Allowance("reward_model.enable", (None, False),
        "is verl's older key of reward.reward_model.enable, and read by nothing here",
        "{setting}=null; oresearch.judge names a model",
        "experimental/reward_loop/reward_loop.py:41 legacy"),
    Allowance("reward_model.reward_manager", (None,),
        "is verl's older key of reward.reward_manager, and read by nothing here",
        "{setting}=null", "experimental/reward_loop/reward_loop.py:41 legacy"),
    Allowance("custom_reward_function.path", (None,),
        "is verl's older key of reward.custom_reward_function, and read by nothing here",
        "{setting}=null; oresearch.reward weighs its terms",
        "experimental/reward_loop/reward_loop.py:41 legacy"),
)  # fmt: skip
