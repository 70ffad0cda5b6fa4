"""A sentence made wrong loses what was known of it: people's supported claims, where they are
there, sentences in other words, and planted pages word for word."""

from __future__ import annotations

from random import Random

import pytest

from tests.agreement.__main__ import checked, warned_of_bad, warned_of_good
from tests.agreement.drawn import COUNT, drawn, paraphrased, planted
from tests.agreement.labelled import WICE, labelled
from tests.agreement.mutations import MUTATIONS, mutated_rows

SEED = 7


@pytest.fixture(scope="module")
def untouched():
    return checked(drawn(SEED))


def test_at_most_a_third_of_the_drawn_sentences_stand_in_their_source(untouched):
    assert len(untouched) == COUNT or not WICE.exists()
    assert sum(each.row.claim in each.row.text for each in untouched) <= 0.34 * COUNT


def test_untouched_sentences_are_known(untouched):
    assert {each.support.status for each in checked(paraphrased())} == {"found"}
    assert {each.support.status for each in checked(planted(SEED))} == {"quoted"}
    assert sum(each.warned for each in untouched) <= 0.1 * len(untouched)


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_mutated_sentence_loses_what_was_known(name: str, untouched):
    held = [each.row for each in untouched if each.holds]
    wrong = checked(mutated_rows(name, held, Random(SEED)))  # noqa: S311
    assert len(wrong) >= 40
    assert all(each.support.status != "quoted" for each in wrong)
    kept = sum(each.holds for each in wrong)
    assert kept <= 0.15 * len(wrong)


def test_in_another_source_nothing_is_known(untouched):
    rows = [each.row for each in untouched]
    found = checked(mutated_rows("other source", rows, Random(SEED)))  # noqa: S311
    assert sum(each.holds for each in found) <= 0.02 * len(found)


@pytest.mark.skipif(not WICE.exists(), reason="people's labels are not on this machine")
def test_a_warning_means_something_to_people():
    rows = checked(list(labelled(WICE)))
    assert warned_of_bad(rows) >= 0.45
    assert warned_of_bad(rows) >= 5 * warned_of_good(rows)
