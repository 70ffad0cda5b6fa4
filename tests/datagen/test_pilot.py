"""The pilot: which candidates it makes, and what it says of the whole run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

import pytest

from datagen.generate.pilot import PilotCandidate, forecast, pilot_sample, run_pilot
from datagen.generate.plan import plan
from datagen.generate.stage import generate
from datagen.run.folder import Work
from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.trace import read_traces
from tests.helpers.datagen_work import said
from tests.helpers.generating import MODEL, Failing, scripted, seeds, work_in
from tests.helpers.scripted import ScriptedPolicy, research_script


def half(_: Work, candidates: Collection[str]) -> set[str]:
    return set(sorted(candidates)[::2])


def test_a_pilot_is_spread_over_the_variants_and_always_the_same(tmp_path: Path):
    settings = work_in(
        tmp_path, candidates=4, temperatures=[0.2, 0.8], teachers=[MODEL]
    ).settings.generate
    chosen = pilot_sample(lambda: plan(settings, seeds(40)), 10)
    recipes = [j.candidate.recipe for j in plan(settings, seeds(40)) if j.id in chosen]
    found = Counter((recipe.temperature, recipe.execution) for recipe in recipes)
    assert sorted(found.values()) == [2, 2, 3, 3]
    assert pilot_sample(lambda: plan(settings, seeds(40)), 10) == chosen
    assert chosen < pilot_sample(lambda: plan(settings, seeds(40)), 20)


def test_what_a_pilot_made_is_not_made_again(tmp_path: Path):
    work, policy = work_in(tmp_path, 5), ScriptedPolicy(research_script())
    told = run_pilot(work, 4, half, scripted(policy=policy))
    assert (told.candidates, told.sampled, told.accepted) == (10, 4, 2)
    made = [trace.id for trace in read_traces(work.run.generated)]
    run_pilot(work, 4, half, scripted(policy=policy))
    assert len(policy.threads) == 4 * 6
    generate(work, scripted())
    assert [trace.id for trace in read_traces(work.run.generated)][:4] == made


def test_the_forecast_is_shown(tmp_path: Path):
    work = work_in(tmp_path, 5, prices={"scripted": {"prompt": 1000.0, "completion": 1000.0}})
    told = run_pilot(work, 4, half, scripted())
    assert told.tokens is not None
    assert told.cost_each is not None
    assert (told.tokens.value, told.yields.value) == (1200.0, 5.0)
    assert told.cost_each.value == pytest.approx(0.24)
    shown = said(work)
    assert "Forecast from 4 of 10 candidates" in shown
    assert "$0.2400" in shown


def test_intervals_hold_the_truth_and_narrow(tmp_path: Path):
    few = [PilotCandidate(100, 0.5, 60.0, accepted=number < 5) for number in range(10)]
    small, large = forecast(few, 1_000, 10), forecast(few * 20, 1_000, 10)
    for told in (small, large):
        assert told.yields.value == 500
        assert told.cost is not None
        assert told.cost.value == 500.0
        assert told.seconds.value == 6_000.0
        assert told.yields.low is not None
        assert told.yields.high is not None
        assert told.yields.low < 500 < told.yields.high
    assert small.yields.low == pytest.approx(236.6, abs=0.1)  # Wilson, 5 of 10
    assert large.yields.low is not None
    assert large.yields.low > 400


def test_what_is_not_known_is_not_zero():
    free = forecast([PilotCandidate(None, None, 1.0, accepted=False)], 10, 4)
    assert (free.tokens, free.cost, free.cost_each) == (None, None, None)
    paid = forecast([PilotCandidate(10, 1.0, 1.0, accepted=False)], 10, 4)
    assert paid.cost is not None
    assert (paid.cost.value, paid.cost.high, paid.cost_each) == (10.0, None, None)


def test_a_pilot_of_which_nothing_came_says_so(tmp_path: Path):
    work = work_in(tmp_path)
    broken = Failing(lambda _: PolicyError("HTTP 500"))
    with pytest.raises(ConfigurationError, match="no candidate of the pilot was generated"):
        run_pilot(work, 3, half, scripted(policy=broken))
