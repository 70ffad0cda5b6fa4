"""verl's own opinion of a configuration, asked before any worker starts.

verl validates in its workers, minutes later and many at once, and does not notice a key that
nothing reads. Here its dataclasses are built from the composed YAML, and the sections that have no
dataclass are compared with verl's own files.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from typing import Any, Final

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import omega_conf_to_dataclass, validate_config
from verl.workers.config import HFModelConfig

from rl.check.problem import Kind, Launch, Problem

_MOST_LORA_RANK: Final = 512
"""verl/workers/rollout/vllm_rollout/utils.py, get_vllm_max_lora_rank."""

_FAULTS = (
    InstantiationException, OmegaConfBaseException, AssertionError, ValueError, TypeError,
    NotImplementedError,
)  # fmt: skip

_GRPO_PARTS: Final = ("actor_rollout_ref.actor", "actor_rollout_ref.rollout", "algorithm")
_SFT_PARTS: Final = ("engine", "optim", "checkpoint", "profiler")
_LOOSE: Final[dict[Kind, tuple[str, ...]]] = {
    "grpo": ("trainer", "data", "reward", "transfer_queue"),
    "sft": ("trainer", "data"),
}
"""Sections that no dataclass is built of at the start: verl reads what it knows and ignores the
rest."""

_OURS: Final[dict[Kind, frozenset[str]]] = {
    "grpo": frozenset(("oresearch", "long_context")),
    "sft": frozenset((
        "oresearch", "long_context", "data.oresearch", "data.rows", "data.allow_extractive",
        "data.allow_repaired", "data.outcomes",
    )),
}  # fmt: skip


def validate_upstream(config: DictConfig, kind: Kind) -> list[Problem]:
    """What verl's dataclasses and its own validation refuse, and keys that it does not know."""
    problems = [
        *_unknown_keys(config, kind),
        *_unbuildable(config, kind),
        *_model_keys(config, kind),
    ]
    if kind == "grpo" and not problems:
        problems += _own_validation(config)
    return problems


def upstream_agrees(launch: Launch) -> Iterator[Problem]:
    """verl would accept the configuration."""
    yield from validate_upstream(launch.config, launch.kind)


def _unbuildable(config: DictConfig, kind: Kind) -> Iterator[Problem]:
    for key in _GRPO_PARTS if kind == "grpo" else _SFT_PARTS:
        yield from _build(key, OmegaConf.select(config, key))
    if kind == "grpo":
        yield from _build("actor_rollout_ref.ref", _reference(config))
        correction = OmegaConf.create(config.algorithm.rollout_correction)
        correction["_target_"] = "verl.trainer.config.RolloutCorrectionConfig"
        yield from _build("algorithm.rollout_correction", correction)


def _build(key: str, part: DictConfig) -> Iterator[Problem]:
    try:
        omega_conf_to_dataclass(part)
    except _FAULTS as error:
        yield Problem(key, _reason(error), "correct the key; verl's own file names what there is")


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    return " ".join(str(cause).split())[:300]


def _reference(config: DictConfig) -> DictConfig:
    """The reference's section as a worker renames it (verl/workers/engine_workers.py)."""
    ref = OmegaConf.create(OmegaConf.to_container(config.actor_rollout_ref.ref))
    with open_dict(ref):
        ref.ppo_mini_batch_size = config.actor_rollout_ref.actor.ppo_mini_batch_size
        ref.ppo_micro_batch_size = ref.pop("log_prob_micro_batch_size", None)
        per_gpu = ref.pop("log_prob_micro_batch_size_per_gpu", None)
        ref.use_dynamic_bsz = ref.pop("log_prob_use_dynamic_bsz", False)
        # A reference is only built when it is used; without one verl leaves this unset.
        ref.ppo_micro_batch_size_per_gpu = per_gpu or (None if ref.use_dynamic_bsz else 1)
        ref.ppo_max_token_len_per_gpu = ref.pop("log_prob_max_token_len_per_gpu", None)
    return ref


def _model_keys(config: DictConfig, kind: Kind) -> Iterator[Problem]:
    """HFModelConfig reads the model's folder as it is built; its names are enough."""
    key = "actor_rollout_ref.model" if kind == "grpo" else "model"
    names = {field.name for field in fields(HFModelConfig)}
    for name in OmegaConf.select(config, key):
        if name not in names and name != "_target_":
            yield _unknown(f"{key}.{name}")


def _own_validation(config: DictConfig) -> list[Problem]:
    config = OmegaConf.create(OmegaConf.to_container(config))
    model = config.actor_rollout_ref.model
    if (rank := max(model.lora_rank, model.lora.rank)) > _MOST_LORA_RANK:
        key = "actor_rollout_ref.model.lora_rank"
        return [Problem(key, f"{rank} is more than vLLM serves", f"{key}={_MOST_LORA_RANK}")]
    # verl loads vLLM to say the same of the rank; this takes 10 s and needs vLLM's GPU build.
    model.lora_rank = model.lora.rank = 0
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            validate_config(
                config=config,
                use_reference_policy=need_reference_policy(config),
                use_critic=need_critic(config),
            )
    except _FAULTS as error:
        return [Problem("verl", _reason(error), "as the message says")]
    return []


def _unknown_keys(config: DictConfig, kind: Kind) -> Iterator[Problem]:
    upstream, ours = verl_settings(kind), _OURS[kind]
    for name in config:
        if name not in upstream and name not in ours:
            yield _unknown(str(name))
    for section in _LOOSE[kind]:
        yield from _unknown_in(config[section], upstream[section], section, ours)


def _unknown_in(
    part: DictConfig, upstream: dict[str, Any], path: str, ours: frozenset[str]
) -> Iterator[Problem]:
    for name in part:
        key = f"{path}.{name}"
        if key in ours or key == "data.apply_chat_template_kwargs":
            continue
        if name not in upstream:
            yield _unknown(key)
        elif isinstance(upstream[name], dict) and upstream[name] and OmegaConf.is_dict(part[name]):
            yield from _unknown_in(part[name], upstream[name], key, ours)


def _unknown(key: str) -> Problem:
    return Problem(key, "verl 0.9.1 knows no such key and would ignore it", "correct or remove it")


@cache
def verl_settings(kind: Kind) -> dict[str, Any]:
    """verl's own configuration, untouched: what refers to another setting still does."""
    from hydra import compose, initialize_config_module

    name = "ppo_trainer" if kind == "grpo" else "sft_trainer_engine"
    with initialize_config_module("verl.trainer.config", version_base=None):
        container = OmegaConf.to_container(compose(name), resolve=False)
    return {str(key): value for key, value in dict(container).items()}  # type: ignore[arg-type, unused-ignore]
