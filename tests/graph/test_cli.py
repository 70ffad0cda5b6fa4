"""The command line as people call it: the installed script once, and then its entry point, in
processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oresearch_graph.command.configuration import settings_of
from oresearch_graph.trace import read_traces, violations, write_traces
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Habits,
)
from tests.helpers.traces import GOOD, good_trace, trace_of
from tests.helpers.warm_python import run_warm

QUESTION = "How does asyncio cancel tasks?"


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.endswith("_API_KEY") and not name.startswith("ORESEARCH_")
    }
    return kept | more


COMMAND = "from oresearch_graph.command.cli import main; main()"


def oresearch(
    *arguments: str, cwd: Path, stdin: str = "", **env: str
) -> subprocess.CompletedProcess[str]:
    return run_warm(COMMAND, *arguments, cwd=cwd, env=environment(**env), stdin=stdin)


def one_line(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on standard error; no traceback."""
    assert done.stdout == ""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, done.stderr
    assert done.returncode != 0
    return lines[0]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [Path(sys.executable).with_name("oresearch"), "run", QUESTION, "--search", "python",
         "--out", "r.md", "--trace", "t.jsonl"],
        cwd=folder, env=environment(), input="", capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    return done, folder


def test_the_demo_keeps_its_promises(demo):
    done, folder = demo
    assert done.returncode == 0, done.stderr
    (trace,) = read_traces(folder / "t.jsonl")
    assert trace.outcome == "complete"
    assert len(trace.branches) >= 3
    assert violations(trace) == ()
    assert trace.citations is not None
    assert trace.citations.accuracy == 1.0
    cited = {number for claim in trace.citations.claims for number in claim.sources}
    assert len({source.url for source in trace.sources or () if source.id in cited}) >= 5
    assert done.stdout.strip() == (folder / "r.md").read_text().strip()
    assert "No language model wrote this report" in done.stdout


def test_the_demo_says_who_wrote_where_the_files_are_and_what_is_next(demo):
    done, _ = demo
    assert done.stderr.splitlines()[0].startswith("No language model: the extractive policy")
    assert "report: r.md" in done.stderr
    assert "trace:  t.jsonl" in done.stderr
    assert f"oresearch run '{QUESTION}' --corpus DIR" in done.stderr
    assert "OPENAI_API_KEY=… TAVILY_API_KEY=… oresearch run" in done.stderr


def test_check_accepts_what_run_wrote(demo):
    done = oresearch("check", "t.jsonl", cwd=demo[1])
    assert done.returncode == 0
    assert "well-formed" in done.stdout


def test_check_names_violations_and_counts_them_in_its_status(tmp_path):
    bad = trace_of(GOOD.replace("[2001]", "[999]"))
    write_traces(tmp_path / "t.jsonl", [good_trace(), bad])
    done = oresearch("check", "t.jsonl", cwd=tmp_path)
    assert done.returncode == 1
    assert "dangling_citation" in done.stdout
    as_json = oresearch("check", "--json", "t.jsonl", cwd=tmp_path)
    rows = [json.loads(line) for line in as_json.stdout.splitlines()]
    assert [len(row["violations"]) for row in rows] == [0, 1]
    piped = oresearch("check", "-", cwd=tmp_path, stdin=good_trace().model_dump_json() + "\n")
    assert piped.returncode == 0


def test_json_is_one_object_on_standard_output(tmp_path):
    done = oresearch(
        "run", QUESTION, "--search", "python", "--json", "--effort", "quick",
        "--execution", "sequential", cwd=tmp_path,
    )  # fmt: skip
    told = json.loads(done.stdout)
    assert told["outcome"] == "complete"
    assert told["question"] == QUESTION
    assert told["report"].startswith("## Introduction")
    statuses, claims = told["citations"]["statuses"], told["citations"]["claims"]
    assert statuses["quoted"] >= 0.8 * claims > 0
    assert not {"missing", "contradicted", "dangling"} & statuses.keys()
    assert told["usage"]["model_calls"] == 0
    assert told["usage"]["cost"] is None
    assert "outcome: complete" in done.stderr
    assert (tmp_path / told["report_paths"][0]).exists()
    (trace,) = read_traces(tmp_path / told["trace_path"])
    assert trace.execution == "sequential"
    assert len(trace.branches) <= 3


