"""Two runs on one machine do not share what verl names by the Ray job."""

import os
import subprocess
import sys

import pytest

from rl.cpu.platform import RUN_ID, _job_id_with_run_id
from rl.launch.environment import prepare_environment


def test_each_run_has_an_id_of_its_own() -> None:
    asked = "from rl.launch.environment import prepare_environment as p; print(p('cpu')['%s'])"
    environment = {name: value for name, value in os.environ.items() if name != RUN_ID}
    command = [sys.executable, "-c", asked % RUN_ID]
    ids = {
        subprocess.run(
            command, env=environment, check=True, capture_output=True, text=True
        ).stdout.strip()
        for _ in range(2)
    }
    assert len(ids) == 2
    assert all(len(found) == 8 for found in ids)


def test_the_id_reaches_the_other_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_ID, "12345678")
    assert prepare_environment("cpu")[RUN_ID] == "12345678"
    assert RUN_ID not in prepare_environment("cuda")


def test_the_job_that_names_the_weight_socket_carries_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(RUN_ID, "12345678")
    assert _job_id_with_run_id(lambda _: "01000000")(None) == "01000000-12345678"
