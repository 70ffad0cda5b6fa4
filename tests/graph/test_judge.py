import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.key_points import judge_report, key_point_recall
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer

POINTS = [
    KeyPoint(text="Cancelling a task raises CancelledError in it.",
             needs=(("CancelledError",), ("raise", "throw"))),
    KeyPoint(text="shield() protects from cancellation.", needs=(("shield",), ("cancellation",))),
    KeyPoint(text="任务取消后会抛出异常。"),
]  # fmt: skip
SOURCE = Source.of(
    id=1001, url="https://d.example/t", text="A cancelled task has CancelledError thrown into it."
)


def test_the_reference_text_scores_one_and_an_empty_text_nothing():
    reference = " ".join(point.text for point in POINTS)
    assert key_point_recall(reference, POINTS) == 1.0
    assert key_point_recall("", POINTS) == 0.0


def test_inflections_and_alternatives_count_and_distance_does_not():
    assert key_point_recall("CancelledError is thrown.", POINTS[:1]) == 1.0
    assert key_point_recall("CancelledError is one name. It gets raised.", POINTS[:1]) == 1.0
    far = "CancelledError is one name. Another sentence. Yet another. Something raises."
    assert key_point_recall(far, POINTS[:1]) == 0.0


def test_a_number_is_not_part_of_another():
    point = KeyPoint(text="It has 16 parts.", needs=(("16",), ("part",)))
    assert key_point_recall("There are 16 parts.", [point]) == 1.0
    assert key_point_recall("共有16个part。", [point]) == 1.0
    for other in ("In 2016 it had parts.", "It has 1.16 parts.", "It has 16,000 parts."):
        assert key_point_recall(other, [point]) == 0.0


def test_a_point_that_its_source_speaks_against_counts_half():
    report = "CancelledError is thrown into a cancelled task [1001]."
    bad = "CancelledError is raised 77 times [1001]."
    for text, quality in ((report, 1.0), (bad, 0.5)):
        verdict = judge_report(text, POINTS[:1], verify_report(parse_answer(text), [SOURCE]))
        assert verdict.quality == quality
        (found,) = verdict.found
        assert text[found.start : found.end] == text
        assert found.cited is (quality == 1.0)


def test_a_cited_statement_wins_over_an_uncited_one():
    text = (
        "CancelledError is raised, they say. Nothing else is known about that here. "
        "CancelledError is thrown into a cancelled task [1001]."
    )
    assert (
        judge_report(text, POINTS[:1], verify_report(parse_answer(text), [SOURCE])).quality == 1.0
    )


def test_weights_and_what_is_missing():
    heavy = POINTS[1].model_copy(update={"weight": 3.0})
    verdict = judge_report("CancelledError is raised.", [POINTS[0], heavy], None)
    assert verdict.quality == 0.25
    assert verdict.missing == (heavy,)


def test_the_reference_list_states_nothing():
    report = "## References\n\n[1]. https://d.example/CancelledError - CancelledError is raised"
    assert key_point_recall(report, POINTS[:1]) == 0.0


def test_no_key_points_cannot_be_judged():
    with pytest.raises(ValueError, match="no key points"):
        judge_report("text", [], None)


PIECES = st.lists(
    st.sampled_from(
        ["CancelledError is raised.", "shield() protects from cancellation.", "Cats sleep.",
         "任务取消后会抛出异常。", "CancelledError.", "Something else is raised."]
    )
)  # fmt: skip


@given(PIECES, PIECES)
def test_more_sentences_never_score_less(some, more):
    fewer = key_point_recall("\n\n".join(some), POINTS)
    assert 0 <= fewer <= key_point_recall("\n\n".join([*some, *more]), POINTS) <= 1
