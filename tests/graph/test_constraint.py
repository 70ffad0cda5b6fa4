"""The grammar of the coming text: what it lets a model write, whole and after a cut."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.graph.researcher import citable
from oresearch_graph.policies.chat.constraint import constraint_fields, grammar, takes_grammar
from oresearch_graph.prompts import NO_EVIDENCE
from oresearch_graph.text.words import names_and_figures
from oresearch_graph.threads import Citable, Next, Thread
from oresearch_graph.trace import Source
from tests.helpers.constrained_threads import (
    ANSWER,
    CALLS,
    FIRST,
    LATER,
    PLAN,
    REPORT,
    SPAN,
    WHOLE,
    allows,
)
from tests.helpers.gbnf import accepts


@pytest.mark.parametrize("items", ["1. Span\n2. Repair\n", "1. A\n2. B\n3. C\n"])
def test_a_plan_has_two_to_so_many_numbered_lines(items):
    assert allows(PLAN, f"\n{items}</subtask_list>")
    one = PLAN.model_copy(update={"items": 1})
    assert allows(one, "\n1. Span\n</subtask_list>")


@pytest.mark.parametrize(
    "text",
    [
        "\n</subtask_list>",
        "\n1. A\n2. B\n3. C\n4. D\n</subtask_list>",
        "\n1. A\n</subtask_list>",
        "\n2. A\n</subtask_list>",
        "\n1. A",
        "\n1. <subtask>A\n</subtask_list>",
        "Here is the plan:\n1. A\n</subtask_list>",
    ],
)
def test_nothing_else_is_a_plan(text):
    assert not allows(PLAN, text)


@pytest.mark.parametrize("sign", ["-", "]", "^", "\\", '"', "é", "桥"])
def test_no_line_of_a_plan_repeats_the_question(sign):
    question = f"What is known about the {sign} Quill bridge: its span, repair?"
    rules = grammar(PLAN, "", "en", question)
    for line in (question, question.removesuffix(", repair?"), f"{question} And more"):
        assert not accepts(rules, f"\n1. {line}\n2. Span\n</subtask_list>"), line
        assert not accepts(rules, f"\n1. Span\n2. {line}\n</subtask_list>"), line
    for line in ("Span", "What is known about it", f"What is known about the {sign} Quill inn?"):
        assert accepts(rules, f"\n1. {line}\n2. Span\n</subtask_list>"), line


def test_the_first_turn_is_a_thought_and_a_search():
    assert allows(FIRST, "I need the span.</think>\n<web_search>Quill bridge span</web_search>")
    assert not allows(FIRST, "I know it.</think>\n<subtask_answer>412 m [1001]</subtask_answer>")
    assert not allows(FIRST, "Open it.</think>\n<crawl_page>https://quill.example</crawl_page>")
    assert not allows(FIRST, "<web_search>Quill</web_search>")
    assert not allows(FIRST, "Two.</think>\n<web_search>a | b</web_search>")


def test_no_query_repeats_the_question():
    question = "What is known about the Quill bridge: its span, repair?"
    rules = grammar(FIRST, "", "en", question)
    for query in (question, question.removesuffix(", repair?")):
        assert not accepts(rules, f"Think.</think>\n<web_search>{query}</web_search>"), query
    for query in ("What is known about the Quill", "Quill bridge: its span", "桥的长度"):
        assert accepts(rules, f"Think.</think>\n<web_search>{query}</web_search>"), query


def test_a_query_is_bounded():
    for words, well in ((13, True), (14, False)):
        query = " ".join(["word"] * words)
        assert allows(FIRST, f"Think.</think>\n<web_search>{query}</web_search>") == well
    assert allows(LATER, "Think.</think>\n<web_search>桥的长度和修复</web_search>")


def test_after_an_observation_a_turn_may_search_open_what_was_shown_or_answer():
    thought = "It tells.</think>\n"
    answer = "The Quill bridge spans 412.5 m [1001]."
    assert allows(LATER, f"{thought}<subtask_answer>{answer}</subtask_answer>")
    assert allows(LATER, f"{thought}<web_search>repair</web_search>")
    assert allows(LATER, f"{thought}<crawl_page>https://quill.example/a?b=1</crawl_page>")
    assert not allows(LATER, f"{thought}<crawl_page>https://quill.example/b</crawl_page>")


def test_an_extra_tool_is_called_by_its_own_tag():
    extra = FIRST.model_copy(update={"calls": (*CALLS, "weather")})
    assert allows(extra, 'Ask.</think>\n<weather>{"place": "Quill"}</weather>')
    assert not allows(FIRST, 'Ask.</think>\n<weather>{"place": "Quill"}</weather>')


@pytest.mark.parametrize(
    "sentence",
    [
        "The Quill bridge spans 412.5 m [1001].",
        "It spans 412.5 m. [1001]",
        "Dr. Ida Noor's bridge (412.5 m) is long, she says [1001].",
        "- It was repaired on 3 May 1965 [2001].",
        "It spans 412.5 m and was repaired in 1965 [1001][2001].",
        "It is very long [1001]. It was repaired in 1965 [2001].",
        NO_EVIDENCE,
    ],
)
def test_an_answer_says_what_its_sources_do(sentence):
    assert allows(ANSWER, f"{sentence}</subtask_answer>")


@pytest.mark.parametrize(
    "sentence",
    [
        "It spans 413 m [1001].",
        "It spans ⁴¹³ m [1001].",
        "It spans 412.5 m [2001].",
        "It spans 412.5 m and was repaired in 1965 [2001].",
        "It spans 412.5 m and is long [1001][2001].",
        "It spans 412.5 m [1002].",
        "It spans 412.5 m.",
        "It stands in Denmark [1001].",
        "It is very long. It is old too [1001].",
        "It was built in the 19th century [2001].",
        "<think>It is very long [1001].",
        "## References [1001]",
        "",
    ],
)
def test_an_answer_says_nothing_else(sentence):
    assert not allows(ANSWER, f"{sentence}</subtask_answer>")


@pytest.mark.parametrize(
    "text",
    [
        "412.5 m, 412.5 m, 412.5 m [1001].",
        "412.5 m is its span, they say [1001].",
        "Ida Noor, 412.5, Ida Noor, 412.5 [1001].",
        "Noor, 412.5 m and 1965, 1965 [1001][2001].",
    ],
)
def test_a_list_of_names_and_figures_is_no_sentence(text):
    for language in ("en", "de", "fr", "nl"):
        assert not allows(ANSWER, f"{text}</subtask_answer>", language=language), language
    if "[2001]" not in text:
        assert allows(ANSWER, f"{text}</subtask_answer>", language="fi")


def test_a_page_that_lacks_the_asked_name_is_not_about_it():
    asked = ("Quill", "Orme")
    page = Source(id=1001, url="https://a.example", title="Quill bridge", text="It spans 412.5 m.")
    other = Source(id=1002, url="https://b.example", title="Quern bridge", text="It spans 613 m.")
    sources = tuple(citable(source, asked) for source in (page, other))
    answer = ANSWER.model_copy(update={"sources": sources, "names": asked})
    assert allows(answer, "The Quill bridge spans 412.5 m [1001].</subtask_answer>")
    assert not allows(answer, "The Quill bridge spans 613 m [1002].</subtask_answer>")
    mixed = "The Quill bridge spans 412.5 m and at Quern 613 m [1001][1002].</subtask_answer>"
    assert not allows(answer, mixed)
    assert allows(answer, "The Quern bridge spans 613 m [1002].</subtask_answer>")
    assert allows(answer, "The bridge spans 613 m [1002].</subtask_answer>")
    assert allows(answer, "The bridge of Orme spans 613 m [1002].</subtask_answer>")


@pytest.mark.parametrize(("language", "allowed"), [("en", False), ("de", False), ("ru", True)])
def test_a_title_is_no_sentence(language, allowed):
    title = "The Quill bridge [1001].</subtask_answer>"
    assert allows(ANSWER, title, language=language) == allowed


def test_without_a_source_the_answer_is_that_there_is_none():
    bare = ANSWER.model_copy(update={"sources": ()})
    assert allows(bare, f"{NO_EVIDENCE}</subtask_answer>")
    assert not allows(bare, "It is very long.</subtask_answer>")


@given(st.text(max_size=20).filter(lambda text: "\n" not in text))
def test_whatever_a_page_holds_is_written_in_the_grammar_as_it_stands(text):
    source = replace(SPAN, names=("1", text))
    shown = ANSWER.model_copy(update={"sources": (source,), "addresses": (text,)})
    rules = grammar(shown, "", "en")
    assert not set(map(chr, range(32))) & set(rules) - {"\n"}
    assert accepts(rules, f"It says this: {text} [1001].</subtask_answer>")
    turn = shown.model_copy(update={"tag": "think"})
    assert allows(turn, f"Open.</think>\n<crawl_page>{text}</crawl_page>")


def test_chinese_text_takes_figures_from_its_source_alone():
    answer = Next(
        tag="subtask_answer",
        sources=(Citable(id=1001, names=names_and_figures("该桥全长 860 米,建于 1847 年。")),),
        names=names_and_figures("黎明桥的长度是多少？"),
    )
    assert allows(answer, "该桥全长 860 米[1001]。</subtask_answer>", language="zh")
    other = Citable(id=1002, names=names_and_figures("该桥于 1965 年修复。"))
    both = answer.model_copy(update={"sources": (*answer.sources, other)})
    repaired = "该桥全长 860 米，1965 年修复[1001][1002]。</subtask_answer>"
    assert allows(both, repaired, language="zh")
    assert not allows(both, repaired.replace("[1001]", ""), language="zh")
    assert not allows(both, repaired.replace("，1965 年修复", ""), language="zh")
    assert not allows(answer, "该桥全长 861 米[1001]。</subtask_answer>", language="zh")
    assert allows(answer, "时速 860 公里/小时[1001]。</subtask_answer>", language="zh")


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("It is very long [10", "01]."),
        ("It is very long", " [1001]."),
        ("It is very long [1001]", "."),
        ("It is very long and was repaired in 1965 [1001]", " [2001]."),
    ],
)
def test_an_answer_that_was_cut_is_brought_to_its_end(written, rest):
    assert allows(ANSWER, f"{rest}</subtask_answer>", written)
    assert not allows(ANSWER, f"{rest} And more [1001].</subtask_answer>", written)


def test_a_call_that_was_cut_is_that_call():
    extra = LATER.model_copy(update={"calls": (*CALLS, "weather")})
    page = "\n\n<think>Open.</think>\n<crawl_page>https://quill.exa"
    assert allows(extra, "mple/a?b=1</crawl_page>", page)
    assert not allows(extra, "<web_search>q</web_search>", page)
    tool = '\n\n<think>Ask.</think>\n<weather>{"a": '
    assert allows(extra, "1}</weather>", tool)
    assert not allows(extra, "<web_search>q</web_search>", tool)


def test_a_chinese_answer_that_was_cut_is_brought_to_its_end():
    answer = Next(tag="subtask_answer", sources=(Citable(id=1001, names=("860",)),))
    assert allows(answer, "米[1001]。</subtask_answer>", "该桥全长 860 ", "zh")
    assert allows(answer, "860米[1001]。</subtask_answer>", "该桥全长", "zh")
    assert allows(answer, "</subtask_answer>", "该桥全长 860 米[1001]。", "zh")


@pytest.mark.parametrize(
    ("written", "rest"),
    [
        ("I need the sp", "an.</think>\n<web_search>span</web_search>"),
        ("I need it.</think>\n", "<web_search>span</web_search>"),
        ("I need it.</think>\n<web_search>Quill br", "idge</web_search>"),
        ("It tells.</think>\n<subtask_answer>It spans 41", "2.5 m [1001].</subtask_answer>"),
    ],
)
def test_a_turn_that_was_cut_goes_on_where_it_was(written, rest):
    expected = LATER if "answer" in written else FIRST
    assert allows(expected, rest, f"\n\n<think>{written}")


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("en", "It holds `--mode` = {a, b} and/or “c” – some € [1001]."),
        ("pl", "Most łączy brzegi, źle – żółty [1001]."),
        ("vi", "Cây cầu dài, được sửa [1001]."),
        ("el", "Η γέφυρα είναι μεγάλη [1001]."),
        ("uk", "Міст її з’єднує [1001]."),
        ("az", "Körpü uzundur, gəmilər – µm ≈ [1001]."),
        ("kk", "Көпір ұзын [1001]."),
        ("ar", "الجسر طويل [1001]."),
        ("hi", "पुल लंबा है [1001]."),
    ],
)
def test_words_are_in_the_script_of_the_report(language, sentence):
    assert allows(ANSWER, f"{sentence}</subtask_answer>", language=language)


@pytest.mark.parametrize(
    ("question", "sentence"),
    [("সেতুটি কত দীর্ঘ?", "সেতুটি দীর্ঘ [1001]."), ("խոսք", "Կամուրջը երկար է [1001].")],
)
def test_words_are_in_the_script_of_the_question(question, sentence):
    assert accepts(grammar(ANSWER, "", "en", question), f"{sentence}</subtask_answer>")
    assert not accepts(grammar(ANSWER, "", "en"), f"{sentence}</subtask_answer>")


@pytest.mark.parametrize("word", ["19̵̷0", "n̈o", "see https://quill", "file:///q", "𝐚", "ⅰ"])
def test_no_other_character_stands_for_one_that_may_not_be_written(word):
    assert not allows(ANSWER, f"It is {word} long [1001].</subtask_answer>")


NO_LOOPS = ("dry_multiplier", "dry_allowed_length", "dry_penalty_last_n")


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("llama.cpp", ["grammar", *NO_LOOPS]), ("vLLM", ["structured_outputs"]), ("SGLang", ["ebnf"])],
)
def test_each_server_is_sent_the_grammar_in_its_own_field(kind, fields):
    thread = Thread(id="t", system="", question="", role="planner", next=PLAN, constrained=True)
    assert takes_grammar(kind)
    assert list(constraint_fields(kind, thread)) == fields
    free = thread.model_copy(update={"constrained": False})
    assert constraint_fields(kind, free) == {}
    assert constraint_fields("Ollama", thread) == {}


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        (PLAN, "\n1. Span\n2. Repair\n</subtask_list>"),
        (LATER, "<think>Open.</think>\n<crawl_page>https://quill.example/a?b=1</crawl_page>"),
        (LATER, "<think>Ask.</think>\n<web_search>Quill bridge</web_search>"),
        (LATER, "<think>Say.</think>\n<subtask_answer>It is very long [1001].</subtask_answer>"),
        (ANSWER, "It is very long [1001].</subtask_answer>"),
        (REPORT, f"<suggested_answer>{WHOLE}"),
    ],
)
def test_what_was_cut_anywhere_in_a_tag_is_brought_to_its_end(expected, text):
    opening = text.find(">") + 1 if text.startswith("<") else 1
    for place in range(opening, len(text)):
        inside = "<" in text[:place].rpartition(">")[2]
        if inside or text[place - 1] == ">":
            assert allows(expected, text[place:], text[:place]), text[:place]
        assert not (inside and allows(expected, f"x{text[place:]}", text[:place]))
