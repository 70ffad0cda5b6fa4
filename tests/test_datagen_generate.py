"""Candidates from seeds: the plan, one run of the stage, going on after a stop, limits, losses."""

from __future__ import annotations

import gc
import io
import sqlite3
import time
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from datagen.funnel.count import count_funnel
from datagen.generate.book import Book
from datagen.generate.local_runner import LocalRunner
from datagen.generate.plan import plan, variants
from datagen.generate.progress import Tally, duration
from datagen.generate.runner import checkpoint_file
from datagen.generate.stage import generate
from datagen.generate.teachers import REASONING, writing_settings
from datagen.records import Lost, Recipe, Seed, candidate_id, seed_id
from datagen.run.folder import RunFolder
from datagen.run.record_files import read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.run.work import Work
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError, PolicyError, ToolError, TraceFileError
from oresearch_graph.policies.model_call import ModelCall
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Trace, Usage, read_traces, violations
from tests.scripted import PAGES, Documents, Script, ScriptedPolicy, research_script
from tests.traces import good_trace

MODEL = {"name": "m", "model": "openai:gpt-5-mini"}
OTHER = {"name": "o", "model": "openai:o3", "temperatures": []}


def seeds(count: int) -> list[Seed]:
    questions = [f"What causes tides number {number}?" for number in range(count)]
    return [Seed(id=seed_id(question), question=question) for question in questions]


def work_in(folder: Path, count: int = 3, **generated: Any) -> Work:
    run = RunFolder(folder)
    write_records(run.seeds, seeds(count))
    told = {"candidates": 2, "teachers": [MODEL], "progress_seconds": 1000.0, **generated}
    settings = DatagenSettings.model_validate({"generate": told})
    return Work(run, settings, Console(file=io.StringIO(), width=200))


def said(work: Work) -> str:
    file = work.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def scripted(script: Script | None = None, policy: Any = None) -> LocalRunner:
    """A runner whose teachers write from a script."""
    author = policy or ScriptedPolicy(script or research_script())
    return LocalRunner(lambda teacher, settings: Policies.single(author), Documents(PAGES))


def expected(work: Work) -> set[str]:
    return {job.id for job in plan(work.settings.generate, read_records(work.run.seeds, Seed))}


def generated(work: Work) -> list[str]:
    return [trace.id for trace in read_traces(work.run.generated)]


class Failing(ScriptedPolicy):
    """A scripted policy whose service fails while `wrong` says so."""

    def __init__(self, wrong: Callable[[Thread], Exception | None]) -> None:
        super().__init__(research_script())
        self.wrong = wrong

    async def continue_thread(self, thread: Thread, *more: Any, **options: Any) -> Continuation:
        if (error := self.wrong(thread)) is not None:
            raise error
        return await super().continue_thread(thread, *more, **options)


def test_imported_questions_have_their_trace_and_no_candidates_unless_asked_for(tmp_path: Path):
    (given,) = seeds(1)
    imported = Seed(id="other", question="Why do reefs die?", origin="imported")
    settings = work_in(tmp_path).settings.generate
    assert {job.candidate.seed for job in plan(settings, [given, imported])} == {given.id}
    asked = settings.model_copy(update={"imported_seeds": True})
    assert {job.candidate.seed for job in plan(asked, [given, imported])} == {given.id, "other"}


def test_the_plan_is_the_same_everywhere_and_other_seeds_do_not_change_it(tmp_path: Path):
    settings = work_in(
        tmp_path, candidates=4, temperatures=[0.5, 1.0], teachers=[MODEL, OTHER]
    ).settings.generate
    few, many = seeds(3), seeds(9)
    planned = [job.candidate for job in plan(settings, few)]
    assert planned == [job.candidate for job in plan(settings, few)]
    assert planned == [
        job.candidate for job in plan(settings, many) if job.candidate.seed in {s.id for s in few}
    ]
    assert [c.id for c in planned[:4]] == [candidate_id(few[0].id, n) for n in (1, 2, 3, 4)]


def test_candidates_of_a_seed_cycle_over_every_variant(tmp_path: Path):
    settings = work_in(
        tmp_path, candidates=6, temperatures=[0.5, 1.0], teachers=[MODEL, OTHER]
    ).settings.generate
    found = Counter(
        (job.candidate.recipe.teacher, job.candidate.recipe.temperature,
         job.candidate.recipe.execution)
        for job in plan(settings, seeds(1))
    )  # fmt: skip
    assert found == {
        ("m", 0.5, "parallel"): 1, ("m", 0.5, "sequential"): 1,
        ("m", 1.0, "parallel"): 1, ("m", 1.0, "sequential"): 1,
        ("o", None, "parallel"): 1, ("o", None, "sequential"): 1,
    }  # fmt: skip
    assert len(variants(settings)) == 6


