"""The plot of a run: what it shows of the metrics that are there, and what it says of the rest."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread
from omegaconf import OmegaConf
from typer.testing import CliRunner
from verl.utils.tracking import Tracking

from oresearch_graph.errors import ConfigurationError
from rl import plot as plot_module
from rl.launch.composition import CONFIGS
from rl.learning.step_metrics import described
from rl.metrics.panels import GRPO, MOST_LINES, SFT, choose
from rl.metrics.series import Series, metrics_environment, read_metrics
from rl.plot import plot

REWARD = "oresearch/reward/quality/mean"
HELD_OUT = "val-aux/oresearch/quality/mean@1"
CONTROL = "val-aux/shuffled_observations/quality/mean@1"


def log(run: Path, start: str, *rows: tuple[int, Mapping[str, Any]]) -> Path:
    """What verl's file logger writes in one start."""
    file = run / "metrics" / start / "oresearch" / "grpo.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"step": step, "data": data}) for step, data in rows]
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
    return file


def panels(series: Mapping[str, Series]) -> dict[str, list[str]]:
    """The labels of the lines of each panel."""
    return {
        filled.panel.title: [line.label for line in filled.lines]
        for filled in choose(series).panels
    }


def every_metric() -> dict[str, float]:
    """One value for each metric that a panel of GRPO shows."""
    names = [metric.name for panel in GRPO for metric in panel.metrics]
    return {
        re.sub(r"<\w+>", "word", name).replace("val-(core|aux)", "val-aux").replace("@N", "@1"): 0.5
        for name in names
    }


def test_a_whole_run_is_drawn_with_nothing_missing(tmp_path: Path):
    log(tmp_path, "1", *[(step, every_metric()) for step in range(1, 4)])
    drawn = plot(tmp_path)
    assert drawn.file == tmp_path / "plot.png"
    assert drawn.panels == tuple(panel.title for panel in GRPO)
    assert (drawn.footnote, drawn.steps) == ("", (1, 3))
    picture = imread(drawn.file)
    assert picture.shape[1] > picture.shape[0] > 800
    assert picture[:, :, :3].std() > 0.05


def test_only_panels_with_something_in_them_are_drawn_and_the_rest_is_named(tmp_path: Path):
    log(tmp_path, "1", (1, {REWARD: 0.5, "oresearch/tools/calls/mean": 3.0}))
    drawn = plot(tmp_path, tmp_path / "pictures" / "one.png")
    assert drawn.file.stat().st_size > 10_000
    assert drawn.panels == ("Reward, training rollouts", "Tool calls of a rollout")
    assert drawn.footnote.startswith("Not logged: oresearch/reward/total/mean, ")
    assert "val-aux/<source>/quality/mean@N" in drawn.footnote
    assert REWARD not in drawn.footnote
    # Where nothing failed there is nothing to log.
    assert "failures" not in drawn.footnote


def test_every_metric_of_ours_that_is_drawn_is_one_that_is_logged():
    ours = [
        metric.name
        for panel in GRPO
        for metric in panel.metrics
        if metric.name.startswith("oresearch")
    ]
    assert len(ours) > 15
    assert [name for name in ours if described(re.sub(r"<\w+>", "word", name)) is None] == []


def test_held_out_questions_and_their_control_are_two_lines():
    found = choose({HELD_OUT: {0: 0.2, 5: 0.6}, CONTROL: {0: 0.1, 5: 0.0}})
    lines = found.panels[0].lines
    assert [(line.label, line.look) for line in lines] == [
        ("oresearch", "line"),
        ("shuffled observations", "control"),
    ]
    assert lines[0].series == {0: 0.2, 5: 0.6}


def test_of_many_classes_of_failures_the_frequent_ones_are_drawn_and_the_others_named():
    classes = {f"oresearch/failures/class_{count}": {1: float(count)} for count in range(1, 9)}
    chosen = choose({"oresearch/rollouts/dropped": {1: 2.0}, **classes})
    labels = [line.label for line in chosen.panels[0].lines]
    assert labels == ["dropped", "class 8", "class 7", "class 6", "class 5", "class 4"]
    assert len(labels) == MOST_LINES
    assert chosen.crowded == tuple(f"oresearch/failures/class_{n}" for n in (3, 2, 1))


def test_fine_tuning_has_panels_of_its_own(tmp_path: Path):
    rows = [(step, {"train/loss": 1.0 / step, "train/lr": 1e-3}) for step in range(1, 5)]
    log(tmp_path, "1", *rows, (4, {"val/loss": 0.4}))
    drawn = plot(tmp_path)
    assert drawn.panels == ("Fine-tuning loss", "Learning rate")
    assert drawn.footnote == "Not logged: train/grad_norm, train/global_tokens."
    assert read_metrics(tmp_path).series["val/loss"] == {4: 0.4}


def test_a_folder_of_both_kinds_shows_both():
    found = panels({"train/loss": {1: 1.0}, REWARD: {1: 0.5}})
    assert list(found) == [SFT[0].title, GRPO[0].title]


