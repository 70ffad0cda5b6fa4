"""How many rollouts a worker begins at one time: as many as the engines' caches hold.

More would wait in the engine with their clocks running: of 64 rollouts at once on an engine of four
places none ended in time, and of 64 four at a time all did.
"""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig, OmegaConf, open_dict

from rl.check.lengths import ThreadBudget
from rl.check.problem import Launch

_KEY = "oresearch.rollouts_at_once"


def rollouts_at_once(
    launch: Launch, threads: Sequence[ThreadBudget], replicas: int, cache_tokens: int | None
) -> int:
    """Of one worker. `cache_tokens`: of one replica; None where nothing is known of them, and its
    places alone count. A row is taken for half grown, on the average."""
    rollout = "actor_rollout_ref.rollout"
    places = int(launch.get(f"{rollout}.max_num_seqs", 1_024))
    if cache_tokens is not None:
        longest = max(threads, key=lambda budget: budget.total)
        places = min(places, cache_tokens // (longest.prompt + longest.response // 2))
    together = min(launch.research.limits.subtasks, launch.research.branches_at_once or 1_000)
    each = 1 if len(threads) == 1 else together
    return max(1, replicas * places // (each * int(launch.get(f"{rollout}.agent.num_workers", 8))))


def admit(config: DictConfig, number: int) -> None:
    """Write the number into a configuration that names none."""
    if OmegaConf.select(config, _KEY) is None:
        with open_dict(config):
            OmegaConf.update(config, _KEY, number, force_add=True)
