"""Likeness of a report to key points in free words, and how far it agrees with people."""

from __future__ import annotations

import sys

import pytest

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging import nearness as module
from oresearch_graph.judging.nearness import NearnessJudge, nearness
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from tests.agreement.realsumm import REALSUMM, agreement, by_length, by_word_vectors, documents

POINT = "The striker scored two goals in the final."
SAYS = "In the cup final the forward found the net twice, with goals in either half."
OTHER = "The council of the town voted on a new bridge over the river on Monday."


def test_what_says_it_is_nearer_than_what_does_not():
    same, says, other, nothing = (nearness(text, [POINT])[0] for text in (POINT, SAYS, OTHER, ""))
    assert 1 > same > says > other > nothing == 0
    assert same > 0.7
    assert other < 0.2


def test_each_point_is_looked_for_by_itself_and_references_are_not_read():
    report = f"{SAYS} {OTHER}\n\n## References\n[1]. https://e.example - A whale swam north"
    goals, bridge, whale = nearness(report, [POINT, "The bridge was voted on.", "A whale swam."])
    assert min(goals, bridge) > whale


async def test_it_judges_by_weight_and_needs_points():
    truth = GroundTruth(key_points=(KeyPoint(text=POINT, weight=3.0), KeyPoint(text=OTHER)))
    found = await NearnessJudge().judge("What happened?", SAYS, truth)
    first, second = found.scores
    assert found.quality == pytest.approx((3 * first.score + second.score) / 4)
    assert (found.by, first.criterion, first.quote) == ("word_vectors", POINT, None)
    with pytest.raises(ConfigurationError, match="'Why' has no key points"):
        await NearnessJudge().judge("Why", SAYS, GroundTruth())


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wordllama", None)
    module._model.cache_clear()
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[vectors\]' in the checkout"):
        nearness("A word that was never looked up: zzyzx.", ["zzyzx"])
    module._model.cache_clear()


@pytest.mark.skipif(not REALSUMM.exists(), reason="REALSumm's labels are not on this machine")
def test_it_agrees_with_people_on_documents_that_it_was_not_fitted_on():
    held_out = [each for each in documents() if not each.fitted]
    pooled, within = agreement(by_word_vectors, held_out)
    assert pooled > 0.55
    assert within > 0.45
    assert pooled > agreement(by_length, held_out)[0] + 0.2
