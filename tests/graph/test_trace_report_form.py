"""The form of a report, in the forms that models write headings and reference lists."""

from __future__ import annotations

import pytest

from oresearch_graph.trace.answer import parse_answer
from tests.helpers.traces import GOOD, trace_of


def names(text: str, language: str | None = None) -> list[str | None]:
    return [section.name for section in parse_answer(text).sections(language)]


@pytest.mark.parametrize(
    ("heading", "name"),
    [
        ("## 结论与建议", "conclusion"),
        ("## 第一章 引言", "introduction"),
        ("## （一）引言", "introduction"),
        ("## IV. Conclusion", "conclusion"),
        ("## Conclusion and outlook", "conclusion"),
        ("## Introduction ##", "introduction"),
        ("## References and notes", "references"),
        ("## Sources of error", None),
        ("## Citations in the wild", None),
        ("## Backgrounds", None),
        ("**Conclusion**\r", "conclusion"),
        ("## Conclusion\r", "conclusion"),
    ],
)
def test_a_heading_names_its_section(heading, name):
    assert names(f"{heading}\ntext") == [name]


@pytest.mark.parametrize(
    "line", ["Conclusion and more words", "#Conclusion", "| Conclusion |", "- Conclusion", "1."]
)
def test_other_lines_are_no_headings(line):
    assert names(f"{line}\ntext") == []


def test_a_word_that_serves_two_sections_names_the_one_that_is_not_there_yet():
    assert names("## Summary\na\n## Findings\nb") == ["introduction", None]
    assert names("## Introduction\na\n## Summary\nb") == ["introduction", "conclusion"]


def test_a_section_spans_from_its_heading_to_the_next():
    text = "Loose.\n## A\none\n## B\ntwo"
    first, second = parse_answer(text).sections()
    assert (first.heading, text[first.heading_start : first.start]) == ("A", "## A")
    assert text[first.start : first.end] == "\none\n"
    assert text[second.start : second.end] == "\ntwo"


def test_a_fence_closes_with_its_own_mark_and_may_stay_open():
    text = "```py\n~~~\n# no\n```\n# yes\n~~~\n# no\n"
    answer = parse_answer(text)
    assert [text[a:b] for a, b in answer.fences] == ["```py\n~~~\n# no\n```", "~~~\n# no\n"]
    assert [section.heading for section in answer.sections()] == ["yes"]


def test_marks_are_not_hidden_by_stray_backticks():
    text = "Use ``` to fence. Tides [7].\n\nMore [8]."
    assert [mark.number for mark in parse_answer(text).marks] == [7, 8]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("a [1-3]", [1, 2, 3]),
        ("a [1, 4–5]", [1, 4, 5]),
        ("in [2019-2021]", []),
        ("a [^4] b ［6］ c 【5†source】", [4, 6, 5]),
        ("as [1]: says", [1]),
        ("[1]: https://example.org", []),
        ("[link 1] and [1](https://example.org)", []),
    ],
)
def test_the_ways_of_citing(text, numbers):
    assert [mark.number for mark in parse_answer(text).marks] == numbers


@pytest.mark.parametrize(
    ("line", "url", "title"),
    [
        ("[1]. https://a.org - T", "https://a.org", "T"),
        ("[1] T (2024)\n    https://a.org/x", "https://a.org/x", "T (2024)"),
        ("1. [T](https://a.org/x_(y)).", "https://a.org/x_(y)", "T"),
        ("- [1] T (https://en.wikipedia.org/wiki/Foo_(bar))",
         "https://en.wikipedia.org/wiki/Foo_(bar)", "T"),
        ("[^1]: C++:a primer, https://a.org.", "https://a.org", "C++:a primer,"),
        ("【1】标题：https://a.cn/x，2024", "https://a.cn/x", "标题：，2024"),
        ("[1] python:topic/with - T", "python:topic/with", "T"),
        ("1、标题 https://a.cn", "https://a.cn", "标题"),
    ],
)  # fmt: skip
def test_the_ways_of_listing(line, url, title):
    found = parse_answer(f"Tides [1].\n\n## References\n{line}\n").references
    assert {n: (r.url, r.title) for n, r in found.items()} == {1: (url, title)}


def test_prose_after_the_list_under_a_heading_of_its_own_is_prose():
    text = "A [1].\n## References\n[1] https://a.org\n## Notes\nInvented [9].\n"
    assert [mark.number for mark in parse_answer(text).marks] == [1, 9]
    assert list(parse_answer(text).references) == [1]


def test_a_list_in_parts_is_one_list():
    text = "A [1].\n## References\n### Books\n[1] https://a.org\n### Pages\n[2] https://b.org\n"
    assert list(parse_answer(text).references) == [1, 2]
    assert text[parse_answer(text).body_end :].startswith("## References")


def test_a_numbered_list_of_prose_that_ends_an_answer_is_no_reference_list():
    text = "Steps:\n1. Open https://a.org [3]\n2. Close https://b.org [4]\n"
    assert [mark.number for mark in parse_answer(text).marks] == [3, 4]
    assert parse_answer(text).references == {}


def test_a_title_alone_is_no_body():
    from oresearch_graph.trace import violations

    report = GOOD.replace("## Introduction", "# Tides\n## Introduction").replace(
        "## Findings\n", ""
    )
    assert [violation.code for violation in violations(trace_of(report))] == ["no_body"]
