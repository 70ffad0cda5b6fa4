"""Candidates from seeds: one run of the stage, going on after a stop, memory, progress."""

from __future__ import annotations

import asyncio
import gc
import io
import shutil
import sqlite3
import time
import weakref
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from rich.console import Console

from datagen.funnel import count_funnel
from datagen.generate.candidate_store import CandidateStore, checkpoint_file
from datagen.generate.stage import Tally, duration, generate
from datagen.records import Lost
from datagen.run.folder import Work
from datagen.run.record_files import read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.errors import PolicyError, TraceFileError
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Trace, Usage, read_traces, violations
from tests.helpers.datagen_work import said
from tests.helpers.generating import Failing, expected, generated, scripted, seeds, work_in
from tests.helpers.scripted import ScriptedPolicy, research_script
from tests.helpers.traces import good_trace


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


@pytest.mark.parametrize(("execution", "in_flight"), [("parallel", 1), ("sequential", 0)])
def test_a_kill_before_any_checkpoint_repeats_no_call_whose_step_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: str, in_flight: int
):
    put, asked = AsyncSqliteSaver.aput, list[int]()
    whole, policy = tmp_path / "whole", ScriptedPolicy(research_script())

    async def copied_first(saver: AsyncSqliteSaver, *written: Any) -> Any:
        await asyncio.sleep(0)
        async with saver.lock:  # the step's writes, begun before this checkpoint, are there
            shutil.copytree(whole, tmp_path / str(len(asked)))
        asked.append(len(policy.threads))
        return await put(saver, *written)

    def made_in(folder: Path, policy: ScriptedPolicy) -> int:
        work = work_in(folder, 1, candidates=1, executions=[execution])
        assert generate(work, scripted(policy=policy))["generated"] == 1
        return len(policy.threads)

    with monkeypatch.context() as patch:
        patch.setattr(AsyncSqliteSaver, "aput", copied_first)
        once = made_in(whole, policy)
    for copy, before in enumerate(asked):
        again = made_in(tmp_path / str(copy), ScriptedPolicy(research_script()))
        assert 0 <= before + again - once <= in_flight


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
        patch.setattr(CandidateStore, "finish", full)
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
    levels = {level.name: (level.remaining, level.lost) for level in count_funnel(work).levels}
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
    finish = CandidateStore.finish

    def watched(store: CandidateStore, candidate: str, trace: Trace) -> bool:
        gc.collect()
        alive.append(sum(each() is not None for each in seen))
        seen.append(weakref.ref(trace))
        return finish(store, candidate, trace)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CandidateStore, "finish", watched)
        generate(work, scripted())
    assert len(alive) == 8
    assert max(alive) <= 2


def test_progress_tells_of_the_time_left(tmp_path: Path):
    work = work_in(tmp_path)
    with CandidateStore(work.run, work.settings.generate) as store:
        tally = Tally(store, planned=6, standing=0, missing=6)
        assert tally.line() == "0 of 6 done, 0 running"
        store.begin("a.1")
        store.charge("a.1", Usage(role="planner", prompt_tokens=1_000, completion_tokens=500))
        assert tally.line() == "0 of 6 done, 1 running, 1,500 tokens"
        store.finish("a.1", good_trace(usage=(Usage(role="planner", prompt_tokens=9, cost=1.0),)))
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
