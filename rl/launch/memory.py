"""What a run takes of each GPU, in bytes: an estimate to see by what it is off, not by how much.

FSDP shards weights, gradients and AdamW's two moments evenly. Activations are counted with
gradient checkpointing: one hidden state a layer, and one layer in full while it is recomputed.
"""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import torch

from rl.launch.model_shape import ModelShape
from rl.launch.problem import Launch

GIB: Final = 2**30
_SUPPOSED_GPU: Final = 80 * GIB
_RECOMPUTED: Final = 16
"""Hidden states that one layer holds while it is recomputed, its MLP apart."""


class Memory(NamedTuple):
    """Bytes on one GPU."""

    state: int
    """Weights, gradients and moments of the actor while it learns."""
    reference: int
    activations: int
    kept: int
    """What stays on the GPU while the engine works."""
    engine_weights: int
    cache: int
    """For keys and values."""
    cache_tokens: int
    """Of one engine replica."""
    gpu: int
    """What there is; 80 GiB supposed where this machine has no GPU."""

    @property
    def learning(self) -> int:
        return self.state + self.reference + self.activations

    @property
    def rolling_out(self) -> int:
        return self.kept + self.engine_weights + self.cache


def memory(launch: Launch, shape: ModelShape) -> Memory:
    """The estimate for one GPU of the run."""
    gpu, actor = _gpu_bytes(), "actor_rollout_ref.actor.fsdp_config"
    state = _state(launch, shape)
    offloaded = bool(launch.get(f"{actor}.param_offload", False))
    moments = 0 if launch.get(f"{actor}.optimizer_offload", False) else 2
    weights = 0 if offloaded else 1
    kept = (weights * shape.parameters + moments * _trained(launch, shape)) * 4 // launch.gpus
    tensor = int(launch.get("actor_rollout_ref.rollout.tensor_model_parallel_size", 1))
    width = 4 if launch.get("actor_rollout_ref.rollout.dtype") == "float32" else 2
    engine = shape.parameters * width // tensor
    cache = _cache_bytes(launch, gpu, engine)
    each_token = shape.kv_bytes * width // 2 // tensor
    return Memory(
        state=state,
        reference=_reference(launch, shape),
        activations=_activations(launch, shape),
        kept=kept,
        engine_weights=engine,
        cache=cache,
        cache_tokens=cache // max(1, each_token),
        gpu=gpu,
    )


def _gpu_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return _SUPPOSED_GPU


def _trained(launch: Launch, shape: ModelShape) -> int:
    """Parameters that have gradients and moments."""
    rank = int(launch.get("actor_rollout_ref.model.lora_rank", 0))
    return shape.lora_parameters(rank) if rank else shape.parameters


def _state(launch: Launch, shape: ModelShape) -> int:
    """fp32: weights, gradients, two moments; one layer gathered in 2 bytes, and the next."""
    shards = (shape.parameters + 3 * _trained(launch, shape)) * 4 // launch.gpus
    return shards + 2 * max(shape.layer_parameters, shape.embedding_parameters) * 2


def _reference(launch: Launch, shape: ModelShape) -> int:
    rank = int(launch.get("actor_rollout_ref.model.lora_rank", 0))
    if rank or not launch.get("actor_rollout_ref.actor.use_kl_loss", False):
        return 0
    offloaded = launch.get("actor_rollout_ref.ref.fsdp_config.param_offload", False)
    return 0 if offloaded else shape.parameters * 4 // launch.gpus


def _activations(launch: Launch, shape: ModelShape) -> int:
    actor = "actor_rollout_ref.actor"
    if launch.get(f"{actor}.use_dynamic_bsz", False):
        tokens = int(launch.get(f"{actor}.ppo_max_token_len_per_gpu", 0))
    else:
        row = int(launch.get("data.max_prompt_length")) + int(
            launch.get("data.max_response_length")
        )
        tokens = row * int(launch.get(f"{actor}.ppo_micro_batch_size_per_gpu", 1))
    states = (
        1
        if launch.get("actor_rollout_ref.model.enable_gradient_checkpointing", True)
        else (_RECOMPUTED + 3 * shape.mlp // shape.hidden)
    )
    layer = tokens * (_RECOMPUTED * shape.hidden + 3 * shape.mlp) * 2
    fused = launch.get("actor_rollout_ref.model.use_fused_kernels", False)
    logits = 0 if fused else tokens * shape.vocabulary * 6
    return tokens * shape.hidden * 2 * shape.layers * states + layer + logits


def _cache_bytes(launch: Launch, gpu: int, engine: int) -> int:
    if launch.on_cpu:
        return int(float(os.environ.get("VLLM_CPU_KVCACHE_SPACE", "4")) * GIB)
    share = float(launch.get("actor_rollout_ref.rollout.gpu_memory_utilization", 0.5))
    return max(0, round(gpu * share) - engine)
