"""The allow-list of what is trained and with what: the model, its attention, verl's FSDP engine.

A wrong one raises nothing: engine and actor compute two models, and the loss compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rl.check.allowance import BOTH, Allowance, Test, number

if TYPE_CHECKING:
    from rl.check.problem import Launch

_ACTOR = "actor_rollout_ref.actor"
_REF = "actor_rollout_ref.ref"
_ROLLOUT = "actor_rollout_ref.rollout"
_FLASH = ("flash_attention_2", "flash_attention_3")
_ATTENTION = (*_FLASH, "sdpa", "eager")
_FP32, _BF16, _FP16 = ("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")


def _attention(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """verl has rows exchanged between sequence-parallel ranks in flash attention alone."""
    if launch.on_cpu:  # `cpu_engine` speaks of it
        return None
    attention = "flash_attention_2" if value is None else str(value)
    start = f"means {attention}, which " if value is None else ""
    if attention not in _ATTENTION:
        return f"{start}is no attention that was tried with packed rows"
    if attention in _FLASH and launch.precision == "fp32":
        return f"{start}computes in 16 bits only, and the actor in fp32: it raises in every worker"
    if attention in _FLASH or launch.sequence_parallel == 1:
        return None
    return (
        f"does not exchange heads between the {launch.sequence_parallel} ranks of"
        " ulysses_sequence_parallel_size: each attends to its own slice of the row, and nothing"
        " raises"
    )


def _sequence_parallel(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    size = launch.sequence_parallel
    if value is None or size == 1 or launch.gpus % size:  # `ranks_divide` speaks of the GPUs
        return None
    if launch.on_cpu:
        return "needs flash attention, which runs on GPUs only"
    shape = launch.shape
    if shape is None or (
        shape.heads % size == 0 and (shape.kv_heads % size == 0 or size % shape.kv_heads == 0)
    ):
        return None
    return (
        f"does not divide the model's {shape.heads} attention heads, or neither divides the other"
        f" of its {shape.kv_heads} key-value heads: every worker raises"
    )


def _sequence_parallel_older(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if value in (1, launch.get(f"{_ACTOR}.ulysses_sequence_parallel_size", 1)):
        return None
    return ""


def _positions(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """A folder is written for `long_context` alone."""
    return None if value is None or launch.get("long_context", {}) else ""


def _fused(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """The kernel reads lm_head.weight, which FSDP2 has not gathered where lm_head is a unit of its
    own: in every model whose embeddings are not tied."""
    part = "engine" if launch.kind == "sft" else _ACTOR
    if not value or launch.get(f"{part}.strategy") != "fsdp2":
        return None
    return None if launch.shape and launch.shape.tied else ""


def _adapter(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """verl loads it where the older of its two ranks says that there are adapters at all."""
    if value is None:
        return None
    if not launch.get(f"{launch.model_key}.lora_rank", 0):
        return "is ignored with lora_rank=0, without a word: the base is trained, all of it"
    if launch.kind == "grpo" and launch.get(f"{_ACTOR}.use_kl_loss", False):
        return "is not in the reference of use_kl_loss, which is the base: their KL begins above 0"
    return None


def _as_model(name: str) -> Test:
    """What verl's worker takes from the model, whatever the actor has."""
    key = f"actor_rollout_ref.model.{name}"
    return lambda launch, value: None if bool(value) == bool(launch.get(key, False)) else ""


