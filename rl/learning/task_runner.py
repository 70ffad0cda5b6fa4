"""The Ray actor in which verl's training loop runs, with our trainer registered in it.

`run_ppo(config, task_runner_class=ResearchTaskRunner)` starts it. verl looks the trainer up by
name in this process, so importing `rl.learning.trainer` here is all the registration there is.
"""

from __future__ import annotations

from typing import Any

import ray
from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1

from rl.learning.start_progress import StartProgress


def _undecorated(actor: Any) -> Any:  # noqa: ANN401 - Ray types neither
    """The class that `@ray.remote` was put on; an actor class itself cannot be subclassed."""
    try:
        return actor.__ray_metadata__.modified_class.__ray_actor_class__
    except AttributeError as error:
        raise RuntimeError(
            "Ray's actor classes changed; rl/learning/task_runner.py needs the class under "
            "TaskRunnerV1"
        ) from error


class _ResearchTaskRunner(_undecorated(TaskRunnerV1)):  # type: ignore[misc, unused-ignore]
    """verl's task runner that says what the start is waiting for."""

    def run(self, config: DictConfig) -> None:
        """Train to the end. Raises what the trainer raises."""
        with StartProgress(self._stage):
            # Registers the trainer; heavy, so not where the driver imports this module.
            import rl.learning.trainer  # noqa: F401

            super().run(config)

    def _stage(self) -> str | None:
        if self.trainer is None:
            return "verl's training code and its data queue"
        stage: str | None = self.trainer.waiting_for()
        return stage


ResearchTaskRunner = ray.remote(_ResearchTaskRunner)
