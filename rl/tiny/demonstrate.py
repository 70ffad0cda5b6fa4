"""The learning demonstration: a million parameters learn to answer from their tools.

    python -m rl.tiny.demonstrate RUN_DIR

makes the tiny world and a warmed-up model, fine-tunes it on the teacher's traces, trains it by
GRPO in the research graph, and compares held-out questions before, halfway and after — with their
own observations, and with observations shuffled between questions. What was learned from the tools
is lost in the second. Every stage is a command of its own; a stage whose result is there is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from rl.tiny.prepare import prepare

UNSHUFFLED: Final = "oresearch"
SHUFFLED: Final = "shuffled_observations"
"""The data sources of validation, as verl's metrics name them."""
_REWARD_PARTS: Final = ("quality", "total", "tool_use", "format", "citation_accuracy")


class StageFailed(Exception):
    """A stage ended with an error; its log says which."""


def sft_command(folder: Path, steps: int) -> list[str]:
    """Fine-tune the base model on the teacher's traces."""
    return [
        sys.executable, "-m", "rl.sft", "sft_cpu_tiny",
        f"model.path={folder / 'base'}",
        f"data.train_files={folder / 'traces' / 'parallel.jsonl'}",
        f"trainer.default_local_dir={folder / 'sft'}",
        "data.train_batch_size=32", "data.micro_batch_size_per_gpu=32",
        f"trainer.total_training_steps={steps}", "trainer.total_epochs=100",
        f"trainer.save_freq={steps}",
        "optim.lr=2e-3", "optim.lr_scheduler_type=cosine", "optim.lr_warmup_steps_ratio=0.04",
    ]  # fmt: skip


def grpo_command(folder: Path, steps: int, prompts: int, rollouts: int, rate: float) -> list[str]:
    """Train by GRPO in the graph; validate before the first step, halfway and at the end."""
    return [
        sys.executable, "-m", "rl.grpo", "cpu_tiny",
        f"actor_rollout_ref.model.path={folder / 'sft-model'}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'validation.parquet'}",
        "oresearch.tools.source=corpus", f"oresearch.tools.path={folder / 'docs'}",
        f"trainer.default_local_dir={folder / 'grpo'}",
        f"data.train_batch_size={prompts}", f"actor_rollout_ref.rollout.n={rollouts}",
        # Small batches of rows waste little on padding; packed rows took four times as long, as
        # without flash attention each token is held against all others of the pack.
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=16",
        "actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu=16",
        "actor_rollout_ref.rollout.max_num_seqs=256",
        f"actor_rollout_ref.actor.optim.lr={rate}",
        "actor_rollout_ref.actor.optim.lr_warmup_steps=5",
        f"trainer.total_training_steps={steps}", f"trainer.save_freq={steps}",
        "trainer.val_before_train=true", f"trainer.test_freq={max(1, steps // 2)}",
    ]  # fmt: skip


def run(name: str, command: Sequence[str], folder: Path, console: Console) -> None:
    """Run one stage with its output in a file. Raises StageFailed."""
    log, began = folder / f"{name}.log", time.monotonic()
    console.print(f"{name}: {' '.join(map(str, command[1:4]))} … (log: {log})")
    with log.open("w", encoding="utf-8") as out:
        process = subprocess.run(  # noqa: S603 - our own commands
            list(command), stdout=out, stderr=subprocess.STDOUT, check=False, env=os.environ
        )
    if process.returncode:
        raise StageFailed(f"{name} ended with {process.returncode}: look at the end of {log}")
    console.print(f"{name}: {(time.monotonic() - began) / 60:.1f} min")


def export(checkpoints: Path, out: Path, folder: Path, console: Console) -> None:
    """The last checkpoint of a run as a model's folder."""
    if not out.exists():
        command = [sys.executable, "-m", "rl.export", str(checkpoints), str(out)]
        run(f"export-{out.name}", command, folder, console)


def validations(folder: Path) -> dict[int, dict[str, float]]:
    """The validation metrics of a GRPO run by step, from its metrics file."""
    from rl.metrics.series import read_metrics

    return {
        step: metrics
        for step, values in read_metrics(folder).by_step.items()
        if (metrics := {k: v for k, v in values.items() if k.startswith("val-")})
    }


def comparison(validation: dict[int, dict[str, float]]) -> Table:
    """Before and after, with own and with shuffled observations."""
    steps = sorted(validation)
    table = Table("held-out questions", *(f"step {step}" for step in steps))
    for source in (UNSHUFFLED, SHUFFLED):
        for name in _REWARD_PARTS:
            values = [_mean(validation[step], source, name) for step in steps]
            cells = ["–" if value is None else f"{value:.3f}" for value in values]
            table.add_row(f"{source}: {name}", *cells)
    return table


def _mean(metrics: dict[str, float], source: str, name: str) -> float | None:
    keys = [
        key for key in metrics
        if key.split("/")[1:3] == [source, name] and key.split("/")[-1].startswith("mean@")
    ]  # fmt: skip
    return metrics[keys[0]] if keys else None


def main(
    folder: Annotated[Path, typer.Argument(help="Where everything goes.")],
    traces: Annotated[int, typer.Option(help="Traces to learn from.")] = 1_500,
    warm: Annotated[int, typer.Option(help="Steps of copy warm-up.")] = 1_000,
    sft_steps: Annotated[int, typer.Option(help="Steps of fine-tuning.")] = 600,
    steps: Annotated[int, typer.Option(help="Steps of GRPO.")] = 30,
    prompts: Annotated[int, typer.Option(help="Questions per step.")] = 8,
    rollouts: Annotated[int, typer.Option(help="Rollouts per question.")] = 8,
    rate: Annotated[float, typer.Option(help="Learning rate of GRPO.")] = 3e-4,
) -> None:
    """Make, fine-tune, train and compare."""
    console, folder = Console(), folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    try:
        prepare(folder, traces=traces, questions=steps * prompts, warm=warm, say=console.print)
        if not (folder / "sft-model").exists():
            run("sft", sft_command(folder, sft_steps), folder, console)
            export(folder / "sft", folder / "sft-model", folder, console)
        if not (folder / "grpo-model").exists():
            run("grpo", grpo_command(folder, steps, prompts, rollouts, rate), folder, console)
            export(folder / "grpo", folder / "grpo-model", folder, console)
        picture = [sys.executable, "-m", "rl.plot", str(folder / "grpo"),
                   "--out", str(folder / "learning.png")]  # fmt: skip
        run("plot", picture, folder, console)
    except StageFailed as failed:
        Console(stderr=True).print(str(failed))
        raise typer.Exit(1) from failed
    validation = validations(folder / "grpo")
    console.print(comparison(validation))
    (folder / "validation.json").write_text(json.dumps(validation, indent=1), "utf-8")
    console.print(f"picture: {folder / 'learning.png'}; {(time.monotonic() - began) / 60:.1f} min")


if __name__ == "__main__":
    typer.run(main)
