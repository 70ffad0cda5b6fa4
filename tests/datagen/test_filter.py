"""The filter against a planted corpus: each bad trace is caught by its rule, each good one passes,
and every finding points at the text that it is about."""

from __future__ import annotations

from typing import get_args

import pytest

from datagen.filter.registry import RULES, Rules
from datagen.settings.filter import FilterSettings, RuleName
from oresearch_graph.trace import violations
from tests.helpers.planted_rules import planted
from tests.helpers.planted_traces import GOOD

PLANTED = list(planted())
BAD = [case for case in PLANTED if case.caught]


def rules_of(case) -> set[str]:
    return {found.rule for found in Rules(case.settings).findings(case.trace)}


@pytest.mark.parametrize("trace", GOOD.values(), ids=GOOD)
def test_a_good_trace_passes_every_rule(trace):
    assert violations(trace) == ()
    assert Rules(FilterSettings()).findings(trace) == ()


@pytest.mark.parametrize("case", PLANTED, ids=str)
def test_a_planted_trace_is_caught_by_its_rule_and_no_other(case):
    assert rules_of(case) == case.caught


@pytest.mark.parametrize("case", [case for case in BAD if case.shows], ids=str)
def test_a_finding_points_at_the_offending_text(case):
    own = [f for f in Rules(case.settings).findings(case.trace) if f.rule.startswith(case.rule)]
    spans = [
        case.trace.steps[found.step].text[found.start : found.end]
        for found in own
        if found.step is not None
    ]
    assert any(case.shows in span for span in spans), spans


@pytest.mark.parametrize("rule", get_args(RuleName))
def test_every_rule_is_planted_both_ways(rule):
    assert rule in RULES
    about = [case for case in PLANTED if case.rule == rule]
    assert any(case.caught for case in about), "no bad trace"
    assert any(not case.caught for case in about), "no trace that only just passes"


@pytest.mark.parametrize("case", BAD, ids=str)
def test_a_rule_that_is_off_finds_nothing(case):
    off = case.settings.model_copy(update={"off": (case.rule,)})
    found = {finding.rule for finding in Rules(off).findings(case.trace)}
    assert found == {rule for rule in case.caught if rule.partition(".")[0] != case.rule}
