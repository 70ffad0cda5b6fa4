"""Whether a report mended once by its verifier's findings is truer, at 2, 20 and 100 tool calls.

    python -m tests.agreement.mending

Sources, writer and verifier are scripted, so that truth is known: see tests/helpers/mending_world.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final, NamedTuple

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.policies.models import Policies
from tests.helpers.mending_world import MendingWorld
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import ScriptedPolicy

SIZES: Final = {2: (1, 2), 20: (4, 5), 100: (10, 10)}
"""Tool calls by subtasks and calls of each."""
SEEDS: Final = range(10)


class Truth(NamedTuple):
    """Cited sentences of one report."""

    true: int
    cited: int
    revised: bool


async def run(seed: int, size: int, *, verifier: bool) -> Truth:
    """One run of the graph, and what of its report is true."""
    subtasks, calls = SIZES[size]
    world = MendingWorld(seed, subtasks, calls)
    with OpenAIServer(world.verdicts) as server:
        graph = create_research_graph(
            Policies.single(ScriptedPolicy(world.write)),
            search=world,
            settings=ResearchSettings(
                base_url=server.base_url, verifier_model="fake",
                verifier="on" if verifier else "off", max_subtasks=subtasks, max_tool_calls=calls,
                max_steps=calls + 2, max_tokens=10_000_000, max_model_calls=1_000,
            ),
        )  # fmt: skip
        trace = (await graph.ainvoke({"question": "Who kept the lamps?"}))["trace"]
    assert trace.citations is not None
    told = [world.is_true(claim.text) for claim in trace.citations.claims]
    known = [true for true in told if true is not None]
    return Truth(sum(known), len(known), any(f.name == "revised" for f in trace.failures))


async def accuracy(size: int, *, verifier: bool) -> tuple[float, float]:
    """Share of cited sentences that are true, and of reports that were mended."""
    runs = [await run(seed, size, verifier=verifier) for seed in SEEDS]
    true, cited = sum(r.true for r in runs), sum(r.cited for r in runs)
    return true / cited, sum(r.revised for r in runs) / len(runs)


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


async def main() -> None:
    say("| tool calls | without | mended once | reports mended |\n|---|---|---|---|")
    for size in SIZES:
        before, _ = await accuracy(size, verifier=False)
        after, mended = await accuracy(size, verifier=True)
        say(f"| {size} | {before:.2f} | {after:.2f} | {mended:.0%} |")


if __name__ == "__main__":
    asyncio.run(main())
