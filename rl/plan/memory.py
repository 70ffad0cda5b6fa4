"""What a run takes of each GPU and of each machine's own memory, in bytes: an estimate to see by
what it is off, not by how much.

FSDP shards weights, gradients and AdamW's two moments evenly. Activations are counted with gradient
checkpointing: one hidden state a layer, and one layer in full while it is recomputed. Lines of verl
0.9.1 that figures rest on stand beside them.

Not counted: the index of a tool service, which is as large as its documents; the page cache of
weights that are read; Ray's object store where its size is not set, for next to nothing is in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import torch

from rl.check.model_shape import ModelShape
from rl.check.problem import Launch, Problem
from rl.learning.sampled_tokens import DRIVER_BYTES

GIB: Final = 2**30
SUPPOSED_GPU: Final = 80 * GIB
_RECOMPUTED: Final = 16
"""Hidden states that one layer holds while it is recomputed, its MLP apart."""
_QUEUED: Final = 28, 48
"""In the queue, of each token (ids twice, positions, the actor's log-probability) and of each token
of a response besides (two masks, and eight numbers of 4 bytes)."""
_PROCESS: Final = GIB
"""Of one process: 0.6 GiB measured with torch, verl and vLLM imported, and what CUDA adds."""
_CGROUP: Final = Path("/sys/fs/cgroup/memory.max")


class Memory(NamedTuple):
    """Bytes on one GPU. The reference is not among them: its weights are on the CPU whatever is set
    (workers/engine/fsdp/transformer_impl.py:432 and 459)."""

    state: int
    """Weights, gradients and moments of the actor while it learns."""
    activations: int
    resident: int
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
        return self.state + self.activations

    @property
    def rolling_out(self) -> int:
        return self.resident + self.engine_weights + self.cache


def memory(launch: Launch, shape: ModelShape, gpu: int | None = None) -> Memory:
    """The estimate for one GPU of the run. `gpu`: its bytes, if not this machine's."""
    gpu, actor = gpu or _gpu_bytes(), "actor_rollout_ref.actor.fsdp_config"
    offloaded = bool(launch.get(f"{actor}.param_offload", False))
    moments = 0 if launch.get(f"{actor}.optimizer_offload", False) else 2
    weights = 0 if offloaded else 1
    resident = (weights * shape.parameters + moments * _trainable(launch, shape)) * 4 // launch.gpus
    tensor = int(launch.get("actor_rollout_ref.rollout.tensor_model_parallel_size", 1))
    caches = launch.whole("actor_rollout_ref.rollout.data_parallel_size", 1)
    width = 4 if launch.get("actor_rollout_ref.rollout.dtype") == "float32" else 2
    engine = shape.parameters * width // tensor
    cache = _cache_bytes(launch, gpu, engine)
    each_token = shape.kv_bytes * width // 2 // tensor
    return Memory(
        state=_state(launch, shape),
        activations=_activations(launch, shape),
        resident=resident,
        engine_weights=engine,
        cache=cache,
        cache_tokens=caches * (cache // max(1, each_token)),
        gpu=gpu,
    )


def _gpu_bytes() -> int:
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    return SUPPOSED_GPU


def _lora_rank(launch: Launch) -> int:
    return int(launch.get("actor_rollout_ref.model.lora_rank", 0))


def _trainable(launch: Launch, shape: ModelShape) -> int:
    """Parameters that have gradients and moments."""
    rank = _lora_rank(launch)
    return shape.lora_parameters(rank) if rank else shape.parameters


def _state(launch: Launch, shape: ModelShape) -> int:
    """fp32: weights, gradients, two moments; one layer gathered in 2 bytes, and the next."""
    shards = (shape.parameters + 3 * _trainable(launch, shape)) * 4 // launch.gpus
    return shards + 2 * max(shape.layer_parameters, shape.embedding_parameters) * 2


def _activations(launch: Launch, shape: ModelShape) -> int:
    actor = "actor_rollout_ref.actor"
    if launch.get(f"{actor}.use_dynamic_bsz", False):
        tokens = int(launch.get(f"{actor}.ppo_max_token_len_per_gpu", 0))
    else:
        tokens = launch.row * int(launch.get(f"{actor}.ppo_micro_batch_size_per_gpu", 1))
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


class Tokens(NamedTuple):
    """Of one step, in all rows."""

    all: int
    responses: int
    sampled: int


class HostMemory(NamedTuple):
    """Bytes of the machine that takes most: weights are loaded on it, and the driver is there."""

    loading: int
    """The whole model in fp32: the first rank's alone, or each rank's where embeddings are tied
    (workers/engine/fsdp/transformer_impl.py:266, utils/fsdp_utils.py:64)."""
    actor: int
    """Its weights and moments where they are offloaded; all of it where there is no GPU."""
    reference: int
    engine: int
    """The weights that a sleeping engine keeps: with adapters, whose sleep is of level 1
    (workers/rollout/vllm_rollout/vllm_async_server.py:1303); all of it where there is no GPU."""
    queue: int
    """A step's rows, in the processes of TransferQueue; its units are spread over the machines."""
    driver: int
    """A step's tokens, in the trainer."""
    processes: int
    object_store: int
    machine: int | None
    """What there is; None where the run is not on this machine."""

    @property
    def starting(self) -> int:
        """The reference is built first, the actor beside it (workers/engine_workers.py:542)."""
        return self.loading + self.reference + self.processes + self.object_store

    @property
    def running(self) -> int:
        state = self.actor + self.reference + self.engine
        return state + self.queue + self.driver + self.processes + self.object_store

    @property
    def most(self) -> int:
        return max(self.starting, self.running)


def host_memory(launch: Launch, shape: ModelShape, device: Memory, tokens: Tokens) -> HostMemory:
    """The estimate for one machine. `device` is that of its GPUs."""
    nodes, ranks = launch.whole("trainer.nnodes", 1), launch.whole("trainer.n_gpus_per_node", 1)
    units = launch.whole("transfer_queue.backend.SimpleStorage.num_data_storage_units", 8)
    here = -(-units // nodes)
    queued = _QUEUED[0] * tokens.all + _QUEUED[1] * tokens.responses
    weights = _pinned(shape, launch.gpus) * ranks
    actor, reference, engine = 0, 0, 0
    if not _lora_rank(launch) and launch.get("actor_rollout_ref.actor.use_kl_loss", False):
        reference = weights
    if launch.on_cpu:
        actor = ranks * device.learning
        engine = ranks * (device.engine_weights + device.cache)
    else:
        actor = _offloaded(launch, shape, weights)
        if _lora_rank(launch) and launch.get("actor_rollout_ref.rollout.free_cache_engine", True):
            engine = ranks * device.engine_weights
    return HostMemory(
        loading=shape.parameters * 4 * (ranks if shape.tied else 1),
        actor=actor,
        reference=reference,
        engine=engine,
        queue=queued * here // units,
        driver=DRIVER_BYTES[0] * tokens.responses + DRIVER_BYTES[1] * tokens.sampled,
        processes=_processes(launch, ranks, nodes, here) * _PROCESS,
        object_store=launch.whole("ray_kwargs.ray_init.object_store_memory", 0),
        machine=_machine_bytes() if _is_here(launch) else None,
    )


def _offloaded(launch: Launch, shape: ModelShape, weights: int) -> int:
    """Weights and moments of the actor while the engine works (utils/fsdp_utils.py:209 and 249)."""
    config = "actor_rollout_ref.actor.fsdp_config"
    size = weights if launch.get(f"{config}.param_offload", False) else 0
    if launch.get(f"{config}.optimizer_offload", False):
        adapters = 8 * _trainable(launch, shape) // launch.whole("trainer.nnodes", 1)
        size += adapters if _lora_rank(launch) else 2 * weights
    return size


def _pinned(shape: ModelShape, ranks: int) -> int:
    """One rank's shards of the weights in fp32. torch rounds each tensor of pinned memory up to a
    power of two (ATen/core/CachingHostAllocator.h)."""
    queries, keys = (
        shape.hidden * shape.heads * shape.head,
        shape.hidden * shape.kv_heads * shape.head,
    )
    layer = 2 * [queries, keys] + 3 * [shape.hidden * shape.mlp]
    ends = [shape.embedding_parameters] * (1 if shape.tied else 2)
    sizes = [4 * -(-count // ranks) for count in (*layer * shape.layers, *ends)]
    return sum(1 << (size - 1).bit_length() for size in sizes)


def _processes(launch: Launch, ranks: int, nodes: int, units: int) -> int:
    """Of a machine: ranks, the engine's workers and its servers, agent loops, the queue; the driver
    and the job's own actors."""
    tensor = launch.whole("actor_rollout_ref.rollout.tensor_model_parallel_size", 1)
    loops = launch.whole("actor_rollout_ref.rollout.agent.num_workers", 8)
    return 2 * ranks + max(1, ranks // tensor) + -(-loops // nodes) + units + 3


def _is_here(launch: Launch) -> bool:
    """Whether the run's one machine is this one."""
    one = not launch.on_cluster and launch.whole("trainer.nnodes", 1) == 1
    return one and (launch.on_cpu or torch.cuda.is_available())


def _machine_bytes() -> int:
    """What this process may have of its machine."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = _CGROUP.read_text("ascii").strip() if _CGROUP.is_file() else ""
    return min(whole, int(limit)) if limit.isdecimal() else whole


def host_notices(host: HostMemory | None) -> Iterator[Problem]:
    """A notice where this machine has less than the run takes."""
    if host is None or host.machine is None or host.most <= host.machine:
        return
    yield Problem(
        "memory, host",
        f"{gib(host.most)} are more than the {gib(host.machine)} of this machine: Linux would end"
        " the largest process, without a word of the run",
        "offload less, lower data.train_batch_size or actor_rollout_ref.rollout.n, or take more"
        " machines",
        refused=False,
    )


def gib(size: int) -> str:
    """Bytes for people."""
    return f"{size / GIB:.1f} GiB"
