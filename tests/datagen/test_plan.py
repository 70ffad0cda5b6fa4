"""The plan of candidates: their variants, their draws, and what each teacher is asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from datagen.generate.plan import REASONING, check_teachers, plan, variants, writing_settings
from datagen.records import Recipe, Seed, candidate_id
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.serving import Serving
from oresearch_graph.settings import ResearchSettings
from tests.helpers.generating import MODEL, OTHER, seeds, work_in


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


def test_what_the_run_sets_holds_on_a_slow_server_and_the_rest_is_fitted(tmp_path: Path):
    slow = Serving(slots=1, pace=9.0, reading=36.0)
    settings = work_in(tmp_path, 1, candidates=1).settings
    research = ResearchSettings(effort="quick", max_steps=9, observation_tokens=None)
    settings = settings.model_copy(update={"research": research})
    recipe = Recipe(teacher="m")
    fitted = writing_settings(settings, recipe, slow)
    assert fitted.by_role
    assert fitted.prompts == {}, "the short prompts ask for short thoughts"
    assert (fitted.limits.seconds, fitted.limits.steps, fitted.temperature) == (300.0, 9, 0.0)
    assert fitted.observation_tokens is None, "it was set to the effort's"
    assert fitted.model_timeout == 300.0
    in_sequence = writing_settings(settings, recipe.model_copy(update={"execution": "sequential"}))
    assert set(in_sequence.prompts.values()) == {REASONING}
    warm = writing_settings(settings, recipe.model_copy(update={"temperature": 0.7}), slow)
    assert warm.temperature == 0.7


def test_recipes_that_come_again_are_left_the_servers_temperature(tmp_path: Path):
    settings = work_in(tmp_path, 1, candidates=3).settings
    assert len(variants(settings.generate)) == 2
    slow = Serving(slots=1, pace=9.0)
    assert writing_settings(settings, Recipe(teacher="m"), slow).temperature is None


def test_prompts_by_role_may_be_set_and_other_additions_may_not(tmp_path: Path):
    settings = work_in(tmp_path).settings
    by_role = settings.model_copy(update={"research": ResearchSettings(prompt_style="roles")})
    check_teachers(by_role)
    assert writing_settings(by_role, Recipe(teacher="m")).by_role
    assert not by_role.training.extended
    toned = settings.model_copy(update={"research": ResearchSettings(tone="formal")})
    with pytest.raises(ConfigurationError, match="beyond the prompt that is trained"):
        check_teachers(toned)


def test_the_environment_of_a_machine_changes_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    recipe, settings = Recipe(teacher="m"), work_in(tmp_path).settings
    before = writing_settings(settings, recipe)
    monkeypatch.setenv("ORESEARCH_EFFORT", "deep")
    assert writing_settings(settings, recipe) == before
    assert before.model_fields_set == set(type(before).model_fields)