def test_a_pool_is_drawn_from_by_candidate(tmp_path: Path):
    pool = {**MODEL, "researcher_models": ["a", "b"]}
    work = work_in(tmp_path, candidates=5, teachers=[pool])
    draws = [job.candidate.recipe.draw for job in plan(work.settings.generate, seeds(1))]
    assert len(set(draws)) == 5
    recipe = Recipe(teacher="m", draw=draws[0])
    assert writing_settings(work.settings, recipe).seed == draws[0]


def test_an_extractive_teacher_is_not_asked_twice_for_the_same(tmp_path: Path):
    settings = work_in(tmp_path, candidates=8, teachers=[]).settings.generate
    recipes = [job.candidate.recipe for job in plan(settings, seeds(1))]
    assert sorted(recipe.execution for recipe in recipes) == ["parallel", "sequential"]


def test_chat_teachers_are_asked_for_reasoning_and_the_protocol_says_so(tmp_path: Path):
    work = work_in(tmp_path)
    asked = writing_settings(work.settings, Recipe(teacher="m"))
    assert set(asked.prompts.values()) == {REASONING}
    assert asked.extended
    plain = work_in(tmp_path, ask_for_reasoning=False).settings
    assert not writing_settings(plain, Recipe(teacher="m")).extended
    extractive = work_in(tmp_path, teachers=[]).settings
    assert not writing_settings(extractive, Recipe(teacher="extractive")).extended


def test_the_environment_of_a_machine_changes_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe, settings = Recipe(teacher="m"), work_in(tmp_path).settings
    before = writing_settings(settings, recipe)
    monkeypatch.setenv("ORESEARCH_EFFORT", "deep")
    assert writing_settings(settings, recipe) == before
    assert before.model_fields_set == set(type(before).model_fields)


def test_every_candidate_becomes_a_trace_with_its_id(tmp_path: Path):
    work = work_in(tmp_path)
    counts = generate(work, scripted())
    assert counts == {"planned": 6, "generated": 6, "lost": 0, "left": 0}
    traces = list(read_traces(work.run.generated))
    assert {trace.id for trace in traces} == expected(work)
    assert len(traces) == 6
    assert {trace.execution for trace in traces} == {"parallel", "sequential"}
    assert all(violations(trace) == () for trace in traces)
    assert "6 of 6 done, 0 running, 720 tokens" in said(work)
    assert list(read_records(work.run.lost, Lost)) == []


def test_a_second_run_makes_nothing_again(tmp_path: Path):
    work, policy = work_in(tmp_path), ScriptedPolicy(research_script())
    generate(work, scripted(policy=policy))
    before, asked = work.run.generated.read_bytes(), len(policy.threads)
    assert generate(work, scripted(policy=policy))["generated"] == 6
    assert (work.run.generated.read_bytes(), len(policy.threads)) == (before, asked)


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
def test_a_stopped_candidate_goes_on_from_its_last_step(tmp_path: Path, execution: str):
    work = work_in(tmp_path, 1, candidates=1, executions=[execution])
    down = True

    def wrong(thread: Thread) -> Exception | None:
        return PolicyError("busy") if down and thread.role == "summarizer" else None

    policy = Failing(wrong)
    assert generate(work, scripted(policy=policy))["lost"] == 1
    assert [thread.role for thread in policy.threads].count("researcher") == 4
    down = False
    assert generate(work, scripted(policy=policy))["generated"] == 1
    assert [thread.role for thread in policy.threads].count("planner") == 1
    assert [thread.role for thread in policy.threads].count("researcher") == 4
    [trace] = read_traces(work.run.generated)
    assert (trace.outcome, violations(trace)) == ("complete", ())
    assert sum(usage.calls for usage in trace.usage) == 6


def test_a_resumed_candidate_has_its_time_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    work = work_in(tmp_path, 1, candidates=1)
    down = True
    policy = Failing(
        lambda thread: PolicyError("busy") if down and thread.role == "summarizer" else None
    )
    generate(work, scripted(policy=policy))
    down, now = False, time.time() + 1_000_000.0
    monkeypatch.setattr(time, "time", lambda: now)
    assert generate(work, scripted(policy=policy))["generated"] == 1
    [trace] = read_traces(work.run.generated)
    assert trace.failures == ()


def test_what_ended_and_was_not_written_is_taken_from_its_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    work, policy = work_in(tmp_path, 1, candidates=1), ScriptedPolicy(research_script())

    def full(*_: object) -> bool:
        raise TraceFileError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(Book, "finish", full)
        with pytest.raises(TraceFileError):
            generate(work, scripted(policy=policy))
    asked = len(policy.threads)
    assert generate(work, scripted(policy=policy))["generated"] == 1
    assert len(policy.threads) == asked


def test_other_recipes_resume_no_candidate_of_before(tmp_path: Path):
    first, second = work_in(tmp_path), work_in(tmp_path, ask_for_reasoning=False)
    dearer = work_in(tmp_path, max_cost=3.0, concurrency=2, tries=9)
    assert checkpoint_file(first) != checkpoint_file(second)
    assert checkpoint_file(first) == checkpoint_file(dearer)
    generate(first, scripted())
    assert generate(second, scripted())["generated"] == 6
    assert "6 candidates stand as they were made, some with other settings" in said(second)


