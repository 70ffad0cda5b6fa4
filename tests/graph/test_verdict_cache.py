"""The verdict cache: judged once, shared by processes, never in the way."""

from __future__ import annotations

import asyncio
import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from oresearch_graph.errors import ConfigurationError, JudgeError
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.judging.judge_model import VerdictCache
from oresearch_graph.trace.answer import parse_answer
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Fault,
)
from tests.helpers.verdicts import REPORT, TRUTH, judged, says, verdict


async def test_the_same_report_is_judged_once(judge_at, tmp_path: Path):
    with OpenAIServer(says(verdict(10, 10), verdict(0, 0))) as server:
        one, two = (judge_at(server, cache=tmp_path / "deep" / "verdicts") for _ in range(2))
        first, again = await asyncio.gather(judged(one), judged(one))
        elsewhere = await judged(two)
        assert (first.quality, again.quality, elsewhere.quality) == (1.0, 1.0, 1.0)
        assert [first.cached, again.cached, elsewhere.cached].count(True) == 2
        assert len(server.requests) == 1
        assert (one.stats.cached, two.stats.cached, len(two.stats.latencies)) == (1, 1, 0)
        assert (await judged(one, REPORT + " Or 17.")).quality == 0.0, "another report"
        other = TRUTH.model_copy(update={"key_points": ()})
        await judged(one, truth=other)
        await one.judge("Why?", REPORT, TRUTH)
        await one.judge(
            "What causes tides?", REPORT, TRUTH, citations=verify_report(parse_answer(REPORT), ())
        )
        assert len(server.requests) == 5, "another rubric, another question, other citations"
        await judged(judge_at(server, cache=tmp_path / "deep" / "verdicts", votes=2))
        assert len(server.requests) == 7


async def test_a_failure_is_not_kept(judge_at, tmp_path: Path):
    with OpenAIServer(says(verdict(10, 10))) as server:
        server.faults.append(Fault("status", 401))
        judge = judge_at(server, cache=tmp_path / "verdicts")
        with pytest.raises(JudgeError):
            await judged(judge)
        assert (await judged(judge)).quality == 1.0


def _keep(path: Path, worker: int, barrier: Any) -> None:
    cache = VerdictCache(path, Judged)
    barrier.wait()
    for number in range(10):
        cache.keep(f"{number}", Judged(quality=0.1 * worker, by=f"worker {worker}"))
    assert cache.faults == 0


def test_processes_share_a_cache_and_the_first_verdict_stands(tmp_path: Path):
    fork = multiprocessing.get_context("forkserver")
    fork.set_forkserver_preload([__name__])
    barrier = fork.Barrier(3)
    workers = [
        fork.Process(target=_keep, args=(tmp_path / "verdicts", worker, barrier))
        for worker in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    cache = VerdictCache(tmp_path / "verdicts", Judged)
    kept = [cache.get(f"{number}") for number in range(10)]
    assert all(kept)
    stands = cache.keep("0", Judged(quality=0.77, by="late"))
    assert (stands.quality, stands.by) == (kept[0].quality, kept[0].by)  # type: ignore[union-attr]


async def test_a_broken_cache_stops_no_judging(judge_at, tmp_path: Path):
    path = tmp_path / "verdicts"
    with OpenAIServer(says(verdict(10, 10))) as server:
        judge = judge_at(server, cache=path)
        path.write_text("no database " * 100)
        assert (await judged(judge)).quality == 1.0
        with pytest.raises(ConfigurationError, match=r"verdict cache .* cannot be used"):
            judge_at(server, cache=path)