def test_a_resumed_run_replaces_the_steps_that_it_repeats(tmp_path: Path):
    log(tmp_path, "20250101-000000", *[(step, {REWARD: 0.1, HELD_OUT: 0.1}) for step in range(6)])
    # Resumed at 3: validation before training logs under that step, training under the next.
    log(tmp_path, "20250102-000000", (3, {HELD_OUT: 0.9}), (4, {REWARD: 0.9}))
    series = read_metrics(tmp_path).series
    assert series[REWARD] == {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.1, 4: 0.9}
    assert series[HELD_OUT] == {0: 0.1, 1: 0.1, 2: 0.1, 3: 0.9}


def test_metrics_by_step_hold_what_was_measured_at_each(tmp_path: Path):
    log(tmp_path, "1", (0, {HELD_OUT: 0.2}), (1, {REWARD: 0.5}), (1, {HELD_OUT: 0.3}))
    found = read_metrics(tmp_path).by_step
    assert found == {0: {HELD_OUT: 0.2}, 1: {REWARD: 0.5, HELD_OUT: 0.3}}


def test_what_is_no_number_is_left_out(tmp_path: Path):
    log(tmp_path, "1", (1, {REWARD: None, "note": "text"}), (2, {REWARD: 0.5}))
    assert read_metrics(tmp_path).series == {REWARD: {2: 0.5}}


def test_a_last_line_that_a_crash_cut_off_is_left_out_and_another_is_told(tmp_path: Path):
    file = log(tmp_path, "1", (1, {REWARD: 0.5}))
    with file.open("a", encoding="utf-8") as more:
        more.write('{"step": 2, "da')
    assert read_metrics(tmp_path).series == {REWARD: {1: 0.5}}
    with file.open("a", encoding="utf-8") as more:
        more.write("\n")
    with pytest.raises(ConfigurationError, match=r"grpo\.jsonl:2: not a line of verl's file"):
        read_metrics(tmp_path)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    for name in ("VERL_FILE_LOGGER_ROOT", "TENSORBOARD_DIR", "WANDB_MODE", "WANDB_DIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delenv("VERL_FILE_LOGGER_PATH", raising=False)
    return metrics_environment(tmp_path)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("logger", "folder"), [("file", "metrics"), ("tensorboard", "")])
def test_what_verls_loggers_write_is_what_is_read(tmp_path: Path, logger: str, folder: str):
    tracking = Tracking("oresearch", "grpo-1.5b", [logger])
    for step in (1, 2):
        tracking.log({REWARD: step / 4, "oresearch/mismatch/kl": float("nan")}, step=step)
    tracking.finish()
    found = read_metrics(tmp_path)
    assert found.series == {REWARD: {1: 0.25, 2: 0.5}}
    assert found.source == tmp_path / folder


def test_loggers_are_told_a_folder_for_each_start_and_wandb_stays_offline(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert environment["VERL_FILE_LOGGER_ROOT"].startswith(str(tmp_path / "metrics/2"))
    assert environment["TENSORBOARD_DIR"] == str(tmp_path / "tensorboard")
    assert environment["WANDB_MODE"] == "offline"
    monkeypatch.setenv("WANDB_MODE", "online")
    assert metrics_environment(tmp_path)["WANDB_MODE"] == "online"


def test_every_configuration_logs_into_the_file_that_is_plotted():
    loggers = {
        file.stem: OmegaConf.load(file).get("trainer", {}).get("logger")
        for file in CONFIGS.glob("*.yaml")
        if file.stem != "agent_loops"
    }
    named = {name: logger for name, logger in loggers.items() if logger is not None}
    assert {"_grpo", "_sft"} <= named.keys()
    assert [name for name, logger in named.items() if "file" not in logger] == []


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ("nothing", "there is no such folder"),
        ("folder", "no metrics in it"),
        ("empty", "no metrics in it"),
        ("other", "none of its 1 metrics is one that is drawn"),
    ],
)
def test_a_folder_without_metrics_is_one_clear_line(tmp_path: Path, made: str, says: str):
    run = tmp_path / "run"
    if made != "nothing":
        run.mkdir()
    if made == "empty":
        log(run, "1")
    if made == "other":
        log(run, "1", (1, {"perf/throughput": 1.0}))
    result = CliRunner().invoke(cli(), [str(run)])
    assert result.exit_code == 2
    (line,) = result.output.strip().splitlines()
    assert says in line
    assert str(run) in line


def test_the_command_says_what_it_drew(tmp_path: Path):
    log(tmp_path, "1", (1, every_metric()), (7, every_metric()))
    out = tmp_path / "picture.png"
    result = CliRunner().invoke(cli(), [str(tmp_path), "--out", str(out)])
    assert result.exit_code == 0
    assert result.output == f"{out}: 13 panels, steps 1 to 7\n"
    assert out.read_bytes().startswith(b"\x89PNG")


def cli() -> Any:
    """The module's command."""
    return plot_module.app
