import pytest

from oresearch_graph.policies.extractive.phrases import FACETS, PHRASES, facet_of
from oresearch_graph.policies.extractive.plan import key_terms, keywords, plan, queries, topic_of


def test_a_topic_is_asked_about_by_facets():
    subtasks = plan("How does asyncio cancel tasks?", "en")
    assert len(subtasks) == 4
    assert all(subtask.startswith("asyncio cancel tasks: ") for subtask in subtasks)
    assert [facet_of(subtask) for subtask in subtasks] == list(FACETS[:4])


@pytest.mark.parametrize(
    "question",
    [
        "What is the difference between lists and tuples?",
        "lists vs tuples",
        "Compare lists with tuples.",
        "How do lists differ from tuples?",
        "Should I use lists or tuples?",
    ],
)
def test_a_comparison_has_a_subtask_per_thing_and_one_for_both(question):
    first, second, both, choice = plan(question, "en")
    assert first.startswith("lists: ")
    assert second.startswith("tuples: ")
    assert both.startswith("lists and tuples: ")
    assert facet_of(both) == "comparison"
    assert facet_of(choice) == "choice"


def test_clauses_are_subtasks_that_stand_alone():
    subtasks = plan("How does pickling work and what are the security risks?", "en")
    assert subtasks[:2] == [
        "How does pickling work",
        "What are the security risks (pickling)",
    ]
    assert 3 <= len(subtasks) <= 5


def test_chinese_questions_are_planned_in_chinese():
    assert plan("列表和元组有什么区别？", "zh")[2] == "列表与元组: 区别与共同点"
    assert plan("asyncio 如何取消任务？", "zh")[0] == "asyncio 取消任务: 定义与用途"


@pytest.mark.parametrize("question", ["", "???", "what is it?", "如何"])
def test_any_text_gives_a_plan(question):
    subtasks = plan(question, "en")
    assert len(subtasks) <= 5
    assert all(queries(subtask, question or "x") for subtask in subtasks)


def test_the_limit_holds():
    assert len(plan("How does asyncio cancel tasks?", "en", 3)) == 3
    assert len(plan("a and how b and what c and why d and when e and who f", "en", 20)) <= 5


def test_facets_are_known_again_in_every_language():
    for words in PHRASES.values():
        for facet in FACETS:
            assert facet_of(f"topic: {words.facet(facet)}") == facet
    assert facet_of("a subtask that a person wrote") == "question"


def test_topics_and_keywords():
    assert topic_of("Wie funktioniert die Garbage Collection?") == "Garbage Collection"
    assert topic_of("什么是量子计算？") == "量子计算"
    assert keywords("How do I use sqlite3.connect in C++?") == ["sqlite3.connect", "C"]
    assert key_terms("lists and tuples: differences and similarities") == ["list", "tupl"]
