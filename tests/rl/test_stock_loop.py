"""Our agent loop writes the rows that verl's stock `ToolAgentLoop` writes, id by id, where both
play one script: the context that is trained is the context verl would train."""

from __future__ import annotations

from typing import Any

import pytest

import tests.helpers.verl_quietly  # noqa: F401 - before what imports verl
from rl.rollouts.token_ledger import TokenRow
from tests.helpers.stock_loop import match


def told(row: Any) -> tuple[list[int], list[int], list[int], list[float] | None]:
    """What verl trains on."""
    return row.prompt_ids, row.response_ids, row.response_mask, row.response_logprobs


async def test_a_single_thread_has_the_stock_loops_ids_masks_and_log_probs():
    script = await match("sequential", subtasks=1, turns=2)
    [ours], [stock] = await script.ours(), await script.stock()
    assert told(ours) == told(stock)
    assert script.engine.calls == 2 * 5  # planner, three turns, report: of each loop
    assert {0, 1} == set(ours.response_mask)


@pytest.mark.parametrize("subtasks", [1, 2])
async def test_each_thread_is_one_conversation_of_the_stock_loop(subtasks):
    script = await match("parallel", subtasks, turns=3)
    ours, stock = await script.ours(), await script.stock()
    assert len(ours) == subtasks + 2
    assert [told(row) for row in ours] == [told(row) for row in stock]


async def test_what_the_world_wrote_is_never_sampled(monkeypatch):
    """The control: a ledger that takes observations for the policy's is told from the stock one."""
    monkeypatch.setattr(TokenRow, "show", _sampled_by_mistake)
    script = await match("sequential", subtasks=1, turns=2)
    [ours], [stock] = await script.ours(), await script.stock()
    assert ours.response_ids == stock.response_ids
    assert ours.response_mask != stock.response_mask


def _sampled_by_mistake(row: TokenRow, ids: list[int], text: str) -> None:
    row.response_ids += ids
    row.mask += b"\1" * len(ids)
    row.log_probs.extend([0.0] * len(ids))
    row.text += text
