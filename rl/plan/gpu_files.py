"""The plans of the GPU files as one table of docs/training.md: `python -m tests.reference`."""

from __future__ import annotations

from typing import Final

from rl.launch.composition import compose_config, config_names
from rl.plan.memory import SUPPOSED_GPU, gib
from rl.plan.step import LaunchPlan, launch_plan

_HEAD: Final = (
    "configuration", "execution", "GPUs", "longest row", "tokens a step", "rows a step",
    "at once a worker", "rounds", "a GPU, learning", "a GPU, rolling out", "a machine",
)  # fmt: skip


def plans_table() -> str:
    """A line for each GRPO run on GPUs in `rl/config`, for GPUs of 80 GiB whatever is here."""
    names = [name for name in config_names() if not name.startswith("sft_")]
    configs = {name: compose_config(name) for name in names}
    rows = [
        _row(name, launch_plan(config, SUPPOSED_GPU))
        for name, config in configs.items()
        if config.trainer.device == "cuda"
    ]
    lines = [_HEAD, ("---",) * len(_HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _row(name: str, plan: LaunchPlan) -> tuple[str, ...]:
    if plan.memory is None or plan.host is None:
        raise ValueError(f"{name}: rl/check/model_shape.py does not know its model")
    execution = "sequential" if len(plan.threads) == 1 else "threads"
    return (
        f"`{name}`", execution, str(plan.gpus), f"{max(each.total for each in plan.threads):,}",
        f"{plan.tokens:,}", f"{plan.rows:,}", str(plan.rollouts_at_once), str(plan.rounds),
        gib(plan.memory.learning), gib(plan.memory.rolling_out), gib(plan.host.most),
    )  # fmt: skip
