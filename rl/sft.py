"""`python -m rl.sft CONFIG [key=value …]`: supervised fine-tuning on exported traces.

Starts verl's `sft_trainer` with one process per rank (`rl.launch.sft_worker`). With several nodes
it is started on each of them, with NODE_RANK, MASTER_ADDR and MASTER_PORT in the environment. Exit
status: 0 trained; 2 refused, and nothing was started; else the trainer's.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from oresearch_graph.errors import ConfigurationError, OresearchError
from rl.launch.composition import compose_config, write_long_context
from rl.launch.environment import prepare_environment
from rl.metrics.series import metrics_environment

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def sft(
    config: Annotated[str, typer.Argument(help="A name in rl/config, or a YAML file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]…", help="Hydra overrides.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check and start nothing.")] = False,
) -> None:
    """Train on traces, or check whether it would start."""
    console = Console()
    try:
        composed = compose_config(config, overrides or ())
        prepare_environment(str(composed.trainer.device))
        if not _admitted(composed, console, dry_run=dry_run):
            raise typer.Exit(2)
        if dry_run:
            console.print("this would be started:", *command(composed, Path("CONFIG.yaml")))
            return
        metrics_environment(composed.trainer.default_local_dir)
        launcher = command(composed, _write_config(composed))
    except OresearchError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    raise typer.Exit(subprocess.run(launcher, check=False).returncode)  # noqa: S603 - our own


def _admitted(config: DictConfig, console: Console, *, dry_run: bool) -> bool:
    from rl.check.startup import admitted  # imports verl: the environment comes first

    return admitted(config, "sft", console, dry_run=dry_run)


def command(config: DictConfig, file: Path) -> list[str]:
    """The command that starts the ranks of this node. Raises ConfigurationError."""
    return [
        sys.executable, "-m", "torch.distributed.run", *_rendezvous(int(config.trainer.nnodes)),
        f"--nproc_per_node={config.trainer.n_gpus_per_node}",
        "-m", "rl.launch.sft_worker", str(file),
    ]  # fmt: skip


def _rendezvous(nodes: int) -> list[str]:
    """How the ranks find each other."""
    if nodes == 1:
        return ["--standalone", "--nnodes=1"]
    names = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    if missing := [name for name in names if not os.environ.get(name)]:
        raise ConfigurationError(
            f"trainer.nnodes={nodes}, and {', '.join(missing)} is not set; set it on every node and"
            " start this command on each"
        )
    return [f"--nnodes={nodes}"] + [f"--{name.lower()}={os.environ[name]}" for name in names]


def _write_config(config: DictConfig) -> Path:
    """The configuration as a file that the ranks of this node read; one file for each node."""
    node = os.environ.get("NODE_RANK", "0")
    if node == "0":  # the others wait for this one before they read anything
        write_long_context(config, "model")
    file = Path(config.trainer.default_local_dir) / f"sft-node{node}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, file)
    return file


if __name__ == "__main__":
    app()
