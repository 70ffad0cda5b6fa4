import pytest

from oresearch_graph.evaluate.__main__ import (
    Answered,
    Question,
    as_long_as,
    load_questions,
    mean_recall,
    score_answers,
    top_hit,
)
from oresearch_graph.judging.exact_facts import key_point_recall
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.tools.backend import Hit, Hits, Page

QUESTIONS = load_questions()


def test_twenty_questions_one_of_them_unanswerable():
    assert len({question.id for question in QUESTIONS}) == 20
    assert [question.id for question in QUESTIONS if not question.answerable] == ["unanswerable"]


def test_every_key_point_stands_in_the_corpus(python_texts):
    for question in QUESTIONS:
        for point in question.key_points:
            assert key_point_recall(python_texts[point.source], [point]) == 1.0, point.text


def test_every_key_point_is_met_by_its_own_text():
    for question in QUESTIONS:
        reference = "\n\n".join(point.text for point in question.key_points)
        if question.answerable:
            assert key_point_recall(reference, question.key_points) == 1.0, question.id


class OnePage:
    name = "one page"

    async def search(self, queries, k):
        hits = (Hit(url="doc:1"),) if "cats" in queries[0] else ()
        return [Hits(query=queries[0], hits=hits)]

    async def read(self, urls, focus):
        return [Page(url=urls[0], text="Cats sleep all day.")]


async def test_scores_and_the_baseline():
    questions = (
        Question(id="a", question="Do cats sleep?",
                 key_points=(KeyPoint(text="Cats sleep.", needs=(("cats",), ("sleep",))),
                             KeyPoint(text="Dogs bark loudly.", needs=(("dogs",), ("loudly",))))),
        Question(id="b", question="Who won?"),
    )  # fmt: skip
    words = {"Do cats sleep?": 40, "Who won?": 0}
    first, second = await score_answers(top_hit(OnePage(), OnePage(), words), questions)
    assert (first.recall, first.correct, first.words) == (0.5, True, 4)
    assert first.missing == ("Dogs bark loudly.",)
    assert (second.recall, second.correct) == (None, True)
    assert mean_recall([first, second]) == 0.5


@pytest.mark.parametrize("words", [1, 7, 40, 200])
def test_the_baseline_has_no_more_words_than_the_report(words):
    page = "\n\n".join(f"Cats sleep for {hours} hours on day {hours}." for hours in range(200))
    quoted = as_long_as(page, "How long do cats sleep?", words)
    assert len(quoted.split()) <= words
    assert words < 20 or len(quoted.split()) >= 0.5 * words


async def test_an_invented_answer_is_not_correct():
    async def invents(question):
        return Answered("Anything goes.")

    (score,) = await score_answers(invents, (Question(id="b", question="Who won?"),))
    assert not score.correct
    with pytest.raises(ValueError, match="no answerable question"):
        mean_recall([score])