def _actor_strategy(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    return None if value in (None, launch.get(f"{_ACTOR}.strategy")) else ""


def _same_packing(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    return None if bool(value) == bool(launch.get(f"{_ACTOR}.use_dynamic_bsz", False)) else ""


def _micro_batch(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if value is None and launch.get(f"{_ACTOR}.use_dynamic_bsz", False):
        return None
    return number(1, whole=True)(launch, value)


def _holds_row(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    if not launch.get(f"{_ACTOR}.use_dynamic_bsz", False):
        return None
    if number(1, whole=True)(launch, value) is not None:
        return "is no whole number from 1 on"
    capacity = value * launch.sequence_parallel
    if capacity >= launch.row:
        return None
    return (
        f"× sequence parallel size {launch.sequence_parallel} = {capacity} cannot hold a row of"
        f" {launch.row} tokens: it raises after the first rollouts"
    )


def _reference_holds_row(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    packed = launch.get(f"{_REF}.log_prob_use_dynamic_bsz", False)
    used = launch.get(f"{_ACTOR}.use_kl_loss", False)
    return _holds_row(launch, value) if used and packed else None


def _reference_weights(launch: Launch, value: Any) -> str | None:  # noqa: ANN401 - YAML's
    """In 16 bits where the actor's are computed with in the same."""
    used = launch.get(f"{_ACTOR}.use_kl_loss", False)
    return "" if used and (value not in _BF16 or launch.precision != "bf16") else None


def _reference_precision(launch: Launch, _: object) -> str | None:
    from rl.learning.mismatch import compute_precision

    if not launch.get(f"{_ACTOR}.use_kl_loss", False):
        return None
    ref = compute_precision(launch.get(f"{_REF}.fsdp_config", {}))
    if ref == launch.precision:
        return None
    return (
        f"has the reference compute in {ref} and the actor in {launch.precision}: their KL is not 0"
        " where they are one"
    )


TRAINING: Final = (
    # The model and its attention.
    Allowance("{model}.override_config.attn_implementation", (),
        "was not tried, or has each sequence-parallel rank attend to its own slice of a row",
        "+{setting}=flash_attention_2 (bf16), or sdpa with ulysses_sequence_parallel_size=1",
        "models/transformers/monkey_patch.py:551 _ulysses_flash_attention_forward",
        "`flash_attention_2`, `flash_attention_3`; with `ulysses_sequence_parallel_size=1` also"
        " `sdpa`, `eager`", _attention, kinds=BOTH),
    Allowance("{model}.hf_config_path", (), "is read by actor and reference, and not by the engine",
        "{setting}=null, or long_context for positions", "tests/rl/test_configs.py",
        "with `long_context` a folder, else `null`", _positions, kinds=BOTH),
    Allowance("{model}.use_fused_kernels", (False,),
        "has every worker raise: FSDP2 shards lm_head by itself, and the kernel takes its weight"
        " without gathering it",
        "{setting}=false", "tests/rl/test_gpu_check.py",
        "with `strategy=fsdp` or tied embeddings also `true`", _fused, kinds=BOTH),
    Allowance("{model}.fused_kernel_options.impl_backend", ("torch", "triton"),
        "is no kernel of verl 0.9.1, which then computes plainly without a word",
        "{setting}=torch", "models/transformers/monkey_patch.py:249 fused_kernels_backend",
        kinds=BOTH),
    Allowance("{model}.tiled_mlp.enabled", (False,), "does not reach the FSDP engine",
        "{setting}=false", "workers/engine/fsdp/transformer_impl.py:324 apply_monkey_patch",
        kinds=BOTH),
    Allowance("{model}.mtp.enable", (False,), "trains heads that the loss does not see",
        "{setting}=false", "workers/config/model.py:30 MtpConfig", kinds=BOTH),
    Allowance("{model}.lora.rank", (0,),
        "reaches the engine and not the FSDP actor, which has no adapter then",
        "{setting}=0 {model}.lora_rank=…",
        "workers/engine/fsdp/transformer_impl.py:162 lora_rank", kinds=BOTH),
    Allowance("{model}.lora_adapter_path", (), "is not loaded", "{model}.lora_rank=… as it has it",
        "workers/engine/fsdp/transformer_impl.py:162 lora_rank",
        "with `lora_rank` a folder, without `use_kl_loss`; else `null`", _adapter, kinds=BOTH),
    # The engine that trains.
    Allowance(f"{_ACTOR}.strategy", ("fsdp2", "fsdp"), "was never tried with rows of threads",
        "{setting}=fsdp2", "tests/rl/test_training.py"),
    Allowance(f"{_ACTOR}.fsdp_config.strategy", (), "is overwritten by the actor's",
        f"{{setting}}=${{{_ACTOR}.strategy}}", "workers/config/actor.py:325 strategy",
        f"as `{_ACTOR}.strategy`", _actor_strategy),
    Allowance(f"{_ACTOR}.use_remove_padding", (), "is overwritten by the model's",
        "actor_rollout_ref.model.use_remove_padding=…",
        "workers/engine_workers.py:114 use_remove_padding", "as the model's",
        _as_model("use_remove_padding")),
    Allowance(f"{_ACTOR}.use_fused_kernels", (), "is overwritten by the model's",
        "actor_rollout_ref.model.use_fused_kernels=…",
        "workers/engine_workers.py:115 use_fused_kernels", "as the model's",
        _as_model("use_fused_kernels")),
    Allowance("{engine}.model_dtype", ("fp32", "float32"),
        "keeps weights in 16 bits, where a step of 1e-6 is rounded away",
        "{setting}=fp32; mixed precision computes in bf16 all the same",
        "tests/rl/test_row_invariance.py", kinds=BOTH),
    Allowance("{engine}.dtype", ("bfloat16",), "is read by nothing in verl's FSDP engine",
        "{setting}=bfloat16 +{engine}.mixed_precision.param_dtype=…",
        "workers/engine/fsdp/transformer_impl.py:392 mixed_precision", kinds=BOTH),
    Allowance("{engine}.mixed_precision.param_dtype", (*_BF16, *_FP32, *_FP16),
        "is no precision of verl 0.9.1", "{setting}=bf16", "utils/torch_dtypes.py:20 HALF",
        kinds=BOTH),
    Allowance("{engine}.mixed_precision.reduce_dtype", _FP32,
        "sums the gradients of all ranks in 16 bits", "{setting}=fp32",
        "workers/engine/fsdp/transformer_impl.py:394 reduce_dtype", kinds=BOTH),
    *(Allowance(f"{place}.mixed_precision.buffer_dtype", _FP32,
        "rounds the frequencies of positions under FSDP1, and the engine has them in full",
        "{setting}=fp32", "workers/engine/fsdp/transformer_impl.py:395 buffer_dtype", kinds=kinds)
      for place, kinds in (("{engine}", BOTH), (f"{_REF}.fsdp_config", ("grpo",)))),
    Allowance(f"{_REF}.fsdp_config.model_dtype", _FP32,
        "rounds the reference's weights, and the actor's are not: their KL is not 0 where they are"
        " one", "{setting}=fp32", "workers/engine/fsdp/transformer_impl.py:258 model_dtype",
        "without `use_kl_loss`, or where the actor computes in bf16, also `bf16`",
        _reference_weights),
    Allowance(f"{_REF}.fsdp_config.mixed_precision.param_dtype", (),
        "is not the actor's: their KL is not 0 where they are one", "{setting} as the actor's",
        "workers/engine/fsdp/transformer_impl.py:393 param_dtype", "the actor's",
        _reference_precision),
    Allowance("{engine}.forward_only", (False,), "trains nothing", "{setting}=false",
        "workers/engine/fsdp/transformer_impl.py:616 forward_only", kinds=BOTH),
    Allowance("{engine}.qat.enable", (False,), "computes with rounded weights",
        "{setting}=false", "workers/engine/fsdp/transformer_impl.py:176 QAT", kinds=BOTH),
    Allowance(f"{_ACTOR}.qat.enable", (False,), "computes with rounded weights",
        "{setting}=false", "workers/engine/fsdp/transformer_impl.py:176 QAT"),
    Allowance(f"{_ACTOR}.ulysses_sequence_parallel_size", (),
        "does not divide the model's heads: every worker raises", "a divisor of both heads, or 1",
        "models/transformers/monkey_patch.py:344 ulysses_sp_size",
        "a divisor of the model's heads; 1 on CPU", _sequence_parallel),
    Allowance(f"{_ACTOR}.fsdp_config.ulysses_sequence_parallel_size", (),
        "reaches the actor and not the reference",
        f"{_ACTOR}.ulysses_sequence_parallel_size=…, which sets both",
        "workers/config/actor.py:328 ulysses_sequence_parallel_size",
        f"1, or as `{_ACTOR}` has it", _sequence_parallel_older),
    Allowance("engine.ulysses_sequence_parallel_size", (),
        "does not divide the model's heads: every worker raises", "a divisor of both heads, or 1",
        "models/transformers/monkey_patch.py:344 ulysses_sp_size",
        "a divisor of the model's heads; 1 on CPU", _sequence_parallel, kinds=("sft",)),
    Allowance("engine.strategy", ("fsdp2", "fsdp"), "was never tried with traces",
        "{setting}=fsdp2", "tests/rl/test_training.py", kinds=("sft",)),
    Allowance(f"{_ACTOR}.ppo_micro_batch_size", (None,),
        "is verl's older key, by which batches are not filled up here",
        f"{{setting}}=null {_ACTOR}.ppo_micro_batch_size_per_gpu=…", "tests/rl/test_trainer.py"),
    Allowance(f"{_ACTOR}.use_prefix_grouper", (False,), "does not reach the FSDP engine",
        "{setting}=false", "workers/engine/fsdp/transformer_impl.py:324 apply_monkey_patch"),
    Allowance(f"{_ACTOR}.calculate_sum_pi_squared", (False,), "is read by no estimator of ours",
        "{setting}=false", "workers/engine/fsdp/transformer_impl.py:1343 calculate_sum_pi_squared"),
    Allowance(f"{_ROLLOUT}.log_prob_use_dynamic_bsz", (),
        f"is not what {_ACTOR}.use_dynamic_bsz is: every worker raises",
        f"{{setting}}=${{{_ACTOR}.use_dynamic_bsz}}",
        "workers/engine_workers.py:616 log_prob_use_dynamic_bsz",
        f"as `{_ACTOR}.use_dynamic_bsz`", _same_packing),
    Allowance(f"{_ROLLOUT}.log_prob_micro_batch_size", (None,),
        "is verl's older key: every worker asks for the one per GPU",
        f"{{setting}}=null {_ROLLOUT}.log_prob_micro_batch_size_per_gpu=…",
        "workers/engine_workers.py:636 log_prob_micro_batch_size_per_gpu"),
    Allowance(f"{_ROLLOUT}.log_prob_micro_batch_size_per_gpu", (),
        "is no whole number from 1 on: every worker raises", "{setting}=8",
        "workers/engine_workers.py:636 log_prob_micro_batch_size_per_gpu",
        "whole, from 1 on; with `use_dynamic_bsz` also `null`", _micro_batch),
    Allowance(f"{_ROLLOUT}.log_prob_max_token_len_per_gpu", (),
        "cannot hold a row: it raises after the first rollouts",
        f"{{setting}}=${{{_ACTOR}.ppo_max_token_len_per_gpu}}",
        "utils/seqlen_balancing.py:385 max_token_len",
        "times `ulysses_sequence_parallel_size` at least the longest row", _holds_row),
    Allowance(f"{_REF}.log_prob_micro_batch_size", (None,),
        "is verl's older key, by which batches are not filled up here",
        f"{{setting}}=null {_REF}.log_prob_micro_batch_size_per_gpu=…", "tests/rl/test_trainer.py"),
    Allowance(f"{_REF}.log_prob_max_token_len_per_gpu", (),
        "cannot hold a row: it raises after the first rollouts",
        f"{{setting}}=${{{_ACTOR}.ppo_max_token_len_per_gpu}}",
        "utils/seqlen_balancing.py:385 max_token_len",
        "with `use_kl_loss` as of the rollout", _reference_holds_row),
)  # fmt: skip
