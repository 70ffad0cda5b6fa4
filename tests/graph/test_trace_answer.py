"""A parsed answer: one frozen value whose every place is a span of the text."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oresearch_graph.trace.answer import parse_answer, parsed_answers
from tests.helpers.traces import good_trace

ANSWER = """## Introduction
Tides [1], all [1, 2]. 潮汐【2】。
```
array[7]
```
## References
[1]. https://example.org/a - A
2. B, in print
   https://example.org/b.
[3]. https://example.org/a, seen again
"""
PIECES = ["## References\n", "## A\n", "[1]", "[2] https://a.org", "\n", "1. ", " - T", "```\n",
          "https://b.org/x (c).", "text ", "`", "【3†s】", "结论\n", "\r"]  # fmt: skip


def test_every_place_is_a_span_of_the_text():
    answer = parse_answer(ANSWER)
    lines = answer.reference_lines
    assert [ANSWER[slice(*line.number)] for line in lines] == ["1", "2", "3"]
    assert [ANSWER[slice(*line.address)] for line in lines if line.address] == [
        "https://example.org/a", "https://example.org/b", "https://example.org/a",
    ]  # fmt: skip
    assert ANSWER[lines[1].start : lines[1].end].endswith("https://example.org/b.")
    assert [ANSWER[m.start : m.end] for m in answer.marks] == ["[1]", "[1, 2]", "[1, 2]", "【2】"]
    assert [ANSWER[h.start : h.end] for h in answer.headings] == [
        "## Introduction",
        "## References",
    ]
    assert [ANSWER[a:b] for a, b in answer.fences] == ["```\narray[7]\n```"]
    assert answer.body + ANSWER[slice(*answer.list_span)] == ANSWER


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24))
def test_no_place_lies_outside_and_an_address_stands_where_it_is_said_to(pieces):
    text = "".join(pieces)
    answer = parse_answer(text)
    for mark in answer.marks:
        assert str(mark.number) in text[mark.start : mark.end]
        assert not answer.list_span[0] <= mark.start < answer.list_span[1]
    for line in answer.reference_lines:
        address = line.reference.url
        assert (line.address is None) == (address == "")
        assert line.address is None or text[slice(*line.address)] == address
    numbered = {line.reference.number for line in answer.reference_lines}
    counted = set(range(1, len(answer.entries) + 1))
    assert answer.references.keys() == numbered or (
        not numbered and not answer.references.keys() - counted
    )
    sections = answer.sections("en")
    assert [section.end for section in sections[:-1]] == [s.heading_start for s in sections[1:]]


def test_it_is_a_value():
    answer = parse_answer(ANSWER)
    assert answer == parse_answer(ANSWER)
    with pytest.raises(FrozenInstanceError):
        answer.text = ""  # type: ignore[misc]  # this is what must not be


def test_the_answers_of_a_trace_are_found_by_their_steps():
    trace = good_trace()
    answers = parsed_answers(trace)
    assert [trace.steps[at].kind for at in answers] == [
        "subtask_answer", "subtask_answer", "suggested_answer",
    ]  # fmt: skip
    assert all(answer.text == trace.steps[at].text for at, answer in answers.items())
    assert trace.answer_at == list(answers)[-1]
