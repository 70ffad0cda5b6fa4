"""The plan of a run, as `--dry-run` shows it: what one step consists of and what it takes.

Every figure is a worst case of the configuration: all subtasks used, all steps taken, every text
as long as it may be. A policy that ends early costs less.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from omegaconf import DictConfig
from rich.table import Table

from rl.check.lengths import ThreadBudget, opening_tokens, thread_budgets
from rl.check.problem import Launch
from rl.plan.memory import GIB, Memory, ModelShape, memory, model_shape
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
    data_parallel: int
    sequence_parallel: int
    tensor_parallel: int
    gpus: int
    shape: ModelShape | None
    memory: Memory | None
    row: int
    """Tokens that the longest row may have."""


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
        replicas=launch.gpus // tensor,
        data_parallel=launch.gpus // launch.sequence_parallel,
        sequence_parallel=launch.sequence_parallel,
        tensor_parallel=tensor,
        gpus=launch.gpus,
        shape=shape,
        memory=memory(launch, shape) if shape else None,
        row=int(launch.get("data.max_prompt_length")) + int(launch.get("data.max_response_length")),
    )


def _times(budget: ThreadBudget, subtasks: int) -> int:
    return subtasks if budget.thread == "researcher" else 1


def plan_table(plan: LaunchPlan) -> Table:
    """The plan for a terminal."""
    table = Table(title="One training step, at most", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in (*_step_lines(plan), *_thread_lines(plan), *_machine_lines(plan)):
        table.add_row(name, value)
    return table


def _step_lines(plan: LaunchPlan) -> list[tuple[str, str]]:
    each = plan.rollouts // plan.prompts
    return [
        ("prompts", f"{plan.prompts:,} × {each} rollouts = {plan.rollouts:,}"),
        ("rows", f"{plan.rows:,}: {plan.rows // plan.rollouts} for each rollout"),
        ("tokens", f"{plan.tokens:,} in all rows, of which the policy samples {plan.sampled:,}"),
        ("engine requests", f"{plan.requests:,}"),
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
    lines = [
        (
            "parallelism",
            f"{plan.gpus} GPUs: actor {plan.data_parallel} data × {plan.sequence_parallel} sequence"
            f" parallel; engine {plan.replicas} replicas × {plan.tensor_parallel} tensor",
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
