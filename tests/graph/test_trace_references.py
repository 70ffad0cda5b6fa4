"""Citations of an answer: marks, its own list, and what they resolve to; the report's form."""

from __future__ import annotations

import pytest

from oresearch_graph.trace import Source, Step
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.references import (
    Ledger,
    same_address,
    seen_sources,
)
from oresearch_graph.trace.report_form import HEADINGS, SECTIONS, heading_for

SOURCES = [
    Source.of(id=1001, url="https://example.org/a", text="A"),
    Source.of(id=2001, url="python:topic/with", text="B"),
]
ANSWER = """## Introduction
Tides [1]. More [1][2], all [1, 2]. 潮汐【2】。 `code [9]` and [3](https://x.org).
```
array[7]
```
## References
[1]. https://example.org/a - A
[2]. python:topic/with - B
"""


def numbers(text: str) -> list[int]:
    return [mark.number for mark in parse_answer(text).marks]


def test_marks_are_read_in_prose_and_not_in_code_links_or_the_list():
    assert numbers(ANSWER) == [1, 1, 2, 1, 2, 2]


def test_a_marks_span_is_its_bracket():
    mark = parse_answer("Tides [12].").marks[0]
    assert "Tides [12]."[mark.start : mark.end] == "[12]"


def test_the_list_is_read_with_addresses_and_titles():
    listed = parse_answer(ANSWER).references
    assert {n: (r.url, r.title) for n, r in listed.items()} == {
        1: ("https://example.org/a", "A"),
        2: ("python:topic/with", "B"),
    }


def test_the_body_ends_where_the_list_begins():
    end = parse_answer(ANSWER).body_end
    assert ANSWER[end:].startswith("## References")


@pytest.mark.parametrize(
    "listing",
    [
        "References:\n[1] https://example.org/a - A",
        "## 参考文献（url - title）\n[1] https://example.org/a - A",
        "**References**\n1. A, https://example.org/a.",
        "[1] https://example.org/a",
    ],
)
def test_lists_are_found_in_the_forms_models_use(listing):
    text = f"Tides [1].\n\n{listing}\n"
    assert parse_answer(text).references[1].url == "https://example.org/a"
    assert numbers(text) == [1]


def test_of_two_lists_the_one_with_addresses_wins():
    text = "Tides [1].\n\n参考文献：\n[1] 知乎专栏\n\nreferences:\n[1] https://example.org/a - A\n"
    assert parse_answer(text).references[1].url == "https://example.org/a"
    assert numbers(text) == [1]


def test_a_number_resolves_through_the_answers_own_list_first():
    assert parse_answer(ANSWER).resolve(2, Ledger(SOURCES)) == SOURCES[1]
    assert parse_answer(ANSWER).resolve(1001, Ledger(SOURCES)) is None
    assert parse_answer("Tides [1001].").resolve(1001, Ledger(SOURCES)) == SOURCES[0]


def test_a_list_of_bare_numbers_says_no_more_than_the_ids():
    text = "Tides [1001].\n\n## References\n\n[1001]\n[2001]\n"
    assert parse_answer(text).resolve(1001, Ledger(SOURCES)) == SOURCES[0]
    assert numbers(text) == [1001]


def test_an_address_that_was_never_seen_resolves_to_nothing():
    assert (
        parse_answer("T [1].\n\n[1] https://invented.org - X").resolve(1, Ledger(SOURCES)) is None
    )


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("http://Example.org/a/", "https://example.org/a"),
        ("https://example.org", "https://example.org/"),
        ("https://www.example.org/a", "https://example.org/a#history"),
        ("https://example.org/a", "https://example.org/a/?utm_source=chatgpt.com"),
        ("https://example.org/a?b=1", "https://example.org/a?utm_medium=x&b=1&gclid=2#:~:text=c"),
        ("https://example.org/?a=1&b=2", "https://example.org/?a=1&amp;b=2"),
        ("https://example.org/a_(b)", "https://example.org/a\\_%28b%29"),
        ("https://example.org/中", "https://example.org/%E4%B8%AD"),
        ("https://example.org/a%2fb", "https://example.org/a%2Fb"),
    ],
)
def test_spellings_of_one_address_are_the_same(one, two):
    assert same_address(one) == same_address(two)


def test_different_addresses_are_different():
    assert same_address("https://example.org/A") != same_address("https://example.org/a")
    assert same_address("https://example.org/?a=1") != same_address("https://example.org/?a=2")
    assert same_address("https://example.org/a/b") != same_address("https://example.org/a%2Fb")
    assert same_address("https://example.org/#/a") != same_address("https://example.org/#/b")
    for one, two in (
        ("?id=AbC", "?id=aBc"),
        ("caf%E9", "caf%E8"),
        ("?utm_id=1#/a", "?utm_id=1#/b"),
    ):
        assert same_address(f"https://a.org/{one}") != same_address(f"https://a.org/{two}")
    assert same_address("python:asyncio#a") != same_address("python:asyncio#b")


def test_of_two_records_of_one_address_the_one_that_was_read_counts():
    read = SOURCES[0].model_copy(update={"id": 3001, "read": True})
    ledger = Ledger([SOURCES[0], read])
    assert parse_answer(ANSWER).resolve(1, ledger) == read


def test_bare_text_has_the_sources_that_its_observations_show():
    steps = [Step(kind="observation", text="see https://a.org/x, and (https://b.org).")]
    assert [source.url for source in seen_sources(steps)] == ["https://a.org/x", "https://b.org"]


@pytest.mark.parametrize("language", HEADINGS)
def test_our_own_headings_are_recognised_in_every_language(language):
    text = "\n\n".join(f"## {heading_for(name, language)}\ntext" for name in SECTIONS)
    sections = parse_answer(text).sections(language)
    assert [(s.name, s.language) for s in sections] == [(name, language) for name in SECTIONS]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("## 1. Introduction", "introduction"),
        ("**Conclusion**", "conclusion"),
        ("Conclusion:", "conclusion"),
        ("# 七、结论", "conclusion"),
        ("### References (url - title)", "references"),
        ("## Findings", None),
    ],
)
def test_headings_are_recognised_in_the_forms_models_use(heading, name):
    (section,) = parse_answer(f"{heading}\ntext").sections()
    assert section.name == name


def test_a_heading_in_a_code_fence_is_none():
    assert parse_answer("```\n## Introduction\n```\n").sections() == []
