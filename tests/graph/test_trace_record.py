"""The record: a planner's list as items, views that follow the steps, numbers a file can hold."""

from __future__ import annotations

import math

import pytest
from pydantic import ValidationError

from oresearch_graph.trace import Evidence, Span, Step, list_items
from tests.helpers.traces import good_trace


@pytest.mark.parametrize(
    ("text", "items"),
    [
        ("1. a\n2. b\n", ("a", "b")),
        ("\n- a\n\n- b", ("a", "b")),
        ("1、甲\n2、乙", ("甲", "乙")),
        ("（1）甲\n（2）乙", ("甲", "乙")),
        ("1) a\r\n2) b\r\n", ("a", "b")),
        ("a\nb", ("a", "b")),
        ("Subtasks:\n1. a\n2. b", ("a", "b")),
        ("1. a\n   - detail\n   - more\n2. b", ("a - detail - more", "b")),
        ("1. a\n- detail\n2. b", ("a - detail", "b")),
        ("1. a\nthat goes on\n2. b", ("a that goes on", "b")),
        ("1. **Bold** words\n2. 2024 outlook", ("**Bold** words", "2024 outlook")),
        ("- 3.5 percent\n- -5 degrees", ("3.5 percent", "-5 degrees")),
        ("2024 outlook\n3.5 percent", ("2024 outlook", "3.5 percent")),
        ("1. a\n---\n2. b", ("a", "b")),
        ("  \n", ()),
    ],
)
def test_a_list_is_read_as_meant(text, items):
    assert list_items(text) == items


def test_views_follow_the_steps_of_a_changed_copy():
    trace = good_trace()
    assert trace.subtasks == ("What tides are", "How large they get")
    assert set(trace.branches) == {1, 2}
    other = trace.model_copy(update={"steps": (Step(kind="subtask_list", text="1. x"),)})
    assert other.subtasks == ("x",)
    assert other.branches == {}


def test_a_number_that_json_cannot_hold_is_refused():
    with pytest.raises(ValidationError, match="finite"):
        Span(name="model", start=0.0, seconds=math.inf)
    with pytest.raises(ValidationError, match="finite"):
        Evidence(source=1, start=0, end=1, quote="x", score=math.nan)
