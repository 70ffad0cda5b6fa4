"""`python -m rl.grpo CONFIG [key=value …] [--dry-run]`: GRPO on the research graph.

CONFIG is a name in `rl/config` or a YAML file that builds on one. On an existing Ray cluster the
same command is submitted: `ray job submit -- python -m rl.grpo CONFIG`. Exit status: 0 trained, or
planned; 2 refused, and nothing was started.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer
from omegaconf import DictConfig
from rich.console import Console

from oresearch_graph.errors import OresearchError
from rl.launch.composition import compose_config, write_long_context
from rl.launch.environment import add_environment, join_cluster, keep_apart, prepare_environment
from rl.metrics.series import metrics_environment

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def grpo(
    config: Annotated[str, typer.Argument(help="A name in rl/config, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Hydra overrides.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, show the plan, start nothing.")
    ] = False,
) -> None:
    """Train with GRPO, or show what would be trained."""
    console = Console()
    try:
        composed = compose_config(config, overrides or ())
        variables = prepare_environment(str(composed.trainer.device))
        if not _admitted(composed, console, dry_run=dry_run):
            raise typer.Exit(2)
        if dry_run:
            _show_plan(composed, console)
            return
        _prepare(composed, variables, console)
    except OresearchError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    _train(composed)


def _admitted(config: DictConfig, console: Console, *, dry_run: bool) -> bool:
    from rl.check.startup import admitted  # imports verl: the environment comes first

    return admitted(config, "grpo", console, dry_run=dry_run)


def _show_plan(config: DictConfig, console: Console) -> None:
    from rl.check.startup import show_problems
    from rl.plan.memory import host_notices
    from rl.plan.rehearsal import rehearse
    from rl.plan.step import launch_plan, plan_table

    plan = launch_plan(config)
    console.print(plan_table(plan))
    show_problems(list(host_notices(plan.host)), console)
    for table in rehearse(config).tables():
        console.print(table)


def _prepare(config: DictConfig, variables: dict[str, str], console: Console) -> None:
    """What must be there before the first process of the run."""
    from rl.check.startup import show_problems
    from rl.plan.admission import admit
    from rl.plan.memory import host_notices
    from rl.plan.step import launch_plan

    plan = launch_plan(config)
    show_problems(list(host_notices(plan.host)), console)
    admit(config, plan.rollouts_at_once)
    add_environment(config, {**variables, **metrics_environment(config.trainer.default_local_dir)})
    joins = os.environ.get("RAY_ADDRESS") or config.ray_kwargs.ray_init.get("address")
    if joins and (cluster_keys := join_cluster(config)):
        console.print(f"joining a Ray cluster: its own {', '.join(cluster_keys)} hold")
    if not joins and config.trainer.device == "cpu":
        keep_apart(config)
    if folder := write_long_context(config, "actor_rollout_ref.model"):
        console.print(f"positions of actor and reference: {folder}", soft_wrap=True)


def _train(config: DictConfig) -> None:
    from verl.trainer.main_ppo import run_ppo

    from rl.learning.task_runner import ResearchTaskRunner

    run_ppo(config, task_runner_class=ResearchTaskRunner)


if __name__ == "__main__":
    app()
