"""A small model behind a slow server with one slot as a teacher: what it is asked, the rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from datagen.export.dataset import write_dataset
from datagen.export.verify import verify_dataset
from datagen.filter.stage import filter_traces
from datagen.funnel import caption, count_funnel
from datagen.generate.maker import LocalRunner
from datagen.generate.stage import generate
from datagen.run.folder import Work
from datagen.settings import DatagenSettings, FilterSettings, read_settings, settings_text
from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.prompts import (
    LAST_TASK,
    NEXT_TASK,
    PLAN_TASK,
    REPORT_TASK,
    SEARCH_TASK,
    protocol,
    system_prompt,
)
from oresearch_graph.rows.sft import read_rows
from oresearch_graph.trace import Trace, read_traces, violations
from tests.helpers import export_run
from tests.helpers.generating import work_in
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.small_model import forget_probes, one_slot


@pytest.fixture(autouse=True)
def _no_probe_is_remembered() -> None:
    forget_probes()


def small_run(folder: Path, server: OpenAIServer, count: int = 1, **generated: Any) -> Work:
    teacher = {"name": "small", "model": "fake", "base_url": server.base_url}
    settings = {"candidates": 1, "executions": ["parallel"], "teachers": [teacher], **generated}
    return work_in(folder, count, **settings)


def test_a_slow_teacher_has_the_small_limits_and_the_short_prompts(tmp_path: Path):
    with one_slot() as server:
        work = small_run(tmp_path, server, 3)
        assert generate(work, LocalRunner(search=Documents(PAGES)))["generated"] == 3
    traces = list(read_traces(work.run.generated))
    assert all(violations(trace) == () for trace in traces)
    assert all(trace.protocol.extended and trace.protocol.constrained for trace in traces)
    bodies = [body for body in server.requests if "grammar" in body]
    systems = {body["messages"][0]["content"].split(".")[0] for body in bodies}
    assert len(systems) == 3
    assert not any("Write your reasoning out" in str(body["messages"]) for body in bodies)
    assert {body["max_completion_tokens"] for body in bodies} == {160, 240, 900}
    assert {body["temperature"] for body in bodies} == {0.0}
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


async def test_its_rows_are_told_under_the_training_prompt_and_every_tag_is_a_target(
    tmp_path: Path,
):
    trace = await constrained_trace()
    work = export_run.work_of(tmp_path, [trace], validation=0)
    work = replace(
        work,
        settings=work.settings.model_copy(
            update={"research": ResearchSettings(effort="quick", prompt_style="roles")}
        ),
    )
    counts = write_dataset(work)
    assert (counts["traces"], counts["constrained"]) == (1, 1)
    assert verify_dataset(work.run.dataset, work.console) == 0
    plain = protocol(ResearchSettings(effort="quick"))
    assert trace.protocol.fingerprint != plain.fingerprint
    for config in ("sft-threads", "sft-linear"):
        rows = list(read_rows(work.run.dataset / config / "train.parquet"))
        assert {row.fingerprint for row in rows} == {plain.fingerprint}
        assert {row.system for row in rows} == {system_prompt(ResearchSettings(effort="quick"))}
        targets = "".join(row.policy_text for row in rows)
        for tag in ("subtask_list", "think", "web_search", "subtask_answer", "suggested_answer"):
            assert targets.count(f"<{tag}>") == sum(step.kind == tag for step in trace.steps)
        for task in (PLAN_TASK, SEARCH_TASK, NEXT_TASK, LAST_TASK, REPORT_TASK):
            assert not any(task in row.text or task in row.question for row in rows)
    card = " ".join((work.run.dataset / "README.md").read_text().split())
    assert "1 of 1 traces were held to the protocol's grammar" in card
    assert "1 traces were made under another prompt" in card


def test_constrained_traces_are_counted_and_can_be_left_out(tmp_path: Path):
    trace = asyncio.run(constrained_trace())
    work = export_run.work_of(tmp_path, [trace])
    funnel = count_funnel(work)
    assert funnel.constrained == 1
    assert "1 traces were held to the protocol's grammar" in caption(funnel)
    assert "constrained" not in filter_traces(work, 1)
    strict = FilterSettings(allow_constrained=False)
    work = replace(work, settings=work.settings.model_copy(update={"filter": strict}))
    assert filter_traces(work, 1)["constrained"] == 1


async def constrained_trace() -> Trace:
    with one_slot() as server:
        graph = create_research_graph(
            "fake", search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, effort="quick"),
        )  # fmt: skip
        trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    assert {step.opened for step in trace.steps} >= {"given"}
    return trace.model_copy(update={"id": "s1.1"})
