"""Where generating ends: limits on spending, lost candidates, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from datagen.generate.maker import LocalRunner
from datagen.generate.stage import generate
from datagen.records import Lost
from datagen.run.folder import Work
from datagen.run.record_files import read_records
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError, PolicyError, ToolError
from oresearch_graph.policies.chat.model_call import ModelCall
from oresearch_graph.policies.models import Policies
from oresearch_graph.trace import read_traces
from tests.helpers.datagen_work import said
from tests.helpers.generating import MODEL, Failing, expected, scripted, seeds, work_in
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script


def test_at_a_limit_nothing_is_begun_and_the_stage_says_so(tmp_path: Path):
    work = work_in(tmp_path, max_tokens=250, concurrency=1)
    counts = generate(work, scripted())
    assert counts == {"planned": 6, "generated": 3, "lost": 0, "left": 3}
    assert "stopped: 360 tokens are spent of generate.max_tokens=250" in said(work)
    policy = ScriptedPolicy(research_script())
    again = work_in(tmp_path, max_tokens=300, concurrency=1)
    assert generate(again, scripted(policy=policy))["generated"] == 3
    assert policy.threads == []
    enough = work_in(tmp_path, max_tokens=10_000)
    assert generate(enough, scripted())["generated"] == 6


def test_money_counts_by_the_settings_prices_and_survives(tmp_path: Path):
    priced: dict[str, Any] = {
        "prices": {"scripted": {"prompt": 1000.0, "completion": 1000.0}},
        "concurrency": 1,
    }
    work = work_in(tmp_path, max_cost=0.2, **priced)
    assert generate(work, scripted())["generated"] == 2
    assert "stopped: $0.24 is spent of generate.max_cost=0.2" in said(work)
    assert [trace.usage[0].cost for trace in read_traces(work.run.generated)] == [0.02, 0.02]
    assert generate(work_in(tmp_path, max_cost=0.21, **priced), scripted())["generated"] == 2


def test_a_limit_on_money_needs_the_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    teacher = {"name": "local", "model": "mine", "base_url": "http://127.0.0.1:1/v1"}
    work = work_in(tmp_path, teachers=[teacher], max_cost=1.0)
    with pytest.raises(ConfigurationError, match=r"price of mine is not known: set generate"):
        generate(work, LocalRunner(search=Documents(PAGES)))


def test_a_lost_candidate_is_tried_again_and_at_last_given_up(tmp_path: Path):
    work = work_in(tmp_path, 2, tries=2, concurrency=1)
    bad = min(expected(work))
    question = next(s.question for s in seeds(2) if bad.startswith(s.id))
    policy = Failing(
        lambda thread: PolicyError("filtered") if thread.question == question else None
    )
    assert generate(work, scripted(policy=policy)) == {
        "planned": 4, "generated": 2, "lost": 2, "left": 0,
    }  # fmt: skip
    assert {lost.tries for lost in read_records(work.run.lost, Lost)} == {1}
    assert "2 of them are tried again" in said(work)
    generate(work, scripted(policy=policy))
    assert {lost.reason for lost in read_records(work.run.lost, Lost)} == {"filtered"}
    assert generate(work, scripted())["lost"] == 2
    more = work_in(tmp_path, 2, tries=3)
    assert generate(more, scripted())["lost"] == 0
    assert list(read_records(work.run.lost, Lost)) == []


def test_a_tool_service_that_failed_a_candidate_loses_it_whole(tmp_path: Path):
    class Down(Documents):
        async def search(self, queries: Any, k: int) -> Any:
            raise ToolError("the search service is down")

    work = work_in(tmp_path, 1, candidates=1)
    runner = LocalRunner(lambda *_: Policies.single(ScriptedPolicy(research_script())), Down(PAGES))
    assert generate(work, runner)["lost"] == 1
    [lost] = read_records(work.run.lost, Lost)
    assert (lost.reason, lost.tokens) == ("the search service is down", 100)
    assert generate(work, scripted())["generated"] == 1


def test_losses_in_a_row_stop_the_stage(tmp_path: Path):
    work, policy = work_in(tmp_path, 9, concurrency=1), Failing(lambda _: PolicyError("HTTP 500"))
    with pytest.raises(PolicyError, match="5 candidates were lost one after the other"):
        generate(work, scripted(policy=policy))
    assert len(list(read_records(work.run.lost, Lost))) == 5


def test_a_model_server_that_is_down_stops_the_stage_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ModelCall, "_wait", lambda *_: 0.0)
    teacher = {"name": "t", "model": "fake", "base_url": "http://127.0.0.1:9/v1",
               "rendering": "turns"}  # fmt: skip
    work = work_in(tmp_path, teachers=[teacher])
    with pytest.raises(ConfigurationError, match="no connection"):
        generate(work, LocalRunner(search=Documents(PAGES)))
    assert list(read_records(work.run.lost, Lost)) == []


def test_a_setting_no_candidate_survives_stops_the_stage(tmp_path: Path):
    work = work_in(tmp_path)
    wrong = DatagenSettings.model_validate(
        {**work.settings.model_dump(), "research": {"search": "nowhere"}}
    )
    runner = LocalRunner(lambda *_: Policies.single(ScriptedPolicy(research_script())))
    with pytest.raises(ConfigurationError, match="search='nowhere' is unknown"):
        generate(Work(work.run, wrong, work.console), runner)


def test_extractive_teachers_do_not_mix_unless_told(tmp_path: Path):
    mixed: dict[str, Any] = {"teachers": [MODEL, {"name": "quotes"}]}
    with pytest.raises(ConfigurationError, match="quotes has no model"):
        generate(work_in(tmp_path, **mixed), scripted())
    allowed = work_in(tmp_path, allow_extractive=True, **mixed)
    assert generate(allowed, scripted())["generated"] == 6


def test_extractive_traces_are_watermarked_and_stay_alone_in_their_folder(tmp_path: Path):
    work = work_in(tmp_path, 1, teachers=[])
    assert generate(work, LocalRunner(search=Documents(PAGES)))["generated"] == 2
    assert all(trace.extractive for trace in read_traces(work.run.generated))
    with pytest.raises(ConfigurationError, match="do not mix with a model's: use another folder"):
        generate(work_in(tmp_path, 2), scripted())


@pytest.mark.parametrize(
    ("research", "told"),
    [({"model": "openai:o3"}, "named in generate.teachers"), ({"tone": "plain"}, "tone")],
)
def test_settings_that_seem_to_be_for_the_teacher_are_refused(
    tmp_path: Path, research: dict[str, str], told: str
):
    work = work_in(tmp_path)
    settings = DatagenSettings.model_validate(
        {"research": research, "generate": work.settings.generate}
    )
    with pytest.raises(ConfigurationError, match=told):
        generate(Work(work.run, settings, work.console), scripted())


def test_without_seeds_the_stage_says_what_to_run(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="run the seeds stage first"):
        generate(work_in(tmp_path, 0), scripted())
