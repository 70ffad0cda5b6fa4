"""The tool term of the reward: which calls count, its bounds, and settings that spoil it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.trace import Step, Trace
from oresearch_graph.trace.calls import calls_per_subtask, distinct_calls
from rl.check.training import constant_tool_use
from rl.rollouts.reward import tool_use
from rl.settings import RewardSettings, RLSettings
from tests.helpers.rewards import REWARD


def branch(number: int, *calls: str, kind: Any = "web_search") -> list[Step]:
    return [Step(kind=kind, text=text, branch=number) for text in calls]


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
    assert calls_per_subtask(trace) == (3, 9, 1, 0), "one never begun; the unlisted fifth is none"
    assert tool_use(trace, REWARD) == pytest.approx((1 - 1 + 0 + 0) / 4)
    whole = RewardSettings(scope="trajectory")
    # Branches ask the same queries: nine different ones altogether.
    assert tool_use(trace, whole) == -1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), whole) == 1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), REWARD) == 0.0


def test_a_plan_that_lists_nothing_is_counted_by_its_branches():
    steps = (Step(kind="subtask_list", text=" "), *branch(1, "a", "b"))
    assert calls_per_subtask(Trace(question="Why?", steps=steps)) == (2,)
    assert tool_use(Trace(question="Why?"), REWARD) == 0.0


def test_only_different_well_formed_calls_count():
    steps = [
        *branch(1, "a | b | c", " a | b | c\n", "a", "", "a&serp_num=0"),
        *branch(1, "a", "https://e.example/a | https://e.example/b", kind="crawl_page"),
        Step(kind="tool_call", name="sum", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text="not json", branch=1),
        Step(kind="observation", text="a", author="world", branch=1),
    ]
    assert len(distinct_calls(steps)) == 5


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
