"""The generate stage is killed again and again: every candidate once, no committed call twice.

The stage runs in processes of its own, forked where all is imported; the model's server is here.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import random
import time
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from rich.console import Console

from datagen.generate.plan import plan
from datagen.generate.stage import generate
from datagen.records import Lost, Seed, seed_id
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records, write_records
from datagen.settings import DatagenSettings
from oresearch_graph.trace import read_traces, violations
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Body,
    Fault,
    Habits,
)

AT_ONCE: Final = 3
"""Candidates at one time."""
BRANCHES: Final = 2
"""Subtasks that the server's brain plans."""
QUESTIONS: Final = [f"What causes tides number {number}?" for number in range(6)]
PAGE: Final = "# Tides\n\nWhat it is: the Moon causes tides. What it is good for: tidal power.\n"


class Asked(NamedTuple):
    """A request, by where in the research it stands."""

    session: int
    candidate: str
    thread: str | None
    """The branch; None for planner and summarizer, which all branches share."""
    depth: int
    """Grows along a thread."""
    body: str


@dataclass
class Counting(OpenAIServer):
    """Notes in which life of the stage each request came."""

    session: int = 0
    asked: list[Asked] = field(default_factory=list)
    waiting: int = 0

    def enter(self, body: Body) -> Fault | None:
        self.asked.append(placed(self.session, body))
        self.waiting += 1
        return super().enter(body)

    def leave(self) -> None:
        super().leave()
        self.waiting -= 1

    def rest(self) -> None:
        """Until nothing is asked any more."""
        quiet = 0
        while quiet < 5:
            time.sleep(0.03)
            quiet = 0 if self.waiting else quiet + 1


def placed(session: int, body: Body) -> Asked:
    spoken = [str(message["content"]) for message in body["messages"][1:]]
    text = "\n".join(spoken)
    question = next(each for each in QUESTIONS if each in text)
    candidate = f"{question} at {body['temperature']}"
    whole = json.dumps(body, sort_keys=True)
    if "<subtask_list>" not in text:
        return Asked(session, candidate, None, 0, whole)
    if "Now write the <suggested_answer>" in spoken[-1]:
        return Asked(session, candidate, None, 999, whole)
    depth = 1 + text.count("<observation>") + text.count("</subtask_answer>")
    parallel = spoken[1:2] and "<subtask>" in text and "</subtask_answer>" not in text
    thread = text.rpartition("<subtask>")[2].partition("</subtask>")[0] if parallel else ""
    return Asked(session, candidate, thread, depth, whole)


def work_in(folder: Path, server: str, execution: str) -> Work:
    told = {
        "research": {"corpus": str(folder / "documents")},
        "generate": {
            "teachers": [{"name": "t", "model": "fake", "base_url": server, "rendering": "turns"}],
            "candidates": 4,
            "temperatures": [0.1, 0.2, 0.3, 0.4],
            "executions": [execution],
            "concurrency": AT_ONCE,
        },
    }
    settings = DatagenSettings.model_validate(told)
    return Work(RunFolder(folder / "run"), settings, Console(file=io.StringIO()))


def life(folder: Path, server: str, execution: str) -> None:
    """One life of the stage."""
    os.environ["ORESEARCH_HOME"] = str(folder / "home")
    generate(work_in(folder, server, execution))


def begin(folder: Path, server: str, execution: str) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.datagen.test_crash", "langchain_openai"])
    process = context.Process(target=life, args=(folder, server, execution))
    process.start()
    return process


def kill_at_random(process: BaseProcess, server: Counting, chance: random.Random) -> None:
    """SIGKILL, mostly a while after the first request of this life."""
    seen, patience = len(server.asked), time.monotonic() + 30
    if chance.random() < 0.8:
        while len(server.asked) == seen and time.monotonic() < patience and process.is_alive():
            time.sleep(0.005)
    time.sleep(chance.uniform(0.0, 0.3))
    assert process.is_alive(), "all was made before the last kill: give the server more latency"
    process.kill()
    process.join()
    server.rest()
    server.session += 1


@pytest.mark.server
@pytest.mark.parametrize(("execution", "kills"), [("parallel", 20), ("sequential", 8)])
def test_random_kills_lose_nothing_and_repeat_no_committed_call(
    tmp_path: Path, execution: str, kills: int
):
    (tmp_path / "documents").mkdir()
    (tmp_path / "documents" / "tides.md").write_text(PAGE)
    chance = random.Random(execution)  # noqa: S311 - chance, not a secret
    server = Counting(ResearchBrain(), Habits(latency=0.12))
    with server:
        work = work_in(tmp_path, server.base_url, execution)
        seeds = [Seed(id=seed_id(question), question=question) for question in QUESTIONS]
        write_records(work.run.seeds, seeds)
        for _ in range(kills):
            process = begin(tmp_path, server.base_url, execution)
            kill_at_random(process, server, chance)
        last = begin(tmp_path, server.base_url, execution)
        last.join(120)
        assert last.exitcode == 0

    traces = list(read_traces(work.run.generated))
    expected = [job.id for job in plan(work.settings.generate, seeds)]
    assert sorted(trace.id for trace in traces) == sorted(expected)
    assert {trace.outcome for trace in traces} == {"complete"}
    assert all(violations(trace) == () for trace in traces)
    assert list(read_records(work.run.lost, Lost)) == []
    check_calls(server.asked, committed=sum(u.calls for t in traces for u in t.usage))


def check_calls(asked: list[Asked], committed: int) -> None:
    """What the server saw, against what the traces say was committed."""
    by_body: dict[str, list[Asked]] = defaultdict(list)
    for each in asked:
        by_body[each.body].append(each)
    assert len(by_body) == committed, "each committed call is one request body, and no other"
    in_flight: dict[int, set[Any]] = defaultdict(set)
    repeated = 0
    for same in by_body.values():
        for one, again in pairwise(same):
            repeated += 1
            assert one.session < again.session, "asked twice in one life"
            in_flight[one.session].add((one.candidate, one.thread))
            later = [
                other for other in asked
                if other.session < again.session and other.candidate == one.candidate
                and (None in (other.thread, one.thread) or other.thread == one.thread)
            ]  # fmt: skip
            assert all(other.depth <= one.depth for other in later), "its answer was built upon"
    assert repeated == len(asked) - committed
    assert repeated == sum(map(len, in_flight.values())), "a branch repeats one call at most"
    for threads in in_flight.values():
        assert len({candidate for candidate, _ in threads}) <= AT_ONCE
        assert len(threads) <= AT_ONCE * BRANCHES


def test_a_repeated_call_that_was_committed_would_be_seen():
    plan_, first, second = (
        Asked(0, "c", None, 0, "plan"), Asked(0, "c", "b", 1, "one"), Asked(0, "c", "b", 2, "two"),
    )  # fmt: skip
    check_calls([plan_, first, second, second._replace(session=1)], committed=3)
    for spoilt in (plan_, first):
        with pytest.raises(AssertionError, match="built upon"):
            check_calls([plan_, first, second, spoilt._replace(session=1)], committed=3)
    with pytest.raises(AssertionError, match="asked twice"):
        check_calls([plan_, first, first], committed=2)
