"""Runs of the judge stage: candidates told apart by a mark, and a judge that scores by it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from datagen.judge.stage import judge
from datagen.records import Filtered, Judgement, Seed, candidate_id
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records, write_records
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.trace.files import write_traces
from tests.helpers import verdicts
from tests.helpers.datagen_work import work_of
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Body,
    Message,
)
from tests.helpers.traces import GOOD, trace_of

TIDES = Seed(
    id="tides",
    question="What are tides?",
    key_points=(
        KeyPoint(text="The Moon causes tides.", needs=(("moon",), ("cause",))),
        KeyPoint(text="Tides reach 16 metres.", needs=(("16",), ("metre",))),
    ),
)


def verdict(*scores: int, quote: str = "The Moon causes tides") -> str:
    return verdicts.verdict(*scores, quote=quote)


def same(score: int) -> str:
    return verdict(*[score] * 6)


def marked(text: str, mark: str) -> str:
    """The good trace with a mark of its own in the report, so that candidates differ."""
    return text.replace("Tides are large.", f"Tides are large, says {mark}.")


def by_mark(scores: Mapping[str, int | str]) -> Callable[[list[Message], Body], str]:
    """A brain that gives each candidate the score of its mark, or that text."""

    def brain(messages: list[Message], body: Body) -> str:
        asked = str(messages[1]["content"])
        (said,) = {scores[mark] for mark in scores if f"says {mark}." in asked}
        return same(said) if isinstance(said, int) else said

    return brain


def run_of(
    path: Path, marks: dict[str, list[str]], seeds: tuple[Seed, ...] = (TIDES,), **settings: Any
) -> Work:
    """A run whose candidates carry these marks, by seed; all of them passed the filter."""
    run = RunFolder(path)
    ids = [(s, candidate_id(s, n), m) for s, ms in marks.items() for n, m in enumerate(ms, start=1)]
    known = {seed.id for seed in seeds}
    others = (Seed(id=s, question=f"What of {s}?") for s in marks if s not in known)
    write_records(run.seeds, (*seeds, *others))
    if not run.generated.exists():
        write_traces(run.generated, (trace_of(marked(GOOD, m), id=i) for _, i, m in ids))
    write_records(run.filtered, (Filtered(id=i, seed=s) for s, i, _ in ids))
    return with_settings(run, **settings)


def with_settings(run: RunFolder, **settings: Any) -> Work:
    given = {"votes": 1, "progress_seconds": 0.001, "tries": 1, "timeout": 10.0, **settings}
    return work_of(run, judge=given)


def at(server: OpenAIServer, **more: Any) -> dict[str, Any]:
    return {"model": "fake", "base_url": server.base_url, **more}


def counted(work: Work) -> tuple[int, ...]:
    """Run the stage: judged, unjudged, accepted, chosen."""
    counts = judge(work)
    return tuple(counts[name] for name in ("judged", "unjudged", "accepted", "chosen"))


def judgements(work: Work) -> dict[str, Judgement]:
    return {j.id: j for j in read_records(work.run.judged, Judgement)}
