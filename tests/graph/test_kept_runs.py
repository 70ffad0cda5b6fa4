"""Runs that are kept: after a kill they go on, they can be asked further, listed and deleted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from oresearch_graph.command.kept_runs import KeptRuns, older_than
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import read_traces
from tests.faults.kills import BRAIN, COMMAND, PAGES, QUESTION, drill, streams
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import Habits
from tests.helpers.warm_python import WarmProcess, run_warm


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run that nobody disturbs."""
    _, report = drill(tmp_path_factory.mktemp("whole") / "run", 0, None)
    assert "[1]" in report
    return report


@pytest.mark.parametrize("seed", [2, 5, 8])
def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path: Path, whole: str, seed: int):
    outcome, _ = drill(tmp_path / "run", seed, whole)
    assert outcome.kills
    assert (outcome.same, outcome.fault) == (True, "")
    assert outcome.asked_again <= outcome.allowed


@pytest.fixture
def place(tmp_path: Path) -> Path:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, text in PAGES.items():
        (corpus / name).write_text(text, "utf-8")
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if "API_KEY" not in name}
    return kept | {"XDG_DATA_HOME": str(place / "data"), "XDG_CONFIG_HOME": str(place / "config")}


def oresearch(place: Path, *arguments: str) -> Any:
    return run_warm(COMMAND, *arguments, cwd=place, env=environment(place))


def options(server: OpenAIServer) -> list[str]:
    fixed = ["--set", "rendering=turns", "--set", "verifier=off", "--corpus", "corpus"]
    return ["--base-url", server.base_url, *fixed]


def kept(place: Path) -> KeptRuns:
    return KeptRuns(place / "data" / "oresearch")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_in_order_and_says_how_to_go_on(place: Path, number: signal.Signals):
    with OpenAIServer(BRAIN, Habits(latency=0.3)) as server:
        process = WarmProcess(
            COMMAND, "run", QUESTION, *options(server), cwd=place, env=environment(place),
            streams=streams(place),
        )  # fmt: skip
        end = time.monotonic() + 20
        while len(server.requests) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(20) == 128 + number
    (run,) = kept(place).all()
    assert run.state == "stopped"
    said = (place / "stderr").read_text("utf-8")
    assert f"to go on: oresearch run --resume {run.id}" in said
    assert "Traceback" not in said


def test_a_run_is_asked_further_listed_shown_and_deleted(place: Path):
    with OpenAIServer(BRAIN) as server:
        assert oresearch(place, "run", QUESTION, *options(server)).returncode == 0
        (run,) = kept(place).all()
        asked = oresearch(place, "run", "--ask", run.id, "And the Sun, does it cause tides?")
        assert asked.returncode == 0, asked.stderr
        assert "And the Sun" in json.dumps(server.requests[-1]["messages"])
    (run,) = kept(place).all()
    assert run.record.questions == (QUESTION, "And the Sun, does it cause tides?")
    listed = oresearch(place, "runs").stdout
    assert run.id in listed
    assert "complete" in listed
    shown = oresearch(place, "runs", "show", run.id[-6:]).stdout
    assert "question 1: What causes tides" in shown
    assert "base_url: http://127.0.0.1" in shown
    (facts,) = [json.loads(line) for line in oresearch(place, "runs", "--json").stdout.splitlines()]
    assert facts["state"] == "complete"
    assert "no run" in oresearch(place, "runs", "--older-than", "1h").stdout
    assert oresearch(place, "runs", "delete", run.id).stdout == f"deleted {run.id}\n"
    assert not run.folder.exists()
    assert "there is no such run" in oresearch(place, "runs", "show", run.id).stderr


def test_a_run_that_is_gone_on_with_is_delivered_where_it_was_to_be(place: Path):
    outs = ("--out", "r.html", "--out", "new/r.json", "--trace", "t.jsonl")
    with OpenAIServer(BRAIN, Habits(latency=0.3)) as server:
        process = WarmProcess(
            COMMAND, "run", QUESTION, *outs, *options(server), cwd=place,
            env=environment(place), streams=streams(place),
        )  # fmt: skip
        end = time.monotonic() + 20
        while len(server.requests) < 3 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        (run,) = kept(place).all()
        assert run.record.reports == (str(place / "r.html"), str(place / "new" / "r.json"))
        elsewhere = place / "elsewhere"
        elsewhere.mkdir()
        done = run_warm(COMMAND, "run", "--resume", run.id, cwd=elsewhere, env=environment(place))
        assert done.returncode == 0, done.stderr
    assert "[1]" in (place / "r.html").read_text("utf-8")
    assert json.loads((place / "new" / "r.json").read_text("utf-8"))["outcome"] == "complete"
    assert list(elsewhere.iterdir()) == []


def test_a_run_that_has_ended_is_delivered_in_another_format(place: Path):
    with OpenAIServer(BRAIN) as server:
        oresearch(place, "run", QUESTION, *options(server), "--out", "r.md", "--trace", "t.jsonl")
        (run,) = kept(place).all()
        (place / "r.md").write_text("Edited.")
        asked = len(server.requests)
        for name in ("r.md", "r.html"):  # where it was, and where it is now to be
            out = () if name == "r.md" else ("--out", name)
            assert oresearch(place, "run", "--resume", run.id, *out).returncode == 0
            assert (place / name).exists()
        assert len(server.requests) == asked
    assert (place / "r.md").read_text() == "Edited."
    assert len(list(read_traces(place / "t.jsonl"))) == 1


