from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import stem, terms, token_count


def sentences(text):
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    "family",
    [
        ["cancel", "cancels", "cancelled", "cancelling"],
        ["cache", "caches", "cached", "caching"],
        ["class", "classes"],
        ["query", "queries"],
        ["stop", "stopped", "stopping"],
        ["call", "calls", "called", "calling"],
        ["type", "types", "typed", "typing"],
    ],
)
def test_one_stem_per_word_family(family):
    assert len({stem(word) for word in family}) == 1


@pytest.mark.parametrize("word", ["string", "status", "this", "need", "class", "asyncio"])
def test_words_that_only_look_inflected_stay(word):
    assert stem(word) == word


def test_terms_drop_stop_words_and_split_identifiers():
    assert terms("How does asyncio.TaskGroup cancel the other tasks?") == [
        "asyncio", "taskgroup", "cancel", "task",
    ]  # fmt: skip


def test_terms_keep_decimals_and_thousands_whole():
    assert terms("grew 3.14 times to 1,250,000") == ["grew", "3.14", "tim", "1,250,000"]


def test_terms_of_chinese_are_bigrams_without_particles():
    assert terms("量子计算的优势是什么") == ["量子", "子计", "计算", "优势"]
    assert terms("猫 Python") == ["猫", "python"]


def test_terms_of_a_text_of_stop_words_keep_them():
    assert terms("what is it") == ["what", "is", "it"]
    assert terms("") == []


def test_full_width_letters_and_digits_are_the_same_terms():
    assert terms("ＡＢＣ １２３") == ["abc", "123"]


@pytest.mark.parametrize(("text", "count"), [("", 0), ("abcd", 1), ("abcde", 2), ("你好", 2)])
def test_token_count(text, count):
    assert token_count(text) == count


@given(st.text(), st.text())
def test_token_count_of_a_whole_is_at_most_that_of_its_parts(first, second):
    assert token_count(first + second) <= token_count(first) + token_count(second)


def test_sentences_of_hard_wrapped_prose():
    text = (
        "A coroutine is a function that can be suspended while it waits for\n"
        "something else, e.g. a socket. Version 3.11 added TaskGroup.  sys.path\nis a list."
    )
    assert sentences(text) == [
        "A coroutine is a function that can be suspended while it waits for\n"
        "something else, e.g. a socket.",
        "Version 3.11 added TaskGroup.",
        "sys.path\nis a list.",
    ]


def test_citation_marks_stay_with_the_sentence_before_them():
    assert sentences("Tasks end. [1][2] Others go on [3].\n结论成立。[1] 另一句【2】。") == [
        "Tasks end. [1][2]", "Others go on [3].", "结论成立。[1]", "另一句【2】。",
    ]  # fmt: skip


def test_headings_items_rows_and_fences_are_sentences_of_their_own():
    text = (
        "# A heading\nProse under it. More.\n- first item\n- second item\n"
        "```py\na = 1. \nb. c\n```\n| a | b |\n| c | d |\nTitle\n====="
    )
    assert sentences(text) == [
        "# A heading", "Prose under it.", "More.", "- first item", "- second item",
        "```py\na = 1. \nb. c\n```", "| a | b |", "| c | d |", "Title",
    ]  # fmt: skip


def test_chinese_sentences_need_no_space():
    assert sentences("他说：“好！”然后走了。真的吗？是。") == [
        "他说：“好！”", "然后走了。", "真的吗？", "是。",
    ]  # fmt: skip


@given(st.text(alphabet=st.sampled_from("aB1 .!?\n-#|`[]。！你\t\r")))
def test_sentence_spans_are_ordered_and_lose_no_word(text):
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))
    kept = "".join(text[start:end] for start, end in spans)
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]
