"""The ledger: ids unique in a run without coordination, and each stretch of a source once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.evidence.ledger import SourceLedger, merge_sources, source_id
from oresearch_graph.trace.answer import parse_answer

PLACES = st.tuples(st.integers(1, 400), st.integers(1, 200_000))


@given(PLACES, PLACES)
def test_two_places_have_two_ids(one, other):
    assert (source_id(*one) == source_id(*other)) == (one == other)


def test_all_places_near_the_borders_have_their_own_id():
    branches = (1, 2, 20, 99, 100, 101, 102)
    places = [(b, n) for b in branches for n in (*range(1, 40), *range(980, 1_100))]
    assert len({source_id(*place) for place in places}) == len(places)


def test_a_citation_of_the_largest_branch_is_read():
    assert source_id(1, 999) == 1999
    assert source_id(1, 1_000) == 100_001
    number = source_id(20, 99_000)
    assert [mark.number for mark in parse_answer(f"So it is [{number}].").marks] == [number]


def ids(ledger: SourceLedger, count: int, at: str) -> list[int]:
    return [ledger.show(f"https://x.org/{at}/{i}", "t").id for i in range(count)]


def test_a_branch_goes_on_above_all_blocks_and_later_where_it_stopped():
    first, second = SourceLedger(1), SourceLedger(2)
    one, two = ids(first, 1_500, "a"), ids(second, 10, "b")
    assert one[:999] == list(range(1_001, 2_000))
    assert not set(one) & set(two)
    again = SourceLedger(1, [*first.take_changed(), *second.take_changed()])
    assert ids(again, 2, "c") == [source_id(1, 1_501), source_id(1, 1_502)]


def test_a_source_under_two_ids_does_not_free_one_of_them():
    known = [SourceLedger(branch).show("https://x.org", "t") for branch in (1, 2)]
    assert ids(SourceLedger(1, known), 1, "new") == [1_002]
    assert [source.id for source in merge_sources(known[:1], known[1:])] == [1_001, 2_001]


def shown(*texts: str) -> str:
    ledger = SourceLedger(1)
    return [ledger.show("https://x.org", text).text for text in texts][-1]


def test_what_was_shown_before_is_kept_once():
    page = "Tides are caused\nby the Moon.\n\nThe range is\n16 metres in Fundy."
    hit = "Tides are caused by the Moon.\n[…]\nNavigation is elsewhere."
    assert shown(hit, page) == f"Navigation is elsewhere.\n[…]\n{page}"
    assert shown(page, "The range is 16 metres in Fundy.") == page
    assert shown(page, page) == page
    assert shown(" ".join(page.split()), page) == page
    assert shown(f"{' '.join(page.split())} More.", page) == f"{' '.join(page.split())} More."
    assert shown("One thing.", "Another thing.") == "One thing.\n[…]\nAnother thing."


@given(st.lists(st.text("ab \n[…]", min_size=1, max_size=12), min_size=1, max_size=6))
def test_nothing_that_was_shown_is_lost_and_no_record_gets_shorter(texts):
    lengths = [len(shown(*texts[:count])) for count in range(1, len(texts) + 1)]
    assert lengths == sorted(lengths)
    kept = "".join(shown(*texts).split())
    for text in texts:
        for stretch in text.split("\n[…]\n"):
            assert "".join(stretch.split()) in kept
