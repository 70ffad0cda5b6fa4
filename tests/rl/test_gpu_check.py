"""`rl.gpu_check` where there is no GPU: it says so; its measuring runs on verl's CPU platform."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from omegaconf import OmegaConf
from typer.testing import CliRunner

from rl import gpu_check
from rl.cpu.platform import ENVIRONMENT

SIZES = "gpu_check.Sizes(64, 2, 2, 128, 160, 2, (40, 24))"
MEASURE = f"""
import json, sys
from pathlib import Path
from rl import gpu_check
from rl.launch.composition import compose_config
sizes = {SIZES}
folder = gpu_check.make_model(Path(sys.argv[1]), sizes, "cpu")
config = compose_config("cpu_tiny", [
    f"actor_rollout_ref.model.path={{folder}}", "actor_rollout_ref.model.use_remove_padding=true",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=64",
])
continuations = [gpu_check.Sampled([1, 2], [3, 4, 5], [-5.0, -5.0, -5.0])]
print("FIGURES", json.dumps(gpu_check.learn(config, sizes, continuations)))
config.actor_rollout_ref.model.use_fused_kernels = True
try:
    gpu_check._log_probs(gpu_check._worker(config), [[1, 2, 3]])
except RuntimeError as error:
    print("FUSED", error)
"""


def test_a_machine_without_gpu_is_told_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    done = CliRunner().invoke(gpu_check.app, [str(tmp_path)])
    assert done.exit_code == 2
    assert done.output == "this machine has no GPU: nothing was measured\n"
    assert list(tmp_path.iterdir()) == []


def test_figures_beyond_their_bounds_are_told():
    figures = {
        "engine_actor_mean": 0.2, "fused_plain_mean": 0.001, "packed_alone_mean": 0.001,
        "memory_of_plan": 1.3,
    }  # fmt: skip
    assert gpu_check.exceeded(figures) == [
        "engine_actor_mean 0.2 > 0.05",
        "memory_of_plan 1.3 > 1.25",
    ]
    fine = dict.fromkeys(figures, 0.001)
    assert gpu_check.exceeded(fine) == []
    assert gpu_check.exceeded({**fine, "engine_actor_mean": float("nan")})
    assert gpu_check.exceeded({**fine, "memory_of_plan": None}) == [
        "memory_of_plan was not measured"
    ]
    assert gpu_check.exceeded({}) == [f"{name} was not measured" for name in figures]


def test_no_part_is_begun_when_the_time_is_over(monkeypatch):
    clock, begun = [0.0], []

    def part(name: str):
        def measured(*_: object) -> dict[str, float]:
            begun.append(name)
            clock[0] += 60.0
            return {name: 0.0}

        return measured

    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(gpu_check, "_join_group", lambda: None)
    monkeypatch.setattr(gpu_check, "_worker", lambda _: None)
    for name in ("_packed_against_alone", "_engine_against_actor", "fused_against_plain", "_steps"):
        monkeypatch.setattr(gpu_check, name, part(name))
    config = OmegaConf.create({"trainer": {"device": "cpu"}})
    figures = gpu_check.learn(config, gpu_check.Sizes(), until=100.0)
    assert list(figures) == begun == ["_packed_against_alone", "_engine_against_actor"]
    assert gpu_check.learn(config, gpu_check.Sizes(), until=100.0) == {}


@pytest.mark.training
def test_what_it_measures_runs_on_verls_worker(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MEASURE, str(tmp_path / "model")],
        capture_output=True, text=True, timeout=600, check=False, env={**os.environ, **ENVIRONMENT},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6_000:]
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("FIGURES ")]
    figures = json.loads(line.removeprefix("FIGURES "))
    assert figures["packed_alone_mean"] < 1e-5
    assert figures["fused_plain_mean"] < 1e-5
    assert 0 < figures["engine_actor_mean"] < 2, "an engine that says -5 of every token"
    assert figures["tokens"] == 64
    # When verl gathers lm_head for its fused kernel, use_fused_kernels can be allowed.
    assert "FUSED aten.mm.default got mixed torch.Tensor and DTensor" in done.stdout
