"""Training for real: verl, Ray, vLLM on CPU and FSDP2 on gloo, with the research graph inside.

A tiny model is fine-tuned on the teacher's traces, trained by GRPO with two parallel researchers
(threads mode) and in one growing context (sequential mode), resumed, and exported. The commands
are the documented ones.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from oresearch_graph import read_traces
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.rows.rl import RLQuestion, RubricLine, write_rl_rows
from rl.launch.composition import compose_config
from rl.metrics.series import read_metrics
from rl.rollouts.reward import RewardJudge
from rl.rows.fingerprint import read_fingerprint
from rl.settings import from_config
from rl.tiny.prepare import prepare
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.verdicts import says

pytestmark = pytest.mark.training

STEPS = 2
FINE_TUNING = {"parallel": 250, "sequential": 120}
"""Steps after which the tiny model writes the protocol well enough that rewards differ; with 120 in
parallel all rollouts of the first GRPO step have one reward. Both take as long."""
AUDITED, EQUALLY_GOOD = 0.5, 0.5
"""The share of reports that are audited, and what the audit says of each beside its reference."""
VERDICT = json.dumps({"criteria": [{"number": 1, "reason": "Both.", "first": 6, "second": 6}]})
Metrics = dict[int, dict[str, float]]


def command(*words: object, seconds: float = 1_500.0) -> str:
    """Run a module as people do; its output. Fails with the output's end."""
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], capture_output=True, text=True, timeout=seconds,
        check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout + done.stderr)[-6_000:]
    return done.stdout


def fine_tuned(folder: Path, execution: str) -> Path:
    """A model that writes the protocol of one execution: fine-tuned and exported."""
    run, out = folder / f"sft-{execution}", folder / f"model-{execution}"
    steps = FINE_TUNING[execution]
    command(
        "rl.sft", "sft_cpu_tiny", f"model.path={folder / 'base'}",
        f"data.train_files={folder / 'traces' / f'{execution}.jsonl'}",
        f"trainer.default_local_dir={run}", "data.train_batch_size=16",
        "data.micro_batch_size_per_gpu=16", f"trainer.total_training_steps={steps}",
        "trainer.total_epochs=20", f"trainer.save_freq={steps}", "optim.lr=3e-3",
        "optim.lr_scheduler_type=cosine", f"oresearch.research.execution={execution}",
    )  # fmt: skip
    command("rl.export", run, out)
    return out


def grpo(
    folder: Path, model: Path, run: Path, steps: int, execution: str, *overrides: str,
    logger: str = "[console,file]",
) -> Metrics:  # fmt: skip
    """Train to `steps`; the metrics by step."""
    command(
        "rl.grpo", "cpu_tiny", f"actor_rollout_ref.model.path={model}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'validation.parquet'}",
        "oresearch.tools.source=corpus", f"oresearch.tools.path={folder / 'docs'}",
        f"oresearch.research.execution={execution}", "oresearch.groups.tolerance=null",
        f"trainer.default_local_dir={run}", f"trainer.total_training_steps={steps}",
        "trainer.save_freq=1", "actor_rollout_ref.actor.optim.lr=1e-4",
        f"trainer.logger={logger}", *overrides,
    )  # fmt: skip
    return read_metrics(run).by_step


def rows_of(file: Path) -> dict[str, dict[str, Any]]:
    """RL rows by question."""
    return {row["extra_info"]["question"]: row for row in pq.read_table(file).to_pylist()}


def with_reference(file: Path) -> None:
    """Give each question a report to be compared with as well, which the exact judge passes over
    and a model judge goes by."""
    questions = [
        RLQuestion(
            id=row["extra_info"]["id"], question=question,
            key_points=GroundTruth.from_json(row["reward_model"]["ground_truth"]).key_points,
            rubric=(RubricLine(criterion="It gives all figures."),), reference="Nobody counted.",
        )
        for question, row in rows_of(file).items()
    ]  # fmt: skip
    write_rl_rows(file, questions)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """A model folder's weights."""
    return {k: v for file in folder.glob("*.safetensors") for k, v in load_file(file).items()}


