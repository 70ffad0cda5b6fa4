"""The tool term of the reward: which calls count, its bounds, and settings that spoil it."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.trace import Failure, Step, Trace
from oresearch_graph.trace.call_counts import (
    calls_per_subtask,
    distinct_calls,
    fruitful_calls,
    normal_text,
)
from rl.check.training import constant_tool_use
from rl.rollouts.reward import tool_use
from rl.settings import RewardSettings, RLSettings
from tests.helpers.rewards import REWARD


def branch(number: int, *calls: str, kind: Any = "web_search") -> list[Step]:
    """Calls, each with an observation of a source of its own."""
    return [
        step
        for text in calls
        for step in (
            Step(kind=kind, text=text, branch=number),
            showing(text.strip(), number=number),
        )
    ]


def showing(*pages: str, number: int = 1) -> Step:
    blocks = [
        f"[{at}] A page\nhttps://e.example/{quote(page)}\nIt says more than https://other.example."
        for at, page in enumerate(pages, 1)
    ]
    text = "\n\n".join(blocks) or "No results."
    return Step(kind="observation", text=text, author="world", branch=number)


def planned(count: int, *steps: Step) -> Trace:
    listed = "\n".join(f"{n}. Subtask {n}" for n in range(1, count + 1))
    return Trace(question="Why?", steps=(Step(kind="subtask_list", text=listed), *steps))


def queries(count: int) -> list[str]:
    return [f"query {n}" for n in range(count)]


@pytest.mark.parametrize(("calls", "worth"), [(0, 0), (1, 0), (2, 1), (8, 1), (9, -1), (30, -1)])
def test_the_tool_term_of_one_subtask(calls: int, worth: float):
    assert tool_use(planned(1, *branch(1, *queries(calls))), REWARD) == worth


def test_the_tool_term_is_the_mean_over_listed_subtasks():
    trace = planned(
        4, *branch(1, *queries(3)), *branch(2, *queries(9)), *branch(3, *queries(1)),
        *branch(5, *queries(5)),
    )  # fmt: skip
    assert calls_per_subtask(trace, fruitful_calls) == (3, 9, 1, 0), (
        "one never begun; the unlisted fifth is none"
    )
    assert tool_use(trace, REWARD) == pytest.approx((1 - 1 + 0 + 0) / 4)
    whole = RewardSettings(scope="trajectory")
    # Branches ask the same queries: nine different ones altogether.
    assert tool_use(trace, whole) == -1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), whole) == 1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), REWARD) == 0.0


def test_a_plan_that_lists_nothing_is_counted_by_its_branches():
    steps = (Step(kind="subtask_list", text=" "), *branch(1, "a", "b"))
    assert calls_per_subtask(Trace(question="Why?", steps=steps), fruitful_calls) == (2,)
    assert tool_use(Trace(question="Why?"), REWARD) == 0.0


def test_only_different_well_formed_calls_are_distinct():
    steps = [
        *branch(1, "a | b | c", " C | b|A.\n", "a | b | c&serp_num=9", "a", "", "a&serp_num=0"),
        *branch(1, "a", "https://e.example/a | https://e.example/b", kind="crawl_page"),
        *branch(1, "https://www.e.example/b/\nhttps://E.example/a#top", kind="crawl_page"),
        Step(kind="tool_call", name="sum", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text='{ "of":1 }', branch=1),
        Step(kind="tool_call", name="mean", text="not json", branch=1),
        Step(kind="web_search", text="cut short", closed=None, branch=1),
    ]
    assert distinct_calls(steps) == 5


@pytest.mark.parametrize(
    "again",
    ["tides&serp_num=9", "tides&num=123456", "Tides &num=3&num=4", "query=tides&num=5",
     "tides | TIDES!", '{"queries": ["tides"], "num": 7}', "num=4&query=tides", "＃ tides +"],
)  # fmt: skip
def test_the_same_query_with_another_count_is_no_other_call(again: str):
    steps = [Step(kind="web_search", text=text, branch=1) for text in ("tides&serp_num=3", again)]
    assert distinct_calls(steps) == 1
    shown = [showing("one"), showing("one", "two")]
    assert fruitful_calls([steps[0], shown[0], steps[1], shown[1]]) == 1


def test_without_a_plan_of_the_policys_own_calls_are_worth_nothing():
    trace = planned(1, *branch(1, *queries(3)))
    assert tool_use(trace, REWARD) == 1.0
    fallback = Failure(name="plan_fallback", fault="policy", message="no plan")
    whole = RewardSettings(scope="trajectory")
    for each in (
        trace.model_copy(update={"failures": (fallback,)}),
        trace.model_copy(update={"steps": trace.steps[1:]}),
    ):
        assert (tool_use(each, REWARD), tool_use(each, whole)) == (0.0, 0.0)
    many = planned(1, *branch(1, *queries(9))).model_copy(update={"failures": (fallback,)})
    assert tool_use(many, REWARD) == -1.0, "too many are too many"
    given = trace.steps[0].model_copy(update={"opened": "given"})
    assert tool_use(trace.model_copy(update={"steps": (given, *trace.steps[1:])}), REWARD) == 1.0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("C++ coroutines", "C# coroutines", False), ("C coroutines", "C++ coroutines", False),
        ("at -5 °C", "at +5 °C", False), ("at −5 °C", "at -5 °C", True),
        ("state-of-the-art", "state of the art!", True), ("की", "का", False),
        ("ＴＩＤＥＳ", "tides", True), ("?!", "?!", True), ("?!", "!?", False),
        ("tides # +", "tides", True), ("+", "#", False),
    ],
)  # fmt: skip
def test_what_makes_another_text(one: str, other: str, same: bool):
    assert (normal_text(one) == normal_text(other)) is same


def call(text: str, *pages: str, kind: Any = "web_search") -> list[Step]:
    return [Step(kind=kind, text=text, branch=1), showing(*pages)]


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        ([*call("a", "one"), *call("b", "two")], 2),
        ([*call("a", "one"), *call("b", "one")], 1),
        ([*call("a", "one"), *call("b", "one", "two")], 2),
        ([*call("a", "one"), *call(" A!", "two")], 1),
        ([*call("a"), *call("b")], 0),
        ([*call("a", "one"), *call("https://e.example/one", "one", kind="crawl_page")], 2),
        ([*call("https://e.example/one", "one", kind="crawl_page"), *call("a", "one")], 1),
        (2 * call("https://e.example/one", "one", kind="crawl_page"), 1),
        ([Step(kind="web_search", text="a"), Step(kind="web_search", text="b")], 0),
        ([Step(kind="web_search", text="a"),
          showing("one").model_copy(update={"author": "policy"})], 0),
        ([Step(kind="crawl_page", text="https://e.example/x"),
          Step(kind="observation", author="world",
               text="https://e.example/x: could not be read: https://e.example/y says 404")], 0),
        ([Step(kind="web_search", text="a"),
          Step(kind="observation", author="world", text='{"url": "https://e.example/1"}')], 1),
    ],
)  # fmt: skip
def test_a_call_counts_that_brought_a_source_unseen_before(steps: list[Step], count: int):
    assert fruitful_calls(steps) == count


CALLS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b ", "b", "c", "", "d", "e"])))


@given(CALLS, CALLS, st.integers(1, 4))
def test_the_tool_term_keeps_its_bounds_and_repeating_calls_changes_nothing(calls, more, listed):
    steps = [step for number, text in calls for step in branch(number, text)]
    trace = planned(listed, *steps)
    settings = RewardSettings(most_calls=3)
    for scope in ("subtask", "trajectory"):
        own = settings.model_copy(update={"scope": scope})
        value = tool_use(trace, own)
        assert -1.0 <= value <= 1.0
        assert tool_use(planned(listed, *steps, *steps), own) == value
    assert value in {-1.0, 0.0, 1.0}, "of a trajectory there is no mean"
    total = 4 * tool_use(planned(4, *steps), settings)
    assert total == sum(
        tool_use(planned(1, *(s.model_copy(update={"branch": 1}) for s in steps if s.branch == n)),
                 settings)
        for n in range(1, 5)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("research", "reward", "line"),
    [
        ({}, {}, None),
        ({"max_tool_calls": 9}, {}, None),
        ({"max_tool_calls": 8}, {}, "the upper bound is never felt: a subtask holds at most 8"),
        ({"max_steps": 9}, {}, "the upper bound is never felt: a subtask holds at most 8"),
        ({"max_tool_calls": 2}, {}, "the upper bound is never felt: a subtask holds at most 2"),
        ({"max_tool_calls": 1}, {}, "constant: always 0, a subtask holds at most 1"),
        ({"max_steps": 2}, {}, "constant: always 0, a subtask holds at most 1"),
        ({"max_tool_calls": 4}, {"fewest_calls": 0}, "constant: always 1"),
        ({}, {"fewest_calls": 9, "most_calls": 8}, "never 1: "),
        ({}, {"tool_use": 0.0}, "constant: oresearch.reward.tool_use is 0"),
        ({}, {"scope": "trajectory"}, "against the prompt: "),
        ({"max_tool_calls": 4}, {"scope": "trajectory"}, None),
        ({"max_subtasks": 1}, {"scope": "trajectory"}, None),
        (
            {"max_tool_calls": 1, "max_subtasks": 3},
            {"scope": "trajectory"},
            "the upper bound is never felt: a trajectory holds at most 3",
        ),
    ],
)
def test_settings_that_spoil_the_tool_term(research: Any, reward: Any, line: str | None):
    settings = RLSettings(research=research, reward=RewardSettings(**reward))
    found = constant_tool_use(settings)
    assert found is None if line is None else (found or "").startswith(line)


@given(st.integers(0, 6), st.integers(0, 4), st.integers(1, 5), st.integers(1, 8))
def test_the_report_on_settings_agrees_with_what_the_term_can_be(cap, fewest, most, steps):
    reward = RewardSettings(fewest_calls=fewest, most_calls=most)
    research = {"max_tool_calls": cap, "max_steps": steps}
    line = constant_tool_use(RLSettings(research=research, reward=reward)) or ""
    counts = range(max(0, min(cap, steps - 1)) + 1)
    values = {tool_use(planned(1, *branch(1, *queries(count))), reward) for count in counts}
    if fewest <= most:
        assert line.startswith("constant") == (len(values) == 1)
        assert ("never felt" in line) == (len(values) == 2 and -1.0 not in values)
    else:
        assert 1.0 not in values