def test_a_second_run_leaves_the_first_ones_report_alone(tmp_path):
    asked = ("run", QUESTION, "--search", "python", "--effort", "quick", "--quiet")
    assert [oresearch(*asked, cwd=tmp_path).returncode for _ in range(2)] == [0, 0]
    slug = "how-does-asyncio-cancel-tasks"
    for folder in (slug, f"{slug}-2"):
        (trace,) = read_traces(tmp_path / "out" / folder / "trace.jsonl")
        assert trace.question == QUESTION
        assert (tmp_path / "out" / folder / "report.md").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device that is always full")
def test_a_report_that_cannot_be_written_is_still_printed(tmp_path):
    (tmp_path / "full.md").symlink_to("/dev/full")
    done = oresearch(
        "run", QUESTION, "--search", "python", "--effort", "quick", "--quiet",
        "--out", "full.md", "--trace", "t.jsonl", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.startswith("## Introduction")
    assert done.stderr == "oresearch: full.md: cannot be written: No space left on device\n"
    assert [trace.outcome for trace in read_traces(tmp_path / "t.jsonl")] == ["complete"]


def test_a_setting_is_read_as_its_type(monkeypatch):
    monkeypatch.setenv("ORESEARCH_TONE", "plain")
    monkeypatch.setenv("ORESEARCH_SEED", "7")
    given = settings_of(
        {"effort": "quick", "model": None},
        ["length=300", "outline=A, B", "seed=3", "language=null", "max_cost=0.5", "soft_limit = 1"],
    )
    assert (given.length, given.outline, given.seed) == ("300", ("A", "B"), 3)
    assert (given.language, given.max_cost, given.soft_limit) == (None, 0.5, 1.0)
    assert (given.effort, given.tone, given.execution) == ("quick", "plain", "parallel")


def test_with_a_key_and_no_model_the_default_model_is_named(tmp_path):
    brain = ResearchBrain(("One",))
    with OpenAIServer(brain, models=("gpt-5-mini",)) as server:
        done = oresearch(
            "run", QUESTION, cwd=tmp_path,
            OPENAI_API_KEY="x", OPENAI_BASE_URL=server.base_url,
        )  # fmt: skip
    first = done.stderr.splitlines()[0]
    assert first.startswith("OPENAI_API_KEY is set and no --model: openai:gpt-5-mini.")
    assert "Set TAVILY_API_KEY for the web" in first
    assert server.requests[0]["model"] == "gpt-5-mini"


def test_a_folder_is_indexed_and_searched(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "tides.md").write_text(
        "# Tides\n\nTides are caused by the gravity of the Moon. "
        "The tidal range of the Bay of Fundy reaches 16 metres.\n"
    )
    home = str(tmp_path / "home")
    indexed = oresearch("index", "docs", cwd=tmp_path, ORESEARCH_HOME=home)
    assert indexed.returncode == 0, indexed.stderr
    assert "1 documents" in indexed.stderr
    for corpus in ("docs", "docs/tides.md"):
        done = oresearch(
            "run", "What causes tides?", "--corpus", corpus, cwd=tmp_path, ORESEARCH_HOME=home
        )
        assert done.returncode == 0, done.stderr
        assert "the gravity of the Moon. The tidal range of the Bay of Fundy" in done.stdout


def test_a_question_without_evidence_fails_and_says_so(tmp_path):
    done = oresearch(
        "run", "Who won the 2031 curling championship in Ulaanbaatar?", "--search", "python",
        "--trace", "t.jsonl", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert "no_evidence" in done.stderr
    assert oresearch("check", "t.jsonl", cwd=tmp_path).returncode == 0


def test_a_model_on_a_server_is_used_and_its_rendering_is_told(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "flume.md").write_text("A flume is: this is what the sources say. It is good for it.")
    with OpenAIServer(ResearchBrain(("A flume is",))) as server:
        done = oresearch(
            "run", "What is a flume?", "--model", "fake", "--base-url", server.base_url,
            "--corpus", "docs", "--trace", "t.jsonl", cwd=tmp_path,
            ORESEARCH_HOME=str(tmp_path / "home"),
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("fake (turns: ")
    (trace,) = read_traces(tmp_path / "t.jsonl")
    assert trace.models["summarizer"] == "fake"


def test_a_servers_one_model_needs_no_name(tmp_path):
    with OpenAIServer(ResearchBrain(("A flume is",))) as server:
        done = oresearch(
            "run", "What is a flume?", "--base-url", server.base_url, "--search", "python",
            cwd=tmp_path,
        )  # fmt: skip
    assert done.stderr.startswith("fake (turns: "), done.stderr


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["run", "  "], "the question is empty"),
        (["run", "q", "--effort", "huge"], "the setting effort cannot be 'huge'"),
        (["run", "q", "--set", "colour=red"], "there is no setting 'colour'"),
        (["run", "q", "--set", "sede=1"], "did you mean seed?"),
        (["run", "q", "--set", "seed=x"], "the setting seed cannot be 'x'"),
        (["run", "q", "--out", "."], "is a folder: name a file in it"),
        (["run", "q", "--out", "same", "--trace", "same"], "name two files"),
        (["run", "q", "--out", "notes.txt/r.md"], "is no folder"),
        (["run", "q", "--trace", "notes.txt"], "notes.txt:1: not a trace"),
        (["run", "q", "--base-url", "http://127.0.0.1:9/v1"], "add --model NAME"),
        (["run", "q", "--set", "colour"], "write --set name=value"),
        (["run", "q", "--model", "nonsense:x"], "nonsense"),
        (["run", "q", "--model", "openai:gpt-5-mini"], "set OPENAI_API_KEY"),
        (["run", "q", "--model", "m", "--base-url", "nonsense"], "is no base URL"),
        (["run", "q", "--search", "tavily"], "set TAVILY_API_KEY"),
        (["run", "q", "--search", "altavista"], "use auto, tavily, corpus, python or searxng:URL"),
        (["run", "q", "--corpus", "nowhere"], "does not exist"),
        (["run", "q", "--include", "a/b", "--search", "python"], "is no domain"),
        (["run", "q", "--approve-plan"], "needs a terminal"),
        (["index", "nowhere"], "does not exist"),
        (["check", "nowhere.jsonl"], "cannot be read: No such file"),
        (["check", "broken.jsonl"], "broken.jsonl:1: not a trace"),
        (["check", "empty.jsonl"], "holds no trace"),
        (["check", "-"], "standard input: holds no trace"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line(arguments, line, tmp_path):
    (tmp_path / "broken.jsonl").write_text("{oops\n")
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "notes.txt").write_text("my own notes")
    arguments = [*arguments, "--quiet"] if arguments[0] == "run" else arguments
    done = oresearch(*arguments, cwd=tmp_path)
    assert line in one_line(done)
    assert done.returncode == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "broken.jsonl", "empty.jsonl", "notes.txt"
    }  # fmt: skip
    assert (tmp_path / "notes.txt").read_text() == "my own notes"


def test_an_unknown_model_is_one_clear_line(tmp_path):
    with OpenAIServer(ResearchBrain(("One",))) as server:
        done = oresearch(
            "run", "q", "--model", "m", "--base-url", server.base_url, "--quiet",
            "--search", "python", cwd=tmp_path,
        )  # fmt: skip
    assert "check the model's name" in one_line(done)
    assert done.returncode == 1


def test_an_unreachable_server_is_one_clear_line(tmp_path):
    done = oresearch(
        "run", "q", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--quiet",
        "--search", "python", cwd=tmp_path,
    )  # fmt: skip
    assert "127.0.0.1:9" in one_line(done) or "no connection" in one_line(done)
    assert done.returncode == 1


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
def test_ctrl_c_saves_what_was_done(tmp_path, execution):
    with OpenAIServer(ResearchBrain(("One", "Two")), Habits(latency=0.5)) as server:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, "run", "q", "--model", "fake", "--base-url",
             server.base_url, "--search", "python", "--trace", "t.jsonl",
             "--set", 'rendering="turns"', "--execution", execution],
            cwd=tmp_path, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        deadline = time.monotonic() + 60
        while len(server.requests) < 5 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    (trace,) = read_traces(tmp_path / "t.jsonl")
    assert trace.subtasks == ("One", "Two")
    assert any(step.kind == "observation" for step in trace.steps)
    assert {failure.fault for failure in trace.failures} == {"person"}
    assert sorted(f.branch for f in trace.failures if f.branch) in ([1, 2], [2])
    assert {source.url for source in trace.sources or ()}
    assert all(violation.declared for violation in violations(trace))


def test_schema_is_the_records_json_schema(tmp_path):
    done = oresearch("schema", cwd=tmp_path)
    assert json.loads(done.stdout)["title"] == "Trace"
