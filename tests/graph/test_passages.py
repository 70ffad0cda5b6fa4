import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.text.passages import best_passages, bm25, split_passages
from oresearch_graph.text.words import terms, token_count

FILLER = "Nothing here is about the matter at hand, it only takes up some room on the page. "
PAGE = "\n\n".join(
    [
        "Welcome to the handbook.\n" + FILLER * 6,
        "## Cancellation\n\nA task is cancelled by calling its cancel method.",
        FILLER * 12,
        "Shielding protects an awaitable from cancellation.",
        FILLER * 12,
    ]
)


def test_a_text_that_fits_is_returned_whole():
    (only,) = best_passages("Short text.", "text", 50)
    assert only.text == "Short text."


def test_relevant_passages_come_in_page_order_within_the_budget():
    found = best_passages(PAGE, "How is a task cancelled, and what is shielding?", 200)
    together = " ".join(passage.text for passage in found)
    assert "cancel method" in together
    assert "Shielding protects" in together
    assert [p.start for p in found] == sorted(p.start for p in found)
    assert sum(token_count(p.text) for p in found) <= 200


def test_of_a_little_room_single_sentences_are_made_the_most():
    facts = [
        "The bridge is 81 m long.",
        "The bridge was built by Orla Venn.",
        "A bridge toll is due.",
    ]
    page = " ".join(f"{FILLER}{fact} {FILLER}" for fact in facts)
    together = " ".join(passage.text for passage in best_passages(page, "bridge length", 130))
    assert all(fact in together for fact in facts)


@pytest.mark.parametrize("padding", range(0, 60, 3))
@pytest.mark.parametrize("tokens", [60, 100, 150])
def test_no_figure_and_no_word_is_cut(padding, tokens):
    long = f"{'on and ' * (padding // 7)}{'x' * (padding % 7)} the bridge " + (
        "that Orla Venn built over many a year for the people of the valley and of the hills around"
        " it cost the city 1,250,000 crowns in the end, as its council had feared from the start. "
    )
    shown = " ".join(p.text for p in best_passages(FILLER * 3 + long + FILLER * 9, "cost", tokens))
    words = set((FILLER + long).split())
    assert set(shown.split()) <= words
    chinese = "桥" * padding + "由建筑师设计并于1847年建成通车" * 3
    for piece in best_passages(chinese * 9, "建筑师", tokens):
        assert not re.match(r"\d{1,3}年", piece.text)


def test_without_a_match_the_beginning_is_taken():
    assert best_passages(PAGE, "zebra", 200)[0].text.startswith("Welcome")


def test_a_heading_stays_with_its_text():
    text = ("x " * 100).strip() + ".\n\nTitle of the next part\n\n" + ("y " * 100).strip() + "."
    assert split_passages(text, 70)[1].text.startswith("Title of the next part")


def test_chinese_page():
    page = "\n\n".join(["天气很好。" * 40, "量子计算利用叠加态加速搜索。", "股票下跌。" * 40])
    (found,) = best_passages(page, "量子计算如何加速", 60)
    assert found.text.startswith("量子计算利用叠加态加速搜索。")


def test_bm25_prefers_rare_terms():
    documents = [terms("the cat sat"), terms("the dog sat"), terms("sat sat")]
    scores = bm25(documents, terms("dog sat"))
    assert scores.index(max(scores)) == 1
    assert bm25(documents, ["absent"]) == [0.0, 0.0, 0.0]


@given(st.text(alphabet=st.sampled_from("ab .\n你。-#")), st.integers(1, 60))
def test_passages_are_slices_that_keep_every_word_and_the_bound(text, tokens):
    passages = split_passages(text, tokens)
    assert all(text[p.start : p.end] == p.text for p in passages)
    kept = "".join(p.text for p in passages)
    assert [c for c in kept if c.isalnum()] == [c for c in text if c.isalnum()]
    assert all(token_count(p.text) <= tokens for p in passages)


@given(st.text(alphabet=st.sampled_from("ab .\n你。-#")), st.integers(1, 60))
def test_best_passages_fit(text, tokens):
    found = best_passages(text, "ab 你", tokens)
    assert sum(token_count(p.text) for p in found) <= tokens
    assert all(text[p.start : p.end] == p.text for p in found)


def test_a_megabyte_page_is_ranked_in_linear_time():
    page = "\n\n".join(f"Paragraph {i} speaks of item{i % 97} at length." for i in range(20_000))
    begin = time.process_time()
    assert best_passages(page, "item13", 500)
    assert time.process_time() - begin < 6


def test_of_a_very_long_text_the_stretches_that_name_the_focus_are_ranked() -> None:
    filler = "The gulf stream carries warm water to the north of the ocean.\n\n" * 20_000
    text = f"{filler}Spring tides rise twelve metres at Granville.\n\n{filler}"
    passages = best_passages(text, "how high do tides rise at Granville", 200)
    assert "twelve metres" in "".join(passage.text for passage in passages)
    assert all(text[p.start : p.end] == p.text and len(p.text) < 1_000 for p in passages)
    assert best_passages(filler, "volcanoes", 200)[0].start == 0