def changed(one: Path, two: Path) -> bool:
    before, after = weights(one), weights(two)
    assert before.keys() == after.keys()
    return any(not torch.equal(before[name], after[name]) for name in before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def models(folder: Path) -> dict[str, Path]:
    """By execution; each is fine-tuned on one core, so that both take the time of one."""
    executions = ("parallel", "sequential")
    for execution in executions:
        prepare(folder, traces=300, questions=24, warm=0, execution=execution)
    with_reference(folder / "train.parquet")
    with ThreadPoolExecutor() as pool:
        made = pool.map(partial(fine_tuned, folder), executions)
        return dict(zip(executions, made, strict=True))


@pytest.fixture(scope="module")
def sequential(folder: Path, models: dict[str, Path]) -> Iterator[Future[Metrics]]:
    """Trains beside the tests of threads mode: each waits for its processes half of its time."""
    logger = "[console,file,tensorboard,wandb]"
    model, run = models["sequential"], folder / "sequential"
    with ThreadPoolExecutor() as pool:
        yield pool.submit(grpo, folder, model, run, STEPS, "sequential", logger=logger)


@pytest.fixture(scope="module")
def threads(folder: Path, models: dict[str, Path], sequential: object) -> tuple[Path, Metrics]:
    model = models["parallel"]
    with OpenAIServer(says(VERDICT)) as server:
        judge = f"{{kind: model, model: fake, base_url: '{server.base_url}'}}"
        audit = f"oresearch.audit={{share: {AUDITED}, judge: {judge}}}"
        metrics = grpo(folder, model, folder / "threads", STEPS, "parallel", audit)
        assert server.answered
    return model, metrics


def test_threads_mode_trains_with_parallel_branches_and_real_tools(threads, folder):
    _, metrics = threads
    steps = [metrics[step] for step in range(1, STEPS + 1)]
    for step in steps:
        # Planner, two researchers side by side, summarizer.
        assert step["oresearch/rows_per_rollout/max"] >= 4
        assert step["oresearch/tools/calls/max"] >= 2
        assert step["oresearch/rollouts/kept"] == 16
        assert step["oresearch/optimizer_steps"] == 1
        assert step["actor/grad_norm"] > 0
        assert step["oresearch/mismatch/max_log_prob_difference"] <= 1e-4
    traces = [t for f in (folder / "threads" / "traces").rglob("*.jsonl") for t in read_traces(f)]
    assert len(traces) == 16 * STEPS
    observed = [s for t in traces for s in t.steps if s.kind == "observation"]
    assert any("Register of" in step.text for step in observed)
    assert any(len(trace.branches) >= 2 for trace in traces)


def test_the_engine_follows_the_weights(threads, folder):
    """After each update engine and actor agree again, so the update reached the engine; and a
    later step's weights are others."""
    model, metrics = threads
    out = folder / "exported"
    command("rl.export", folder / "threads" / f"global_step_{STEPS}", out)
    assert changed(model, out)
    assert metrics[STEPS]["oresearch/mismatch/max_log_prob_difference"] <= 1e-4
    protocol = read_fingerprint(out)
    assert protocol is not None
    assert protocol == read_fingerprint(model)
    assert (out / "SERVE.md").is_file()


def test_a_run_is_resumed_where_it_stopped(threads, folder):
    model, _ = threads
    metrics = grpo(folder, model, folder / "threads", STEPS + 1, "parallel")
    assert sorted(step for step in metrics if step > 0) == list(range(1, STEPS + 2))
    first, second = (folder / f"step-{n}" for n in (STEPS, STEPS + 1))
    for step, out in ((STEPS, first), (STEPS + 1, second)):
        command("rl.export", folder / "threads" / f"global_step_{step}", out)
    assert changed(first, second)


def test_sequential_mode_trains_one_row_per_rollout(folder, sequential):
    metrics = sequential.result()
    assert list((folder / "sequential" / "tensorboard").rglob("events.*"))
    assert list((folder / "sequential" / "wandb").glob("offline-run-*"))
    for step in range(1, STEPS + 1):
        found = metrics[step]
        # More than one row only where a turn ended without a tag and another role went on.
        assert found["oresearch/rows_per_rollout/mean"] < 2
        assert found["oresearch/rollouts/kept"] == 16
        assert found["oresearch/mismatch/max_log_prob_difference"] <= 1e-4
        assert found["actor/grad_norm"] > 0


def test_the_plot_is_drawn(threads, folder):
    command("rl.plot", folder / "threads", "--out", folder / "plot.png")
    assert (folder / "plot.png").stat().st_size > 10_000


def test_the_dry_run_shows_plan_and_one_real_rollout(threads, folder):
    model, _ = threads
    told = command(
        "rl.grpo", "cpu_tiny", f"actor_rollout_ref.model.path={model}",
        f"data.train_files={folder / 'train.parquet'}",
        f"data.val_files={folder / 'validation.parquet'}",
        "oresearch.tools.source=corpus", f"oresearch.tools.path={folder / 'docs'}", "--dry-run",
    )  # fmt: skip
    for word in ("planner", "researcher 1", "summarizer", "quality", "optimizer steps"):
        assert word in told, told[-3_000:]


def rewards(run: Path, step: int) -> dict[str, dict[str, Any]]:
    """The rewards of a step's rollouts by the trace's id."""
    files = (run / "traces" / f"step_{step:06d}").glob("train-*.rewards")
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return {line["trace_id"]: line["reward"] for line in lines}


def test_a_second_judge_of_some_reports_is_on_the_dashboard(threads, folder):
    _, metrics = threads
    audited = 0
    for step in range(1, STEPS + 1):
        rows = list(rewards(folder / "threads", step).values())
        seen = [row for row in rows if row["audit_quality"] is not None]
        judged = [row["quality_judged"] for row in seen]
        logged = {name.removeprefix("oresearch/audit/"): value
                  for name, value in metrics[step].items() if "/audit/" in name}  # fmt: skip
        assert logged["quality"] == EQUALLY_GOOD
        assert logged["gap"] == pytest.approx(sum(judged) / len(judged) - EQUALLY_GOOD)
        assert logged["distance"] == pytest.approx(
            sum(abs(quality - EQUALLY_GOOD) for quality in judged) / len(judged)
        )
        assert logged["failed"] == 0.0
        audited += len(seen)
    assert 0 < audited < 16 * STEPS


def test_a_second_judge_changes_no_reward(threads, folder):
    judge = RewardJudge(from_config(compose_config("cpu_tiny")).reward, ExactFactsJudge())
    rows, run = rows_of(folder / "train.parquet"), folder / "threads"
    for step in range(1, STEPS + 1):
        paid = rewards(run, step)
        assert len(paid) == 16
        for file in (run / "traces" / f"step_{step:06d}").glob("train-*.jsonl"):
            for trace in read_traces(file):
                alone = asyncio.run(judge.score(trace, rows[trace.question]))
                without = alone.as_floats()
                for part in ("total", "quality", "tool_use", "format"):
                    assert paid[trace.id][part] == without[part]


def test_rewards_of_rollouts_stand_beside_their_traces(threads, folder):
    files = list((folder / "threads" / "traces").rglob("*.rewards"))
    lines = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    assert len(lines) >= 16 * STEPS
    assert all(0 <= line["reward"]["quality"] <= 1 for line in lines if line["reward"])
