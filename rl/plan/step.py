"""The plan of a run, as `--dry-run` shows it: what one step consists of, and what it takes of each
GPU, in bytes: an estimate to see by what it is off, not by how much.

Every figure is a worst case of the configuration: all subtasks used, all steps taken, every text
as long as it may be. A policy that ends early costs less. FSDP shards weights, gradients and
AdamW's two moments evenly. Activations are counted with gradient checkpointing: one hidden state a
layer, and one layer in full while it is recomputed. The model's sizes are read from its folder, or
known by name.
"""

from __future__ import annotations

import math
import os
from typing import Final, NamedTuple

import torch
from omegaconf import DictConfig
from rich.table import Table

from rl.check.lengths import ThreadBudget, opening_tokens, thread_budgets
from rl.check.model_shape import ModelShape, model_shape
from rl.check.problem import Launch
from rl.plan.admission import rollouts_at_once
from rl.plan.services import ServicePlan, service_lines, service_plan
from rl.settings import from_config

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
        return self.state + self.reference + self.activations

    @property
    def rolling_out(self) -> int:
        return self.resident + self.engine_weights + self.cache


def memory(launch: Launch, shape: ModelShape) -> Memory:
    """The estimate for one GPU of the run."""
    gpu, actor = _gpu_bytes(), "actor_rollout_ref.actor.fsdp_config"
    state = _state(launch, shape)
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
        state=state,
        reference=_reference(launch, shape),
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
    return _SUPPOSED_GPU


def _trainable(launch: Launch, shape: ModelShape) -> int:
    """Parameters that have gradients and moments."""
    rank = int(launch.get("actor_rollout_ref.model.lora_rank", 0))
    return shape.lora_parameters(rank) if rank else shape.parameters


def _state(launch: Launch, shape: ModelShape) -> int:
    """fp32: weights, gradients, two moments; one layer gathered in 2 bytes, and the next."""
    shards = (shape.parameters + 3 * _trainable(launch, shape)) * 4 // launch.gpus
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


class LaunchPlan(NamedTuple):
    """One training step, at most."""

    prompts: int
    rollouts: int
    rows: int
    threads: list[ThreadBudget]
    tokens: int
    """In all rows, prompts included."""
    sampled: int
    """By the policy."""
    requests: int
    """Continuations asked of the engine."""
    optimizer_steps: int
    replicas: int
    """Engines."""
    rollouts_at_once: int
    """Of one worker."""
    data_parallel: int
    sequence_parallel: int
    tensor_parallel: int
    gpus: int
    shape: ModelShape | None
    memory: Memory | None
    row: int
    """Tokens that the longest row may have."""
    services: ServicePlan
    """What is asked of judge and tools."""


def launch_plan(config: DictConfig) -> LaunchPlan:
    """Count one step of a checked configuration."""
    launch = Launch(config, "grpo", from_config(config), dry_run=True)
    threads = thread_budgets(launch.settings, opening_tokens(launch))
    limits, turn = launch.research.limits, launch.settings.turn_tokens
    prompts = int(launch.get("data.train_batch_size"))
    rollouts = prompts * int(launch.get("actor_rollout_ref.rollout.n", 1))
    rows = 1 if len(threads) == 1 else limits.subtasks + 2
    tokens = sum(budget.total * _times(budget, limits.subtasks) for budget in threads)
    tensor = int(launch.get("actor_rollout_ref.rollout.tensor_model_parallel_size", 1))
    mini, epochs = (
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.actor.ppo_epochs",
    )
    shape = model_shape(launch.get("actor_rollout_ref.model.path"))
    needed = memory(launch, shape) if shape else None
    replicas = launch.gpus // launch.replica
    begun = launch.settings.rollouts_at_once
    return LaunchPlan(
        prompts=prompts,
        rollouts=rollouts,
        rows=rollouts * rows,
        threads=threads,
        tokens=rollouts * tokens,
        sampled=rollouts
        * (turn + limits.subtasks * limits.steps * turn + launch.settings.report_tokens),
        requests=rollouts * (2 + limits.subtasks * limits.steps),
        optimizer_steps=math.ceil(prompts / int(launch.get(mini))) * int(launch.get(epochs, 1)),
        replicas=replicas,
        rollouts_at_once=begun
        or rollouts_at_once(launch, threads, replicas, needed and needed.cache_tokens),
        data_parallel=launch.gpus // launch.sequence_parallel,
        sequence_parallel=launch.sequence_parallel,
        tensor_parallel=tensor,
        gpus=launch.gpus,
        shape=shape,
        memory=needed,
        row=int(launch.get("data.max_prompt_length")) + int(launch.get("data.max_response_length")),
        services=service_plan(launch),
    )


