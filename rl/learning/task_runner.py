"""The Ray actor in which verl's training loop runs, with our trainer registered in it.

`run_ppo(config, task_runner_class=ResearchTaskRunner)` starts it. verl looks the trainer up by
name in this process, so importing `rl.learning.trainer` here is all the registration there is. A
start takes about 100 seconds and verl says little in it: lines on the console say what is being
waited for.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

import ray
from omegaconf import DictConfig
from verl.trainer.main_ppo import TaskRunnerV1

_LOOK_SECONDS = 0.5


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class StartProgress:
    """Prints the stage of a start until there is none or the block is left: when it changes, and
    every so often while it does not.

    `stage` names what is waited for, None when the start is over; it is called from a thread of its
    own and only reads.
    """

    def __init__(
        self,
        stage: Callable[[], str | None],
        *,
        every: float = 20.0,
        look: float = _LOOK_SECONDS,
        tell: Callable[[str], None] = _print,
    ) -> None:
        self._stage = stage
        self._every = every
        self._look = look
        self._tell = tell
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="start-progress", daemon=True)

    def __enter__(self) -> StartProgress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        last_stage, printed_at = "", began
        while not self._stopped.is_set():
            stage, now = self._stage(), time.monotonic()
            if stage is None:
                return
            if stage != last_stage or now - printed_at >= self._every:
                self._tell(f"oresearch start {now - began:4.0f} s: waiting for {stage}")
                last_stage, printed_at = stage, now
            self._stopped.wait(self._look)


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
