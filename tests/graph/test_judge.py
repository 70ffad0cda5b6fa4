"""The exact-facts judge: what states a key point, what takes the statement back, what bears it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.exact_facts import judge_report, key_point_recall
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer

POINTS = [
    KeyPoint(text="Cancelling a task raises CancelledError in it.",
             needs=(("CancelledError",), ("raise", "throw"))),
    KeyPoint(text="shield() protects from cancellation.", needs=(("shield",), ("cancellation",))),
    KeyPoint(text="任务取消后会抛出异常。", needs=(("取消",), ("抛出", "引发"))),
]  # fmt: skip
TOWER = KeyPoint(text="The tower is 81 metres high.", needs=(("81",), ("metre",), ("tower",)))
SOURCE = Source.of(
    id=1001, url="https://d.example/t", text="A cancelled task has CancelledError thrown into it."
)


def quality(report: str, *points: KeyPoint, question: str = "") -> float:
    return judge_report(report, points, None, question).quality


def checked(report: str, *points: KeyPoint) -> float:
    return judge_report(report, points, verify_report(parse_answer(report), [SOURCE])).quality


def test_the_reference_text_scores_one_and_an_empty_text_nothing():
    reference = " ".join(point.text for point in POINTS)
    assert key_point_recall(reference, POINTS) == quality(reference, *POINTS) == 1.0
    assert key_point_recall("", POINTS) == quality("", *POINTS) == 0.0


def test_inflections_and_alternatives_count_and_distance_does_not():
    for judged in (
        lambda text: key_point_recall(text, POINTS[:1]),
        lambda t: quality(t, POINTS[0]),
    ):
        assert judged("CancelledError is thrown.") == 1.0
        assert judged("CancelledError is one name. It gets raised.") == 1.0
        assert judged("CancelledError is one name. Another sentence. Something raises.") == 0.0


def test_a_number_is_not_part_of_another():
    point = KeyPoint(text="It has 16 parts.", needs=(("16",), ("part",)))
    assert quality("There are 16 parts.", point) == 1.0
    assert quality("共有16个part。", point) == 1.0
    for other in ("In 2016 it had parts.", "It has 1.16 parts.", "It has 16,000 parts."):
        assert quality(other, point) == 0.0


@pytest.mark.parametrize(
    ("report", "worth"),
    [
        ("CancelledError is thrown into a cancelled task [1001].", 1.0),
        ("CancelledError is raised 77 times [1001].", 0.0),
        ("CancelledError is raised [1007].", 0.0),
        ("CancelledError is raised.", 0.5),
    ],
)
def test_what_the_source_says_decides_what_a_statement_is_worth(report: str, worth: float):
    citations = verify_report(parse_answer(report), [SOURCE])
    verdict = judge_report(report, POINTS[:1], citations)
    assert verdict.quality == worth
    (found,) = verdict.found
    assert report[found.start : found.end] == report
    assert found.credit == worth


def test_a_borne_statement_wins_over_another():
    report = (
        "CancelledError is raised, they say. Nothing else is known about that here. "
        "CancelledError is thrown into a cancelled task [1001]."
    )
    assert checked(report, POINTS[0]) == 1.0


@pytest.mark.parametrize(
    "report",
    [
        "It is false that CancelledError is raised.",
        "It is not the case that CancelledError is raised.",
        "CancelledError is never raised.",
        "CancelledError is raised, but that is not true.",
        "Perhaps CancelledError is raised.",
        "CancelledError may be raised.",
        "We could not find out whether CancelledError is raised.",
        "It is unclear if CancelledError is raised.",
        "Is CancelledError raised?",
        "Is CancelledError raised? [1]",
        "### CancelledError is raised",
        "```\nCancelledError is raised.\n```",
        "CancelledError raise throw task cancel loop future shield wait.",
        "CancelledError is raised. It is not true that CancelledError is raised.",
        "It is f\u200balse that CancelledError is raised.",
        "It is fаlsе that CancelledError is raised.",
        "It is fal\u3164se that CancelledError is raised.",
        "It is wrong that CancelledError is raised.",
        "That CancelledError is raised is a lie.",
        "It is unlikely that CancelledError is raised.",
        "~~~\n```\nCancelledError is raised.\n~~~",
        "~~CancelledError is raised.~~",
        "<!-- CancelledError is raised. -->",
        "<details>CancelledError is raised.</details>",
        "CancelledError is raised. That is false.",
        "CancelledError is raised. We could not confirm this.",
        "CancelledError is raised. The opposite is the case.",
        "None of the statements that follow is true. CancelledError is raised.",
        "CancelledError is raised. All of the statements above are false.",
        "### All of it is false\n\nCancelledError is raised.",
        "CancelledError is raised\n========================",
        "CancelledError is raised؟",
    ],
)
def test_what_is_denied_doubted_asked_or_no_sentence_is_not_stated(report: str):
    assert quality(f"Something else stands here.\n\n{report}", POINTS[0]) == 0.0


def test_a_denial_in_the_point_or_in_the_source_is_no_denial_of_it():
    never = KeyPoint(text="A task is never cancelled twice.", needs=(("never",), ("twice",)))
    assert quality("A task is never cancelled twice.", never) == 1.0
    source = SOURCE.model_copy(update={"text": "No task goes on when CancelledError is raised."})
    report = "No task goes on when CancelledError is raised [1001]."
    citations = verify_report(parse_answer(report), [source])
    assert judge_report(report, POINTS[:1], citations).quality == 1.0


@pytest.mark.parametrize(
    ("report", "point"),
    [
        ("It was finished in early May, in 1911.", (("1911",), ("finish",))),
        ("It was finished in 1911 without any help.", (("1911",), ("finish",))),
        ("It was not until 1911 that it was finished.", (("1911",), ("finish",))),
        ("Visitors could climb 312 steps.", (("312",), ("step",))),
        ("Finished in 1911, though it is unclear who drew the plans.", (("1911",), ("finish",))),
        ("It was finished in 1911. No other source gives the year.", (("1911",), ("finish",))),
        ("The page states that it was finished in 1911.", (("1911",), ("finish",))),
        ("The treatment lowered TNFα in all patients.", (("TNFα",), ("lower",))),
        ("The field covers 81 km² in all.", (("81",), ("km²",))),
        ("```\nx = 1\n~~~\n```\n\nIt was finished in 1911.", (("1911",), ("finish",))),
    ],
)
def test_plain_ways_to_say_it_are_statements(report: str, point: tuple[tuple[str, ...], ...]):
    assert quality(report, KeyPoint(text="A point.", needs=point)) == 1.0


def test_a_point_denies_in_its_own_language_and_in_the_reports():
    burned = KeyPoint(text="La tour n'a pas brûlé.", needs=(("tour",), ("brûlé",)))
    report = (
        "Les archives de la ville racontent la vie des gardiens et celle des visiteurs de la côte. "
        "La tour n'a pas brûlé."
    )
    assert quality(report, burned) == 1.0


@pytest.mark.parametrize("frame", ["In a dream it was seen", "Only fools hold", "It is a legend"])
def test_what_is_said_of_a_statement_no_source_says(frame: str):
    assert quality(f"{frame} that CancelledError is raised.", POINTS[0]) == 0.5


def test_a_row_of_a_table_is_half_a_statement():
    row = "| place | height |\n|---|---|\n| Orla tower, height base lantern top | 81 metres |"
    assert quality(f"It is told here.\n\n{row}", TOWER) == 0.5


def test_guesses_are_no_statement_where_nothing_bears_them():
    guessed = "The tower is 70 or 75 or 78 or 79 or 81 or 85 metres high."
    assert checked(guessed, TOWER) == 0.0
    assert checked("The tower is 81 metres high, and not far from 2 others.", TOWER) == 0.5


def test_a_month_is_no_doubt_and_another_sentence_takes_nothing_back():
    opened = KeyPoint(text="It opened on 5 May 1911.", needs=(("1911",), ("opened",)))
    assert quality("It was opened on 5 May 1911.", opened) == 1.0
    report = (
        "CancelledError is raised in the task. A shielded coroutine in another loop does not see "
        "that CancelledError was raised while it waits for a lock."
    )
    assert quality(report, POINTS[0]) == 1.0


def test_what_only_repeats_the_question_is_no_answer():
    question = "Is it true that CancelledError is raised in a cancelled task?"
    assert quality("CancelledError is raised in a cancelled task.", POINTS[0]) == 1.0
    assert quality("CancelledError is raised in a cancelled task.", POINTS[0],
                   question=question) == 0.0  # fmt: skip


def test_another_figure_that_nothing_bears_takes_the_point():
    source = SOURCE.model_copy(update={"text": "The tower is 81 metres high, its mast 12 metres."})

    def worth(report: str) -> float:
        citations = verify_report(parse_answer(report), [source])
        return judge_report(report, [TOWER], citations).quality

    assert worth("The tower is 81 metres high [1001].") == 1.0
    assert worth("The tower is 81 metres high [1001]. The tower is 93 metres high [1001].") == 0.0
    assert worth("The tower is 81 metres high [1001]. The tower is 93 metres high.") == 0.0
    borne = "The tower is 81 metres high [1001]. The mast of the tower is 12 metres [1001]."
    assert worth(borne) == 1.0
    beside = "The tower is 81 metres high [1001]. On 14 May guests saw the tower for 45 minutes."
    assert worth(beside) == 1.0


def test_a_row_of_key_words_is_half_a_statement_at_most():
    assert quality("CancelledError raise.", POINTS[0]) == 0.5
    assert quality("CancelledError is raised.", POINTS[0]) == 1.0


def test_weights_and_what_is_missing():
    heavy = POINTS[1].model_copy(update={"weight": 3.0})
    verdict = judge_report("CancelledError is raised.", [POINTS[0], heavy], None)
    assert verdict.quality == 0.25
    assert verdict.missing == (heavy,)


def test_the_reference_list_states_nothing():
    report = "## References\n\n[1]. https://d.example/CancelledError - CancelledError is raised"
    assert quality(report, POINTS[0]) == key_point_recall(report, POINTS[:1]) == 0.0


def test_what_it_cannot_judge_by_is_refused():
    for judge in (lambda points: judge_report("text", points, None),
                  lambda points: key_point_recall("text", points)):  # fmt: skip
        with pytest.raises(ValueError, match="no key points"):
            judge([])
        with pytest.raises(ValueError, match=r"'It matters\.' is in free words.*give it `needs`"):
            judge([POINTS[0], KeyPoint(text="It matters.")])


PIECES = st.lists(
    st.sampled_from(
        ["CancelledError is raised.", "shield() protects from cancellation.", "Cats sleep.",
         "任务取消后会抛出异常。", "CancelledError.", "Something else is raised."]
    )
)  # fmt: skip


@given(PIECES, PIECES)
def test_more_true_sentences_never_score_less(some, more):
    fewer = quality("\n\n".join(some), *POINTS)
    assert 0 <= fewer <= quality("\n\n".join([*some, *more]), *POINTS) <= 1
