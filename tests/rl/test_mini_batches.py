"""Whole prompts per optimizer step, equal shares of rows per worker."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.learning.groups import arrange, plan_mini_batches

# Rows of each prompt: one number per prompt.
Sizes = list[int]


def rows(sizes: Sizes) -> list[str]:
    """Keys of prompts with so many rows, each row of a rollout of its own."""
    return [f"p{place}_{row}_0" for place, size in enumerate(sizes) for row in range(size)]


def test_steps_are_set_by_prompts_and_not_by_rows():
    few, many = plan_mini_batches(rows([1] * 8), 4, ranks=1), plan_mini_batches(rows([9] * 8), 4, 1)
    assert (few.steps, many.steps) == (2, 2)
    assert (few.rows, many.rows) == (8, 72)


def test_prompts_that_were_left_out_take_their_steps_with_them():
    assert plan_mini_batches(rows([3, 3, 3]), 4, ranks=2).steps == 1


def test_mini_batches_hold_about_as_many_rows():
    plan = plan_mini_batches(rows([8, 1, 7, 2]), 2, ranks=1)
    assert plan.of_prompt["p0"] == plan.of_prompt["p1"]
    assert plan.rows == 18


def test_a_fixed_micro_batch_divides_each_workers_rows():
    assert plan_mini_batches(rows([5]), 1, ranks=2, multiple=4).rows_per_rank == 4
    assert plan_mini_batches(rows([9]), 1, ranks=2, multiple=4).rows_per_rank == 8


@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 4), st.integers(1, 3))
def test_every_prompt_is_whole_in_one_step_of_every_cut(sizes: Sizes, prompts: int, ranks: int):
    keys = rows(sizes)
    plan = plan_mini_batches(keys, prompts, ranks)
    padded = [*keys, *(f"pad_{place}_0" for place in range(plan.rows - len(keys)))]
    shares = arrange(plan, padded, [10 + 7 * (place % 5) for place in range(len(padded))])
    assert sorted(place for share in shares for place in share) == list(range(plan.rows))
    assert {len(share) for share in shares} == {plan.steps * plan.rows_per_rank}
    seen: dict[str, set[int]] = {}
    for share in shares:
        for place, row in enumerate(share):
            uid = padded[row].split("_")[0]
            seen.setdefault(uid, set()).add(place // plan.rows_per_rank)
    seen.pop("pad", None)
    assert all(len(steps) == 1 for steps in seen.values())
    of_step = Counter(step for steps in seen.values() for step in steps)
    assert len(of_step) == plan.steps
    assert max(of_step.values()) <= prompts


def test_a_batch_of_another_size_is_refused():
    plan = plan_mini_batches(rows([2]), 1, ranks=2)
    with pytest.raises(ValueError, match="for 2 rows, the batch has 1"):
        arrange(plan, ["p0_0_0"], [10])
