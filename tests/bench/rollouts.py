"""What long rollouts side by side cost the worker that runs them: CPU of each, and how long its
event loop is kept from the others.

    python -m tests.bench.rollouts [ROLLOUTS]

Each has five researchers of eleven turns, that is 62 model calls and some 220,000 tokens in its
rows; their searches, of random words, are answered from the embedded Python documentation: once
with its passages, and once with long hits, as services give them that send what a page says. The
engine is a script that tokenizes what it writes: in training the work of another process, and
here a share of the figure that is told. For an idle machine.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any, Final

from rich.console import Console

from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hit, Hits
from oresearch_graph.tools.choose import Documents
from rl.rollouts.log import RolloutLog
from rl.rollouts.reward import RewardJudge
from rl.rollouts.worker import RolloutWorker, ScoredRollout, spare_collector
from rl.settings import RewardSettings, RLSettings
from rl.tools.documents import open_documents
from tests.helpers.rewards import row
from tests.helpers.rl_engine import (
    SAMPLING,
    Sampled,
    ScriptedEngine,
    ScriptedLedgerPolicy,
    small_tokens,
)
from tests.helpers.scripted import Script, research_script

SUBTASKS, TURNS, CALLS = 5, 11, 62
RESEARCH: Final = {
    "max_steps": 12, "max_tool_calls": 12, "observation_tokens": 1_200, "max_subtasks": SUBTASKS,
}  # fmt: skip
LONG: Final = 8_000
"""Characters of a long hit."""
LISTENING: Final = 0.005
"""Seconds between two looks at the loop."""
_TOPICS: Final = """
    asyncio cancel pickle protocol json encoder decimal context thread lock queue subprocess
    pipe socket ssl certificate regex datetime pathlib logging handler mock typing dataclass
    enum heapq bisect sqlite3 csv configparser argparse email http cookie xml compress zipfile
    signal mmap
"""
WORDS: Final = _TOPICS.split()
QUESTION: Final = {
    **row(),
    "raw_prompt": [{"role": "user", "content": "How does Python do asyncio and pickle?"}],
}


class LongHits:
    """A corpus whose hits have the beginning of their pages."""

    name = "long hits"

    def __init__(self, documents: Documents) -> None:
        self._search, self._reader = documents
        self._pages: dict[str, str] = {}

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        return [
            Hits(query=each.query, hits=tuple([await self._long(hit) for hit in each.hits]))
            for each in await self._search.search(queries, k)
        ]

    async def _long(self, hit: Hit) -> Hit:
        if hit.url not in self._pages:
            [page] = await self._reader.read([hit.url], "")
            self._pages[hit.url] = page.text[:LONG]
        return Hit(url=hit.url, title=hit.title, snippet=self._pages[hit.url])


class Engine(ScriptedEngine):
    """Answers after ten milliseconds."""

    spent = 0.0
    """Seconds of CPU on the event loop."""

    async def generate(self, request_id: str, **call: Any) -> Sampled:
        await asyncio.sleep(0.01)
        began = time.thread_time()
        sampled = await super().generate(request_id, **call)
        self.spent += time.thread_time() - began
        return sampled


def script() -> Script:
    """Researchers that search for other words each time."""
    subtasks = [f"python {one} {two}" for one, two in pairwise(WORDS[: 2 * SUBTASKS])][::2]
    write = research_script(subtasks, TURNS)

    def searching(thread: Thread) -> str:
        draw = random.Random(f"{thread.id} {len(thread.steps)}")  # noqa: S311
        words = draw.sample(WORDS, 4)
        text = write(thread).replace("tides Moon Sun", " ".join(words))
        return text.replace("&serp_num=3", "")

    return searching


async def _late(delays: list[float]) -> None:
    while True:
        due = time.perf_counter() + LISTENING
        await asyncio.sleep(LISTENING)
        delays.append(time.perf_counter() - due)


async def main(rollouts: int) -> None:
    """Print a line of each kind of hits."""
    settings = RLSettings(research=RESEARCH)
    search, reader = documents = await asyncio.to_thread(open_documents, settings)
    await measure(rollouts, settings, (search, reader), "hits of 3 passages")
    await measure(rollouts, settings, (LongHits(documents), reader), f"hits of {LONG:,} characters")


async def measure(rollouts: int, settings: RLSettings, documents: Documents, kind: str) -> None:
    """Print the line."""
    tokens = small_tokens()
    worker = RolloutWorker(
        settings, tokens, RolloutLog(), documents=documents,
        judge=RewardJudge(RewardSettings(), ExactFactsJudge()), policy=ScriptedLedgerPolicy,
    )  # fmt: skip
    engine, sampling = Engine(tokens, script()), replace(SAMPLING, seconds=100.0)

    async def rollout(number: int) -> ScoredRollout:
        scored = await worker.rollout({**QUESTION, "uid": str(number)}, engine, sampling)
        if scored is None or scored.info["model_calls"] != CALLS:
            raise SystemExit(f"not what is measured: {scored and scored.info}")
        return scored

    await rollout(-1)  # the index and all that is made once
    spare_collector()
    delays, engine.spent = list[float](), 0.0
    listening = asyncio.create_task(_late(delays))
    spent = time.process_time()
    scored = await asyncio.gather(*(rollout(number) for number in range(rollouts)))
    spent = time.process_time() - spent
    listening.cancel()
    p50, p99 = (sorted(delays)[int(len(delays) * share)] * 1_000 for share in (0.5, 0.99))
    sizes = [sum(len(each.ids) for each in one.rows) for one in scored]
    Console().print(
        f"{kind}: {rollouts} rollouts of {CALLS} calls, {sum(sizes) // rollouts:,} tokens: "
        f"{spent / rollouts:.2f} s of CPU each, the engine's {engine.spent / rollouts:.2f} "
        f"among it; the loop is late by {p50:.0f} ms (p50), "
        f"{p99:.0f} ms (p99)",
        soft_wrap=True,
    )


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 8))
