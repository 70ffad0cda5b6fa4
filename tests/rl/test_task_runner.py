"""The actor that trains says what its start waits for."""

from __future__ import annotations

import tests.helpers.verl_quietly  # noqa: F401
from rl.learning.task_runner import StartProgress


def test_progress_tells_each_stage_once_and_ends_by_itself():
    stages = iter(["data", "data", "engine", "engine", None])
    lines: list[str] = []
    with StartProgress(lambda: next(stages), look=0.001, tell=lines.append) as progress:
        progress._thread.join(timeout=20)
    assert [line.split("waiting for ")[1] for line in lines] == ["data", "engine"]


def test_the_task_runner_is_verls_with_the_trainer_registered():
    from verl.trainer.main_ppo import TaskRunnerV1

    from rl.learning.task_runner import ResearchTaskRunner

    ours = ResearchTaskRunner.__ray_metadata__.modified_class.__ray_actor_class__
    assert issubclass(ours, TaskRunnerV1.__ray_metadata__.modified_class.__ray_actor_class__)
    assert ours()._stage() == "verl's training code and its data queue"