def test_a_run_that_was_killed_before_it_was_delivered_is_delivered(place: Path):
    with OpenAIServer(BRAIN) as server:
        oresearch(place, "run", QUESTION, *options(server), "--out", "r.md", "--trace", "t.jsonl")
        (run,) = kept(place).all()
        run.update(ended=None)
        (place / "r.md").write_text("Half of")
        for traces in (1, 1):
            assert oresearch(place, "run", "--resume", run.id).returncode == 0
            assert "[1]" in (place / "r.md").read_text("utf-8")
            assert len(list(read_traces(place / "t.jsonl"))) == traces
            run.update(ended=None)
            (place / "t.jsonl").unlink()


def test_a_record_of_one_report_is_read(place: Path):
    run = kept(place).new("tides?")
    file = run.folder / "run.json"
    record = json.loads(file.read_text())
    del record["reports"]
    file.write_text(json.dumps(record | {"report": "/r.md"}))
    assert kept(place).find(run.id).record.reports == ("/r.md",)


def test_only_their_owner_reads_them(place: Path):
    with OpenAIServer(BRAIN) as server:
        oresearch(place, "run", QUESTION, *options(server))
    (run,) = kept(place).all()
    for path in (run.folder, *run.folder.iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_run_that_was_not_to_be_kept_is_not(place: Path):
    with OpenAIServer(BRAIN) as server:
        assert oresearch(place, "run", QUESTION, "--no-keep", *options(server)).returncode == 0
    assert kept(place).all() == []


def test_a_home_that_cannot_be_written_costs_no_answer(place: Path):
    (place / "file").write_text("")
    with OpenAIServer(BRAIN) as server:
        variables = environment(place) | {"XDG_DATA_HOME": str(place / "file")}
        done = run_warm(
            COMMAND, "run", QUESTION, "--quiet", *options(server), cwd=place, env=variables
        )
    assert done.returncode == 0
    assert "[1]" in done.stdout
    (said,) = done.stderr.splitlines()
    assert "the run cannot be kept in" in said
    assert "set ORESEARCH_HOME to a folder that can be written, or run with --no-keep" in said


def test_three_at_once_leave_three_reports(place: Path):
    with OpenAIServer(BRAIN, Habits(latency=0.1)) as server:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", COMMAND, "run", QUESTION, "--quiet", *options(server)],
                cwd=place,
                env=environment(place),
                stdout=subprocess.DEVNULL,
            )
            for _ in range(3)
        ]
        assert [process.wait(90) for process in processes] == [0, 0, 0]
    reports = sorted(place.glob("out/*/report.md"))
    assert len(reports) == 3
    assert [len(list(read_traces(r.with_name("trace.jsonl")))) for r in reports] == [1, 1, 1]


def test_a_run_that_is_worked_on_is_left_alone(place: Path):
    run = kept(place).new("tides?")
    with run.locked():
        assert kept(place).find(run.id).state == "at work"
        with pytest.raises(ConfigurationError, match="another process is at work on the run"):
            kept(place).find(run.id).delete()
    assert kept(place).find(run.id).state == "interrupted"
    run.delete()


def test_a_broken_record_hides_no_other(place: Path):
    run = kept(place).new("tides?")
    (kept(place).folder / "20200101-abcdef").mkdir()
    (kept(place).folder / "20200101-abcdef" / "run.json").write_text("{")
    assert [each.id for each in kept(place).all()] == [run.id]


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_damaged_checkpoints_are_one_line_with_the_fix(place: Path, damage: str):
    with OpenAIServer(BRAIN) as server:
        assert oresearch(place, "run", QUESTION, *options(server)).returncode == 0
        (run,) = kept(place).all()
        whole = run.checkpoints.read_bytes()
        run.checkpoints.write_bytes(b"no database" * 9 if damage == "garbage" else whole[:6_000])
        done = oresearch(place, "run", "--resume", run.id, "--quiet")
    assert done.returncode == 2
    (said,) = done.stderr.splitlines()
    assert "checkpoints.sqlite cannot be used" in said
    assert f"oresearch runs delete {run.id}" in said
    assert oresearch(place, "runs", "delete", run.id).returncode == 0


@pytest.mark.parametrize("age", ["", "3", "d", "1y", "-1d", "9" * 9 + "d"])
def test_what_is_no_age_is_refused(age: str):
    with pytest.raises(ConfigurationError, match="is no age: write 12h, 30d or 8w"):
        older_than(age)


def test_a_key_is_read_again_and_never_kept(place: Path):
    secret = "sk-very-secret-0123456789"
    (place / "config" / "oresearch").mkdir(parents=True)
    config = place / "config" / "oresearch" / "oresearch.toml"
    config.write_text(f'[parameters.planner]\napi_key = "{secret}"\n')
    with OpenAIServer(BRAIN) as server:
        assert oresearch(place, "run", QUESTION, *options(server)).returncode == 0
    (run,) = kept(place).all()
    assert run.record.withheld == ("parameters",)
    for path in run.folder.iterdir():
        assert secret.encode() not in path.read_bytes()
    config.unlink()
    refused = oresearch(place, "run", "--resume", run.id)
    assert "begun with parameters that hold a key" in refused.stderr
    assert refused.returncode == 2