def test_checkpoints_of_finished_candidates_are_deleted(tmp_path: Path):
    work = work_in(tmp_path)
    generate(work, scripted())
    with closing(sqlite3.connect(checkpoint_file(work))) as file:
        assert file.execute("SELECT COUNT(*) FROM checkpoints").fetchone() == (0,)
        assert file.execute("SELECT COUNT(*) FROM writes").fetchone() == (0,)


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


def test_what_a_crash_cut_is_made_again(tmp_path: Path):
    work = work_in(tmp_path, 2)
    generate(work, scripted())
    whole = work.run.generated.read_bytes()
    work.run.generated.write_bytes(whole[:-200])
    assert generate(work, scripted())["generated"] == 4
    assert sorted(generated(work)) == sorted(expected(work))


def test_the_funnel_is_counted_while_a_line_is_being_written(tmp_path: Path):
    work = work_in(tmp_path, 2, candidates=1)
    generate(work, scripted())
    for file, part in ((work.run.generated, b'{"version":1,"id":"s1'), (work.run.lost, b'{"id"')):
        file.write_bytes(file.read_bytes() + part)
    levels = {level.name: (level.left, level.lost) for level in count_funnel(work).levels}
    assert levels["traces"] == (2, {})


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path):
    work = work_in(tmp_path, 2)
    generate(work, scripted())
    lines = work.run.generated.read_bytes().splitlines(keepends=True)
    work.run.generated.write_bytes(b"".join([lines[0], b'{"version":1}\n', *lines[1:]]))
    with pytest.raises(TraceFileError, match=r"generated.jsonl:2: not a trace"):
        generate(work, scripted())


def test_a_question_that_was_changed_is_asked_anew(tmp_path: Path):
    work = work_in(tmp_path, 1, candidates=1)
    policy = Failing(lambda thread: PolicyError("busy") if thread.role == "summarizer" else None)
    generate(work, scripted(policy=policy))
    [seed] = seeds(1)
    write_records(work.run.seeds, [seed.model_copy(update={"question": "Why are there tides?"})])
    generate(work, scripted())
    [trace] = read_traces(work.run.generated)
    assert trace.question == "Why are there tides?"


def test_a_finished_candidate_does_not_stand_for_another_question_of_its_id(tmp_path: Path):
    work = work_in(tmp_path, 2, candidates=1)
    generate(work, scripted())
    first, second = seeds(2)
    changed = first.model_copy(update={"question": "Why are there tides?"})
    write_records(work.run.seeds, [changed, second])
    assert generate(work, scripted())["generated"] == 2
    assert len(generated(work)) == 3, "the other one stands"
    assert TraceShelf([work.run.generated]).get(f"{first.id}.1").question == changed.question
    generate(work, scripted())
    assert len(generated(work)) == 3


def test_a_run_holds_no_trace_of_what_it_wrote(tmp_path: Path):
    work = work_in(tmp_path, 4, concurrency=2)
    seen: list[weakref.ref[Trace]] = []
    alive: list[int] = []
    finish = Book.finish

    def watched(book: Book, candidate: str, trace: Trace) -> bool:
        gc.collect()
        alive.append(sum(each() is not None for each in seen))
        seen.append(weakref.ref(trace))
        return finish(book, candidate, trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Book, "finish", watched)
        generate(work, scripted())
    assert len(alive) == 8
    assert max(alive) <= 2


def test_progress_tells_of_the_time_left(tmp_path: Path):
    work = work_in(tmp_path)
    with Book(work.run, work.settings.generate) as book:
        tally = Tally(book, planned=6, standing=0, wanted=6)
        assert tally.line() == "0 of 6 done, 0 running"
        book.begin("a.1")
        book.charge("a.1", Usage(role="planner", prompt_tokens=1_000, completion_tokens=500))
        assert tally.line() == "0 of 6 done, 1 running, 1,500 tokens"
        book.finish("a.1", good_trace(usage=(Usage(role="planner", prompt_tokens=9, cost=1.0),)))
        assert tally.line() == "1 of 6 done, 0 running, 9 tokens, $1.00, about 0 s left"


def test_a_terminal_sees_one_line_redrawn(tmp_path: Path):
    work = work_in(tmp_path, 1)
    console = Console(file=io.StringIO(), force_terminal=True, width=100)
    generate(Work(work.run, work.settings, console), scripted())
    assert "2 of 2 done" in console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("seconds", "told"), [(5, "5 s"), (600, "10 min"), (7_260, "2 h 1 min"), (3_599, "1 h 0 min")]
)
def test_durations_are_told_in_two_units(seconds: float, told: str):
    assert duration(seconds) == told