def _times(budget: ThreadBudget, subtasks: int) -> int:
    return subtasks if budget.thread == "researcher" else 1


def plan_table(plan: LaunchPlan) -> Table:
    """The plan for a terminal."""
    table = Table(title="One training step, at most", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    services = service_lines(plan.services)
    for name, value in (*_step_lines(plan), *services, *_thread_lines(plan), *_machine_lines(plan)):
        table.add_row(name, value)
    return table


def _step_lines(plan: LaunchPlan) -> list[tuple[str, str]]:
    each = plan.rollouts // plan.prompts
    return [
        ("prompts", f"{plan.prompts:,} × {each} rollouts = {plan.rollouts:,}"),
        ("rows", f"{plan.rows:,}: {plan.rows // plan.rollouts} for each rollout"),
        ("tokens", f"{plan.tokens:,} in all rows, of which the policy samples {plan.sampled:,}"),
        ("engine requests", f"{plan.requests:,}"),
        ("at one time", f"{plan.rollouts_at_once:,} rollouts a worker; the others wait"),
        ("optimizer steps", f"{plan.optimizer_steps}, whatever the number of rows"),
    ]


def _thread_lines(plan: LaunchPlan) -> list[tuple[str, str]]:
    return [
        (
            f"{budget.thread}'s row",
            f"context {budget.prompt:,} + {budget.response:,} = {budget.total:,} tokens"
            f" ({budget.terms})",
        )
        for budget in plan.threads
    ]


def _machine_lines(plan: LaunchPlan) -> list[tuple[str, str]]:
    copies = plan.gpus // max(1, plan.replicas * plan.tensor_parallel)
    lines = [
        (
            "parallelism",
            f"{plan.gpus} GPUs: actor {plan.data_parallel} data × {plan.sequence_parallel} sequence"
            f" parallel; engine {plan.replicas} replicas × {plan.tensor_parallel} tensor"
            + (f" × {copies} data" if copies > 1 else ""),
        )
    ]
    if plan.shape is None or plan.memory is None:
        return [
            *lines,
            ("memory", "not estimated: the model is neither a folder nor known by name"),
        ]
    return [*lines, ("model", f"{plan.shape.parameters / 1e9:.3g} billion parameters"),
            *_memory_lines(plan, plan.memory)]  # fmt: skip


def _memory_lines(plan: LaunchPlan, memory: Memory) -> list[tuple[str, str]]:
    full = memory.cache_tokens // max(1, plan.row)
    return [
        (
            "memory, learning",
            f"{_gib(memory.learning)} a GPU of {_gib(memory.gpu)}: state {_gib(memory.state)},"
            f" reference {_gib(memory.reference)}, activations {_gib(memory.activations)}",
        ),
        (
            "memory, rolling out",
            f"{_gib(memory.rolling_out)} a GPU: kept {_gib(memory.resident)},"
            f" weights {_gib(memory.engine_weights)}, cache {_gib(memory.cache)}",
        ),
        (
            "cache",
            f"{memory.cache_tokens:,} tokens a replica: {full} rows of full length at one time",
        ),
    ]


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
