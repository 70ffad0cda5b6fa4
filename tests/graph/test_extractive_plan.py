import pytest

from oresearch_graph.policies.extractive.phrases import FACETS, PHRASES, facet_of
from oresearch_graph.policies.extractive.plan import KEYWORDS, keywords, plan, queries, topic_of


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


LONG = """\
I am writing for the board of a mid-sized hospital and have little time. Please prepare a \
detailed research report on heat pumps in old brick buildings. It should be easy to read and not \
too long, and my colleagues have asked me about it more than once in the last months. How much \
electricity do heat pumps need in a building without insulation? The report should also cover \
the noise of outdoor units, since our neighbours complain. What do hospitals in Denmark and \
Norway say about their experience with large heat pumps? Ensure that only sources after 2019 are \
cited, and present figures in a table. Thank you very much for your help, it is highly \
appreciated by all of us here."""


def test_a_long_request_is_planned_by_what_it_asks():
    assert len(LONG.split()) >= 100
    subtasks = plan(LONG, "en")
    assert len(subtasks) == 4
    assert any(
        subtask.startswith("How much electricity do heat pumps need") for subtask in subtasks
    )
    assert any(
        subtask.startswith("What do hospitals in Denmark and Norway") for subtask in subtasks
    )
    for subtask in subtasks:
        for query in queries(subtask, LONG):
            assert 2 <= len(query.split()) <= KEYWORDS
            assert not {"please", "report", "research", "ensure"} & set(query.lower().split())
    assert "heat pumps" in " ".join(queries(subtasks[0], LONG)).lower()


def test_a_long_chinese_request_gives_short_queries():
    request = (
        "请为我收集整理目前世界上关于量子网络的研究进展，并对各课题组的技术路线进行比较。"
        "量子中继器面临哪些主要的技术挑战？最后，请评估未来十年内最有潜力实现城际量子通信的国家和机构。"
    )
    subtasks = plan(request, "zh")
    assert len(subtasks) == 4
    assert any("量子中继器面临" in subtask for subtask in subtasks)
    for subtask in subtasks:
        assert all(len(query.split()) <= KEYWORDS for query in queries(subtask, request))


def test_numbered_items_are_subtasks():
    request = (
        "For a hospital, describe: 1) heating with pumps; 2) noise of units; 3) costs per year."
    )
    assert [subtask.split(" (")[0] for subtask in plan(request, "en")][-3:] == [
        "Heating with pumps", "Noise of units", "Costs per year",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        "Who was Dr. Watson?",
        "Was geschah am 9. November 1989?",
        "What is St. Petersburg known for?",
    ],
)
def test_a_stop_that_ends_no_sentence_parts_no_question(question):
    assert not any(
        subtask.rstrip(" ?").endswith(("Dr", "am", "St")) for subtask in plan(question, "en")
    )
