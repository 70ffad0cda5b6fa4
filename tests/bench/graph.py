"""What the graph costs beside the model: makespan over critical path, and CPU per model call.

    python -m tests.bench.graph

K = 8 branches of 5 turns over a scripted policy and documents that each take 200 ms. The critical
path is the longest chain of waits: planner, five turns of model and tool with the answer's turn,
summarizer. Each figure is the median of its runs.
"""

from __future__ import annotations

import asyncio
import gc
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from rich.console import Console
from rich.table import Table

from oresearch_graph import create_research_graph
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

BRANCHES, TURNS, LATENCY = 8, 5, 0.2
WAITS = 1 + (TURNS + 1) + TURNS + 1
"""Planner; model calls of a branch with the answer; its tool calls; summarizer."""
RUNS = 5


@asynccontextmanager
async def checkpointer(kind: str, folder: Path) -> AsyncIterator[BaseCheckpointSaver[str] | None]:
    """No saver, or SQLite as the Studio configuration sets it up."""
    if kind == "none":
        yield None
        return
    async with AsyncSqliteSaver.from_conn_string(str(folder / f"{time.time()}.sqlite")) as saver:
        await saver.conn.execute("PRAGMA journal_mode=WAL")
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver


async def run_once(saver: BaseCheckpointSaver[str] | None, latency: float) -> tuple[float, float]:
    """Seconds on the wall and seconds of CPU of one run."""
    subtasks = [f"tides {number}" for number in range(BRANCHES)]
    policy = ScriptedPolicy(research_script(subtasks, TURNS), latency)
    graph = create_research_graph(
        policy,
        search=Documents(PAGES, latency),
        settings=ResearchSettings(max_subtasks=BRANCHES),
        checkpointer=saver,
    )
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    result = await graph.ainvoke(
        {"question": "What causes tides?"}, {"configurable": {"thread_id": "bench"}}
    )
    spent = time.perf_counter() - wall, time.process_time() - cpu
    trace: Trace = result["trace"]
    calls = sum(usage.calls for usage in trace.usage)
    if trace.outcome != "complete" or calls != BRANCHES * (TURNS + 1) + 2:
        raise SystemExit(f"the run was not what is measured: {trace.outcome}, {calls} calls")
    return spent[0], spent[1] / calls


async def main() -> None:
    """Print the table."""
    table = Table(title=f"graph: {BRANCHES} branches × {TURNS} turns, {LATENCY * 1000:.0f} ms")
    for heading in ("checkpointer", "makespan ÷ critical path", "CPU per model call"):
        table.add_column(heading, justify="right")
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("none", "sqlite"):
            async with checkpointer(kind, Path(folder)) as saver:
                await run_once(None, 0.0)
            figures = []
            for _ in range(RUNS):
                async with checkpointer(kind, Path(folder)) as saver:
                    figures.append(await run_once(saver, LATENCY))
            ratio = statistics.median(wall for wall, _ in figures) / (WAITS * LATENCY)
            cpu = statistics.median(cpu for _, cpu in figures) * 1000
            table.add_row(kind, f"{ratio:.3f}", f"{cpu:.2f} ms")
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
