"""The start-up rule of the allow-list: a setting of verl that changes what is learned, or what
computes it, is one that was shown to be right, or has verl's own value.

What is not on a list is not known: a setting that verl adds, or that a misspelling makes, is
refused until somebody has looked at it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from omegaconf import DictConfig, OmegaConf

from rl.check.allowance import ABSENT, Allowance, shown
from rl.check.engine_settings import TRAINING
from rl.check.learning_settings import LEARNING
from rl.check.problem import PLACES, Kind, Launch, Problem
from rl.check.rollout_settings import SAMPLING
from rl.check.upstream import verl_settings

ALLOWANCES: Final = (*LEARNING, *TRAINING, *SAMPLING)
_ACTOR = "actor_rollout_ref.actor"
_REF = "actor_rollout_ref.ref"
_ROLLOUT = "actor_rollout_ref.rollout"


def _below(section: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{section}.{name}" for name in names)


_FSDP = (
    "wrap_policy", "param_offload", "optimizer_offload", "offload_policy", "reshard_after_forward",
    "fsdp_size", "forward_prefetch", "use_orig_params", "seed", "full_determinism",
    "entropy_from_logits_with_chunking", "entropy_from_logits_chunk_size", "use_torch_compile",
    "entropy_checkpointing", "use_no_sync_for_gradient_accumulation", "pad_to_length",
    "pad_to_length_bucket",
)  # fmt: skip
_LOG_PROBS = ("log_prob_micro_batch_size_per_gpu", "log_prob_use_dynamic_bsz")
FREE: Final = (
    *_below("{model}", "path", "use_shm", "trust_remote_code", "enable_gradient_checkpointing",
        "enable_activation_offload", "use_remove_padding", "lora_rank", "lora_alpha",
        "target_modules", "target_parameters", "exclude_modules", "lora.merge", "use_liger",
        "override_config.rope_scaling", "override_config.rope_parameters"),
    *_below("{engine}", *_FSDP),
    *_below(_ACTOR, "optim", "checkpoint", "profiler", "ppo_mini_batch_size",
        "ppo_micro_batch_size_per_gpu", "use_dynamic_bsz", "ppo_max_token_len_per_gpu",
        "calculate_entropy", "use_torch_compile", "data_loader_seed",
        "entropy_from_logits_with_chunking", "entropy_from_logits_chunk_size",
        "entropy_checkpointing", "pad_to_length"),
    *_below(_REF, "profiler", "use_torch_compile", *_LOG_PROBS,
        "entropy_from_logits_with_chunking", "entropy_from_logits_chunk_size",
        "entropy_checkpointing", "pad_to_length"),
    *_below(f"{_REF}.fsdp_config", *_FSDP),
    *_below(_ROLLOUT, "n", "temperature", "seed", "gpu_memory_utilization", "enforce_eager",
        "cudagraph_capture_sizes", "free_cache_engine", "data_parallel_size",
        "expert_parallel_size", "pipeline_model_parallel_size", "max_num_batched_tokens",
        "max_model_len", "max_num_seqs", "enable_chunked_prefill", "enable_prefix_caching",
        "enable_sleep_mode", "scheduling_policy", "load_format", "layered_summon",
        "disable_log_stats", "val_kwargs", "router_config_path", "agent.num_workers",
        "agent.agent_loop_config_path", "checkpoint_engine.update_weights_bucket_megabytes",
        "trace", "profiler", "prometheus", "mtp", "qat", "disaggregation"),
    "actor_rollout_ref.nccl_timeout", "critic", "distillation", "skip", "reward.num_workers",
    *_below("reward", "reward_model", "custom_reward_function", "sandbox_fusion"),
    "trainer.v1.colocate_async", "trainer.v1.separate_async", "trainer.v1.sync",
    *_below("trainer.v1.sampler", "max_off_policy_threshold", "max_off_policy_strategy",
        "custom_sampler", "sampler_kwargs"),
)  # fmt: skip
"""Settings and whole sections that a run is free in: they cost time and memory, choose an optimizer
or what is saved, or belong to what is switched off above."""
SECTIONS: Final = {
    "grpo": ("actor_rollout_ref", "algorithm", "critic", "distillation", "reward", "reward_model",
             "custom_reward_function", "sandbox_fusion", "skip", "trainer.v1"),
    "sft": ("engine", "model"),
}  # fmt: skip
"""Where a setting that is neither allowed nor free keeps verl's own value."""


