"""The whole pipeline against a loopback server: what runs, what is left alone, what is refused."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from datagen.export.verify import verify_dataset
from datagen.funnel import count_funnel, draw_funnel
from datagen.run.folder import RunFolder, Work
from datagen.settings import DatagenSettings
from datagen.stages import STAGES, run_all, states
from oresearch_graph.errors import ConfigurationError
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.quoting_brain import QuotingBrain

TOPICS = ("glaciers", "orchards")


def documents(folder: Path) -> Path:
    folder.mkdir()
    for topic in TOPICS:
        facts = [
            f"The {topic} of the northern valley were measured by {n} people in the year 19{n}0. "
            f"A later study of {topic} by the institute found {n}4 differences between their sides."
            for n in range(2, 8)
        ]
        (folder / f"{topic}.md").write_text(f"# About {topic}\n\n" + "\n\n".join(facts), "utf-8")
    return folder


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    file = tmp_path / "seeds.jsonl"
    lines = [
        {"question": f"How have {topic} of the northern valley changed?", "domain": topic}
        for topic in TOPICS
    ]
    file.write_text("\n".join(map(json.dumps, lines)), "utf-8")
    return file


def work_for(folder: Path, seeds: Path, server: OpenAIServer, **changes: Any) -> Work:
    docs = folder / "docs"
    model = {"model": "fake", "base_url": server.base_url}
    settings: dict[str, Any] = {
        "research": {
            "search": "corpus", "corpus": str(docs if docs.exists() else documents(docs)),
            "max_subtasks": 2, "max_steps": 3, "max_tool_calls": 2, "observation_tokens": 300,
            "results_per_query": 2,
        },
        "seeds": {"files": [str(seeds)]},
        "generate": {"candidates": 2, "teachers": [{"name": "loopback", **model}]},
        "filter": {
            "min_calls": 1, "min_observations": 2, "min_steps": 8, "report_words": [30, 5000],
            "min_coverage": 0.2,
        },
        "judge": {**model, "votes": 1, "keep_per_seed": 2},
        "review": {"gate": "off"},
        "export": {"validation": 0.0, "formats": ["parquet"]},
    }  # fmt: skip
    for section, more in changes.items():
        settings[section] = {**settings[section], **more}
    return Work(
        RunFolder(folder / "run"),
        DatagenSettings.model_validate(settings),
        Console(file=io.StringIO(), width=200),
    )


def said(work: Work) -> str:
    assert isinstance(work.console.file, io.StringIO)
    return work.console.file.getvalue()


def test_the_pipeline_goes_from_seeds_to_a_proved_data_set(tmp_path: Path, seeds: Path):
    with OpenAIServer(QuotingBrain()) as server:
        work = work_for(tmp_path, seeds, server)
        run_all(work)
        assert set(states(work.run, work.settings).values()) == {"fresh"}
        asked = len(server.requests)
        run_all(work)
        assert len(server.requests) == asked, "what is fresh is left alone"
        run_all(work_for(tmp_path, seeds, server, judge={"min_quality": 0.5}))
        assert len(server.requests) == asked, "another threshold decides anew and asks nobody"
    left = {level.name: level.remaining for level in count_funnel(work).levels}
    assert left["seeds"] == 2
    assert left["candidates"] == left["traces"] == 4
    assert left["exported"] == left["best of their seed"] == 4
    assert draw_funnel(work, tmp_path / "funnel.png").stat().st_size > 5_000
    assert verify_dataset(work.run.dataset, Console(file=io.StringIO())) == 0
    from datasets import load_dataset  # a second, in each worker that collects this file

    rows = load_dataset(str(work.run.dataset), "sft-threads", cache_dir=str(tmp_path / "cache"))
    assert {row["role"] for row in rows["train"]} == {
        "planner", "researcher", "summarizer", None
    }  # fmt: skip


def test_a_changed_rubric_re_runs_the_judge_and_what_follows_and_nothing_before(
    tmp_path: Path, seeds: Path
):
    with OpenAIServer(QuotingBrain()) as server:
        work = work_for(tmp_path, seeds, server)
        run_all(work)
        changed = work_for(tmp_path, seeds, server, judge={"votes": 3})
        found = states(changed.run, changed.settings)
    assert [found[stage.name] for stage in STAGES[:3]] == ["fresh"] * 3
    assert [found[stage.name] for stage in STAGES[3:]] == ["stale"] * 4


def test_it_stops_for_people_and_says_what_to_do(tmp_path: Path, seeds: Path):
    with OpenAIServer(QuotingBrain()) as server:
        work = work_for(tmp_path, seeds, server, review={"gate": "on"})
        run_all(work)
        run_all(work)  # nobody has looked at anything yet
    assert not work.run.dataset.exists()
    assert said(work).count("then: python -m datagen all") == 2
    assert (work.run.review / "sample.json").exists()


def test_a_second_process_on_one_folder_is_refused(tmp_path: Path, seeds: Path):
    run = RunFolder(tmp_path / "run")
    with run.locked():
        done = subprocess.run(
            [sys.executable, "-m", "datagen", "seeds", str(run.root), "--file", str(seeds)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 2
    assert "works in this folder" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not run.seeds.exists()


def test_nothing_is_drawn_before_anything_ran(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="begin with seeds"):
        draw_funnel(Work(RunFolder(tmp_path), DatagenSettings()), tmp_path / "funnel.png")
