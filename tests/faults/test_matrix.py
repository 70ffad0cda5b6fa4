"""A sample of the drill that `make faults` runs whole."""

from __future__ import annotations

from random import Random

import pytest

from tests.faults.matrix import TOOL_FAULTS, model_faults, pairs, run_pair

SAMPLE = Random(15).sample(pairs(), 20)  # noqa: S311 - no secret


def test_there_are_as_many_faults_as_promised():
    assert len({fault.name for fault in model_faults()}) == len(model_faults()) >= 60
    assert len(set(TOOL_FAULTS)) >= 15


@pytest.mark.parametrize(("model", "tools"), SAMPLE, ids=[f"{m.name} x {t}" for m, t in SAMPLE])
async def test_a_run_under_faults_ends_within_its_limits_and_says_what_happened(model, tools):
    assert (await run_pair(model, tools, 15)).wrong == ()