def settings_are_allowed(launch: Launch) -> Iterator[Problem]:
    """Each listed setting has a value that is right, every other one of its sections verl's own."""
    for allowance in ALLOWANCES:
        if launch.kind in allowance.kinds:
            yield from _refusal(launch, allowance)
    for path, value, default in unlisted(launch.config, launch.kind):
        yield _unknown(path, value, default, launch.kind)


def _refusal(launch: Launch, allowance: Allowance) -> Iterator[Problem]:
    setting = _placed(allowance.setting, launch.kind)
    if fault := allowance.fault(launch, _value(launch.config, setting)):
        fix = _placed(allowance.fix, launch.kind).replace("{setting}", setting)
        yield Problem(setting, fault, fix)


def _placed(text: str, kind: Kind) -> str:
    """A path or a fix with the places that model and engine have in this kind of training."""
    model, engine = PLACES[kind]
    return text.replace("{model}", model).replace("{engine}", engine)


def _value(config: DictConfig, path: str) -> Any:  # noqa: ANN401 - whatever YAML holds
    value = OmegaConf.select(config, path, default=ABSENT)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def listed_paths(kind: Kind) -> tuple[str, ...]:
    """Every setting and section that a list names."""
    names = [each.setting for each in ALLOWANCES if kind in each.kinds] + list(FREE)
    return tuple(_placed(name, kind) for name in names)


def unlisted(config: DictConfig, kind: Kind) -> Iterator[tuple[str, object, object]]:
    """Settings that no list names and whose value is not verl's: path, value, verl's value (ABSENT
    where verl's files have no such key)."""
    listed = listed_paths(kind)
    defaults = dict(_leaves(verl_settings(kind)))
    for section in SECTIONS[kind]:
        for path, value in _leaves(_value(config, section), section):
            if any(path == name or path.startswith(f"{name}.") for name in listed):
                continue
            default = _resolved(config, defaults.get(path, ABSENT))
            if value != default and not (default is ABSENT and value in (None, {})):
                yield path, value, default


def _leaves(part: object, path: str = "") -> Iterator[tuple[str, object]]:
    """The settings below a part, with their paths."""
    if isinstance(part, Mapping) and part:
        for name, value in part.items():
            yield from _leaves(value, f"{path}.{name}" if path else str(name))
    elif part is not ABSENT:
        yield path, part


def _resolved(config: DictConfig, default: object) -> object:
    """verl's value where it is another setting's: what that one is here."""
    if not isinstance(default, str) or not default.startswith("${"):
        return default
    inner = default.removeprefix("${").removesuffix("}")
    return OmegaConf.select(config, inner.removeprefix("oc.select:").partition(",")[0])


def _unknown(path: str, value: object, default: object, kind: Kind) -> Problem:
    if default is not ABSENT:
        return Problem(
            path,
            f"{shown(value)} is not verl's {shown(default)}, and nobody has shown that training is"
            " right with it",
            f"{path}={shown(default)}",
        )
    section, _, name = path.rpartition(".")
    siblings = {
        other.removeprefix(f"{section}.").partition(".")[0]
        for other in (*listed_paths(kind), *dict(_leaves(verl_settings(kind))))
        if other.startswith(f"{section}.")
    }
    near = get_close_matches(name, siblings, n=1)
    return Problem(
        path,
        f"{shown(value)} is set, and no such setting is known here"
        + (f": {section}.{near[0]} is" if near else ""),
        f"correct it to {section}.{near[0]}, or remove it" if near else "remove it",
    )
