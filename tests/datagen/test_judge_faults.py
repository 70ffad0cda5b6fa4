"""The judge stage when something fails (garbage, servers, a kill, a full disk), and its costs."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from datagen.judge.stage import judge
from datagen.records import Judgement
from datagen.run.record_files import read_records
from oresearch_graph.errors import ConfigurationError, JudgeError
from oresearch_graph.trace.lines import LineWriter
from tests.helpers.datagen_work import said
from tests.helpers.judging import at, by_mark, counted, judgements, run_of, same, with_settings
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Body,
    Fault,
    Habits,
    Message,
)


def test_a_minority_of_votes_may_fail(tmp_path: Path):
    with OpenAIServer(by_mark({"ann": 8})) as server:
        server.faults.append(Fault("status", 401))
        work = run_of(tmp_path, {"tides": ["ann"]}, **at(server, votes=3))
        judge(work)
    (found,) = judgements(work).values()
    assert found.judged is not None
    assert (found.judged.votes, found.agreement) == (2, 1.0)


def test_garbage_leaves_a_candidate_unjudged_and_is_paid_for(tmp_path: Path):
    with OpenAIServer(by_mark({"ann": "I like it.", "bob": 8})) as server:
        price = {"prompt": 1.0, "completion": 2.0}
        work = run_of(tmp_path, {"tides": ["ann", "bob"]}, **at(server, price=price))
        assert counted(work) == (1, 1, 1, 1)
        first = judgements(work)["tides.1"]
        assert first.judged is None
        assert first.quality is None, "never a score"
        assert "no JSON object" in str(first.unjudged)
        assert first.tokens is not None
        assert first.cost is not None
        assert len(server.requests) == 3 + 1, "asked again twice, then left"
        server.brain = by_mark({"ann": 9})
        assert judge(with_settings(work.run, **at(server, price=price)))["chosen"] == 1
        assert len(server.requests) == 5, "only the unjudged one is tried again"
    found = judgements(work)
    assert found["tides.1"].chosen
    assert (found["tides.1"].tokens or 0) > first.tokens, "with what the vain run cost"
    assert (found["tides.1"].cost or 0) > first.cost
    assert "1 unjudged" in said(work)


def test_what_no_server_prices_has_no_cost(tmp_path: Path):
    with OpenAIServer(by_mark({"ann": 8}), Habits(usage=False)) as server:
        work = run_of(tmp_path, {"tides": ["ann"]}, **at(server))
        judge(work)
    (found,) = judgements(work).values()
    assert (found.tokens, found.cost) == (None, None)


def test_a_server_that_is_down_leaves_all_unjudged_and_is_not_asked_forever(tmp_path: Path):
    marks = [f"m{n}" for n in range(9)]
    with OpenAIServer(by_mark(dict.fromkeys(marks, 8))) as server:
        server.fault_for = lambda body: Fault("status", 500)
        down = at(server, give_up_after=3, concurrency=1)
        work = run_of(tmp_path, {"tides": marks}, **down)
        with pytest.raises(JudgeError, match=r"3 candidates in a row.*HTTP 500"):
            judge(work)
        assert len(server.requests) == 3
        reasons = [str(j.unjudged) for j in judgements(work).values()]
        assert "HTTP 500" in reasons[0]
        assert reasons[-1].startswith("not asked, the judge kept failing")
        server.fault_for = None
        assert judge(with_settings(work.run, **down))["judged"] == 9


def test_the_second_judge_is_asked(tmp_path: Path):
    def brain(messages: list[Message], body: Body) -> str:
        return same(7) if body["model"] == "wise" else "no idea"

    with OpenAIServer(brain, models=("fake", "wise")) as server:
        work = run_of(tmp_path, {"tides": ["ann"]}, **at(server, second_model="wise"))
        judge(work)
    (found,) = judgements(work).values()
    assert found.judged is not None
    assert found.judged.by == "wise"


def test_a_run_that_ends_midway_loses_no_verdict_and_asks_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    marks = [f"m{n}" for n in range(8)]
    scores = {mark: number + 1 for number, mark in enumerate(marks)}
    with OpenAIServer(by_mark(scores)) as server:
        work = run_of(tmp_path, {"tides": marks}, **at(server, concurrency=1))
        writes = _die_at_write(monkeypatch, 4)
        with pytest.raises(KeyboardInterrupt):
            judge(work)
        assert writes() == 4
        monkeypatch.undo()
        assert not work.run.judged.exists(), "nothing is decided before all is"
        kept = work.run.work / "judged.jsonl"
        kept.write_bytes(kept.read_bytes() + b'{"id":"tides.4","se')
        judge(with_settings(work.run, **at(server, concurrency=1)))
        assert len(server.requests) == 9, "the one in flight was asked again"
        kept.unlink()
        judge(with_settings(work.run, **at(server)))
        assert len(server.requests) == 9, "the stage's own file keeps verdicts too"
    expected = [number / 10 for number in range(1, 9)]
    assert [j.quality for j in judgements(work).values()] == pytest.approx(expected)


def _die_at_write(monkeypatch: pytest.MonkeyPatch, last: int) -> Callable[[], int]:
    """The process is interrupted before its `last` verdict is on the disk."""
    from datagen.run.record_files import KeyedRecords

    count = 0
    keep = KeyedRecords.keep

    def dies(self: Any, record: Any) -> None:
        nonlocal count
        count += 1
        if count == last:
            raise KeyboardInterrupt
        keep(self, record)

    monkeypatch.setattr(KeyedRecords, "keep", dies)
    return lambda: count


def test_a_spoilt_line_among_the_verdicts_is_told_with_its_place(tmp_path: Path):
    work = run_of(tmp_path, {"tides": ["ann"]})
    judge(work)
    kept = work.run.work / "judged.jsonl"
    kept.write_bytes(b"{}\n" + kept.read_bytes())
    with pytest.raises(ConfigurationError, match=r"judged\.jsonl:1: no Judgement: id: Field"):
        judge(with_settings(work.run))


def test_a_disk_that_is_full_ends_the_stage_and_keeps_what_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    marks = [f"m{n}" for n in range(5)]
    with OpenAIServer(by_mark(dict.fromkeys(marks, 8))) as server:
        work = run_of(tmp_path, {"tides": marks}, **at(server, concurrency=2))
        written = _full_after(monkeypatch, 2)
        with pytest.raises(ConfigurationError, match=r"judged\.jsonl: not written: No space left"):
            judge(work)
        monkeypatch.undo()
        kept = list(read_records(work.run.work / "judged.jsonl", Judgement))
        assert len(kept) == written() == 2
        assert judge(with_settings(work.run, **at(server)))["judged"] == 5


def _full_after(monkeypatch: pytest.MonkeyPatch, lines: int) -> Callable[[], int]:
    """The disk takes so many lines and no more."""
    write, count = LineWriter.write, 0

    def refusing(self: LineWriter, line: bytes) -> None:
        nonlocal count
        if count == lines:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count += 1
        write(self, line)

    monkeypatch.setattr(LineWriter, "write", refusing)
    return lambda: count
