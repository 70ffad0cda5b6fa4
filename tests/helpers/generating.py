"""Runs of the generate stage: their seeds, and teachers that write from a script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from datagen.generate.maker import LocalRunner
from datagen.generate.plan import plan
from datagen.records import Seed, seed_id
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records, write_records
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import read_traces
from tests.helpers.datagen_work import work_of
from tests.helpers.scripted import PAGES, Documents, Script, ScriptedPolicy, research_script

MODEL = {"name": "m", "model": "openai:gpt-5-mini"}
OTHER = {"name": "o", "model": "openai:o3", "temperatures": []}


def seeds(count: int) -> list[Seed]:
    questions = [f"What causes tides number {number}?" for number in range(count)]
    return [Seed(id=seed_id(question), question=question) for question in questions]


def work_in(folder: Path, count: int = 3, **generated: Any) -> Work:
    run = RunFolder(folder)
    write_records(run.seeds, seeds(count))
    told = {"candidates": 2, "teachers": [MODEL], "progress_seconds": 1000.0, **generated}
    return work_of(run, generate=told)


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
