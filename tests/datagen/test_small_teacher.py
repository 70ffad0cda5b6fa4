"""A small model behind a slow server with one slot as a teacher: what it is asked, the rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen.generate.maker import LocalRunner
from datagen.generate.stage import generate
from datagen.run.folder import Work
from datagen.settings import DatagenSettings, read_settings, settings_text
from oresearch_graph.trace import read_traces, violations
from tests.helpers.generating import work_in
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.small_model import forget_probes, one_slot


@pytest.fixture(autouse=True)
def _no_probe_is_remembered() -> None:
    forget_probes()


def small_run(folder: Path, server: OpenAIServer, count: int = 1, **generated: Any) -> Work:
    teacher = {"name": "small", "model": "fake", "base_url": server.base_url}
    told = {"candidates": 1, "executions": ["parallel"], "teachers": [teacher], **generated}
    return work_in(folder, count, **told)


def test_a_slow_teacher_has_the_small_limits_and_the_short_prompts(tmp_path: Path):
    with one_slot() as server:
        work = small_run(tmp_path, server, 3)
        assert generate(work, LocalRunner(search=Documents(PAGES)))["generated"] == 3
    traces = list(read_traces(work.run.generated))
    assert all(violations(trace) == () for trace in traces)
    assert all(trace.protocol.extended and trace.protocol.constrained for trace in traces)
    written = [body for body in server.requests if "grammar" in body]
    systems = {body["messages"][0]["content"].split(".")[0] for body in written}
    assert len(systems) == 3
    assert not any("Write your reasoning out" in str(body["messages"]) for body in written)
    assert {body["max_completion_tokens"] for body in written} == {160, 240, 900}
    assert {body["temperature"] for body in written} == {0.0}
    assert server.most_at_once == 1, "one slot: one candidate, one branch"


def test_so_many_candidates_at_one_time_as_were_asked_for(tmp_path: Path):
    with one_slot() as server:
        server.habits = replace(server.habits, latency=0.1)
        work = small_run(tmp_path, server, 3, concurrency=3)
        assert generate(work, LocalRunner(search=Documents(PAGES)))["generated"] == 3
        assert server.most_at_once > 1


def test_a_default_that_was_set_stays_set_in_the_runs_folder(tmp_path: Path):
    file = tmp_path / "datagen.yaml"
    file.write_text("research: {model_timeout: 180.0}\ngenerate: {concurrency: 8}\n")
    settings = read_settings(file)
    assert settings.research == DatagenSettings().research
    file.write_text(settings_text(settings))
    again = read_settings(file)
    assert again.research.model_fields_set == {"model_timeout"}
    assert again.generate.model_fields_set == {"concurrency"}
