"""A thousand runs of one graph in one process: memory, threads and open files stay flat.

    python -m tests.bench.soak [RUNS]

A scripted policy over documents in a dict; one run in ten fails in a branch, one in ten is
cancelled on its way. Figures are taken after a fifth of the runs and at the end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple

from oresearch_graph import create_research_graph
from oresearch_graph.settings import ResearchSettings
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, failing, research_script

_GROWTH: Final = 1.1
"""Of memory, from a fifth of the runs to their end."""
_AT_ONCE: Final = 4


class Held(NamedTuple):
    """What the process holds."""

    megabytes: float
    threads: int
    files: int


def held() -> Held:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files = len(list(Path("/proc/self/fd").iterdir()))
    return Held(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, threading.active_count(), files)


class Quiet(ScriptedPolicy):
    """Keeps none of the threads that it was given."""

    async def continue_thread(self, *arguments: Any, **options: Any) -> Any:
        continuation = await super().continue_thread(*arguments, **options)
        self.threads.clear()
        return continuation


async def soak(runs: int) -> tuple[Held, Held]:
    """What is held after a fifth of the runs, and after all."""
    settings = ResearchSettings(effort="quick")
    sound, broken = research_script(), failing(research_script(turns=2), branch=2)
    graphs = [
        create_research_graph(Quiet(script), search=Documents(PAGES), settings=settings)
        for script in (sound, broken)
    ]

    async def one(number: int) -> None:
        run = graphs[number % 10 == 3].ainvoke({"question": f"What causes tides, {number}?"})
        task = asyncio.create_task(run)
        if number % 10 == 7:
            await asyncio.sleep(0.005)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    early = held()
    for first in range(0, runs, _AT_ONCE):
        await asyncio.gather(*map(one, range(first, first + _AT_ONCE)))
        if first <= runs // 5 < first + _AT_ONCE:
            early = held()
    return early, held()


def main(runs: str = "1000") -> int:
    logging.getLogger("oresearch_graph").setLevel(logging.CRITICAL)
    early, late = asyncio.run(soak(int(runs)))
    growth = late.megabytes / early.megabytes
    flat = growth <= _GROWTH and late.threads <= early.threads and late.files <= early.files
    print(f"after a fifth: {early}; after {runs}: {late}; memory x {growth:.3f}")  # noqa: T201
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
