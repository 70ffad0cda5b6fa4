"""Where the processes of a run live: their environment variables and their Ray.

verl chooses its platform as it is imported and only once, so the variables are set before that.
"""

from __future__ import annotations

import os
import uuid

from omegaconf import DictConfig, OmegaConf, open_dict


def prepare_environment(device: str) -> dict[str, str]:
    """Set what a run on this device needs in this process, and return it for the others.

    A variable that is set already stays as it is.
    """
    if device != "cpu":
        return {}
    # verl/plugin/platform/platform_manager.py reads both while it is imported.
    os.environ.setdefault("VERL_PLATFORM", "cpu")
    os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "rl.cpu.platform")
    from rl.cpu.platform import ENVIRONMENT, RUN_ID

    needed = {**ENVIRONMENT, RUN_ID: uuid.uuid4().hex[:8]}
    for name, value in needed.items():
        os.environ.setdefault(name, value)
    return {name: os.environ[name] for name in needed}


def add_environment(config: DictConfig, variables: dict[str, str]) -> None:
    """Give every process that Ray starts these variables; those in the YAML win."""
    key = "ray_kwargs.ray_init.runtime_env.env_vars"
    yaml_variables = OmegaConf.select(config, key) or {}
    with open_dict(config):
        OmegaConf.update(config, key, {**variables, **yaml_variables}, force_add=True)


def join_cluster(config: DictConfig) -> list[str]:
    """Leave out what only a cluster's first process may say (ray.init refuses it otherwise).

    Returns the keys that were left out.
    """
    first_process_keys = ("num_cpus", "num_gpus", "object_store_memory", "include_dashboard")
    ray_init = config.ray_kwargs.ray_init
    removed = [name for name in first_process_keys if ray_init.get(name) is not None]
    with open_dict(ray_init):
        for name in removed:
            ray_init.pop(name)
    return removed


def keep_apart(config: DictConfig) -> None:
    """Start Ray for this run alone: without an address ray.init joins whatever cluster somebody
    started on the machine."""
    ray_init = config.ray_kwargs.ray_init
    with open_dict(ray_init):
        ray_init.address = "local"
