"""Candidates from seeds: the plan, one run of the stage, going on after a stop, limits, losses."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from datagen.generate.plan import plan, variants
from datagen.generate.runner import LocalRunner
from datagen.generate.stage import generate
from datagen.generate.teachers import REASONING, writing_settings
from datagen.records import Lost, Recipe, Seed, candidate_id, seed_id
from datagen.run.folder import RunFolder
from datagen.run.record_files import read_records, write_records
from datagen.run.work import Work
from datagen.settings import DatagenSettings
from oresearch_graph.policies.models import Policies
from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import read_traces, violations
from tests.scripted import PAGES, Documents, Script, ScriptedPolicy, research_script

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
