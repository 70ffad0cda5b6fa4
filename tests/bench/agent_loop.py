"""What our agent loop costs beside verl's stock one: CPU per model call.

    python -m tests.bench.agent_loop

Both play one script (tests/helpers/stock_loop.py) with an engine and tools that answer at once:
equal prompts, equal calls of model and tools, equal rows. Ours includes what the stock loop leaves
to others: the graph, the Trace, verification of citations and the reward. Each figure is the median
of its rounds, which take turns; process time, so other processes hardly count.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final

from rich.console import Console
from rich.table import Table
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput

from rl.rollouts.worker import spare_collector
from tests.helpers.stock_loop import Match, match

SUBTASKS, TURNS = 2, 4
CALLS: Final = 2 + SUBTASKS * (TURNS + 1)
"""Model calls of a rollout: planner, researchers with their answers, summarizer."""
ROLLOUTS: Final = {1: 8, 32: 32, 256: 256}
"""Rollouts of a round by how many run at one time."""
ROUNDS: Final = {1: 5, 32: 3, 256: 2}
TARGET: Final = 3.0
"""Milliseconds of CPU per model call that ours may take more."""

Rollout = Callable[[], Awaitable[list[AgentLoopOutput]]]


async def cpu_per_call(played: Match, rollout: Rollout, at_once: int) -> float:
    """Milliseconds of CPU per model call in one round."""
    gc.collect()
    played.engine.calls, began = 0, time.process_time()
    rows: list[list[AgentLoopOutput]] = []
    for _ in range(ROLLOUTS[at_once] // at_once):
        rows += await asyncio.gather(*(rollout() for _ in range(at_once)))
    spent = time.process_time() - began
    if played.engine.calls != ROLLOUTS[at_once] * CALLS or not all(rows):
        raise SystemExit(f"not what is measured: {played.engine.calls} model calls")
    return 1_000 * spent / played.engine.calls


async def main() -> None:
    """Print the table."""
    played = await match("parallel", SUBTASKS, TURNS)
    if [row.response_ids for row in await played.ours()] != [
        row.response_ids for row in await played.stock()
    ]:
        raise SystemExit("the loops did not write the same rows: tests/rl/test_stock_loop.py")
    spare_collector()  # as our worker does; of the process, so the stock loop gains too
    table = Table(title=f"agent loop: CPU per model call, {CALLS} calls in a rollout")
    for heading in ("at once", "ours", "verl's ToolAgentLoop", "more", f"≤ {TARGET:g} ms"):
        table.add_column(heading, justify="right")
    for at_once in ROLLOUTS:
        rounds = [
            (
                await cpu_per_call(played, played.ours, at_once),
                await cpu_per_call(played, played.stock, at_once),
            )
            for _ in range(ROUNDS[at_once])
        ]
        ours, stock = (statistics.median(figures) for figures in zip(*rounds, strict=True))
        verdict = "PASS" if ours - stock <= TARGET else "over"
        table.add_row(
            str(at_once), f"{ours:.2f} ms", f"{stock:.2f} ms", f"{ours - stock:+.2f} ms", verdict
        )
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
