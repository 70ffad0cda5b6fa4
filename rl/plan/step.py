"""The plan of a run, as `--dry-run` shows it: what one step consists of, and what it takes.

Every figure is a worst case of the configuration: all subtasks used, all steps taken, every text
as long as it may be. A policy that ends early costs less. The model's sizes are read from its
folder, or known by name.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from omegaconf import DictConfig
from rich.table import Table

from rl.check.lengths import ThreadBudget, opening_tokens, thread_budgets
from rl.check.model_shape import ModelShape
from rl.check.problem import Launch
from rl.plan.admission import rollouts_at_once
from rl.plan.memory import HostMemory, Memory, Tokens, gib, host_memory, memory
from rl.plan.services import ServicePlan, service_lines, service_plan
from rl.settings import from_config


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
    rounds: int
    """In which a worker begins its rollouts, where they take equally long."""
    round_seconds: float
    """Of one round, at most."""
    data_parallel: int
    sequence_parallel: int
    tensor_parallel: int
    gpus: int
    shape: ModelShape | None
    memory: Memory | None
    host: HostMemory | None
    row: int
    """Tokens that the longest row may have."""
    services: ServicePlan
    """What is asked of judge and tools."""


def launch_plan(config: DictConfig, gpu: int | None = None) -> LaunchPlan:
    """Count one step of a checked configuration. `gpu`: bytes of one, if not this machine's."""
    launch = Launch(config, "grpo", from_config(config), dry_run=True)
    threads = thread_budgets(launch.settings, opening_tokens(launch))
    limits, turn = launch.research.limits, launch.settings.turn_tokens
    prompts = int(launch.get("data.train_batch_size"))
    rollouts = prompts * int(launch.get("actor_rollout_ref.rollout.n", 1))
    rows = 1 if len(threads) == 1 else limits.subtasks + 2
    sampled = turn + limits.subtasks * limits.steps * turn + launch.settings.report_tokens
    times = [(budget, _times(budget, limits.subtasks)) for budget in threads]
    tokens = Tokens(
        rollouts * sum(budget.total * count for budget, count in times),
        rollouts * sum(budget.response * count for budget, count in times),
        rollouts * sampled,
    )
    tensor = int(launch.get("actor_rollout_ref.rollout.tensor_model_parallel_size", 1))
    mini, epochs = (
        "actor_rollout_ref.actor.ppo_mini_batch_size",
        "actor_rollout_ref.actor.ppo_epochs",
    )
    shape = launch.shape
    needed = memory(launch, shape, gpu) if shape else None
    replicas = launch.gpus // launch.replica
    at_once = launch.settings.rollouts_at_once or rollouts_at_once(
        launch, threads, replicas, needed and needed.cache_tokens
    )
    workers = int(launch.get("actor_rollout_ref.rollout.agent.num_workers", 8))
    return LaunchPlan(
        prompts=prompts,
        rollouts=rollouts,
        rows=rollouts * rows,
        threads=threads,
        tokens=tokens.all,
        sampled=tokens.sampled,
        requests=rollouts * (2 + limits.subtasks * limits.steps),
        optimizer_steps=math.ceil(prompts / int(launch.get(mini))) * int(launch.get(epochs, 1)),
        replicas=replicas,
        rollouts_at_once=at_once,
        rounds=math.ceil(math.ceil(rollouts / workers) / at_once),
        round_seconds=launch.settings.seconds.rollout,
        data_parallel=launch.gpus // launch.sequence_parallel,
        sequence_parallel=launch.sequence_parallel,
        tensor_parallel=tensor,
        gpus=launch.gpus,
        shape=shape,
        memory=needed,
        host=host_memory(launch, shape, needed, tokens) if shape and needed else None,
        row=launch.row,
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
        (
            "at one time",
            f"{plan.rollouts_at_once:,} rollouts a worker: {plan.rounds:,} rounds of at most"
            f" {plan.round_seconds:,.0f} s",
        ),
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
    if plan.shape is None or plan.memory is None or plan.host is None:
        return [
            *lines,
            ("memory", "not estimated: the model is neither a folder nor known by name"),
        ]
    return [*lines, ("model", f"{plan.shape.parameters / 1e9:.3g} billion parameters"),
            *_memory_lines(plan, plan.memory), _host_line(plan.host)]  # fmt: skip


def _memory_lines(plan: LaunchPlan, memory: Memory) -> list[tuple[str, str]]:
    full = memory.cache_tokens // max(1, plan.row)
    return [
        (
            "memory, learning",
            f"{gib(memory.learning)} a GPU of {gib(memory.gpu)}: state {gib(memory.state)},"
            f" activations {gib(memory.activations)}",
        ),
        (
            "memory, rolling out",
            f"{gib(memory.rolling_out)} a GPU: kept {gib(memory.resident)},"
            f" weights {gib(memory.engine_weights)}, cache {gib(memory.cache)}",
        ),
        (
            "cache",
            f"{memory.cache_tokens:,} tokens a replica: {full} rows of full length at one time",
        ),
    ]


def _host_line(host: HostMemory) -> tuple[str, str]:
    parts = {
        "actor": host.actor,
        "reference": host.reference,
        "engine": host.engine,
        "queue": host.queue,
        "driver": host.driver,
        "processes": host.processes,
    }
    shares = ", ".join(f"{name} {gib(size)}" for name, size in parts.items() if size)
    there = f" of {gib(host.machine)}" if host.machine else ""
    return (
        "memory, host",
        f"{gib(host.most)} a machine{there}: {gib(host.starting)} while weights are loaded,"
        f" then {shares}",
    )
