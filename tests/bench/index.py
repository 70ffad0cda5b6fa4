"""The load figure of the index service: 1,000 rollouts at one time against one server.

    python -m tests.bench.index [ROLLOUTS]

The server is a process of its own over the embedded corpus, the rollouts are asyncio tasks in two
client processes, each through one `IndexClient` as in a worker. A rollout searches and opens
pages like a policy: eight rollouts share a question, so half of their queries are the question's
and half are their own; after two searches a page of the hits is opened. `paced`: between its
calls a rollout waits as for a model, about three seconds. `flat out`: it waits for nothing, so
that latency is the length of the queue and the rate is what server and clients can do together.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import NamedTuple

from rich.console import Console

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.backend import Page
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from rl.tools.documents import IndexClient

ROLLOUTS, GROUP, CLIENTS = 1_000, 8, 2
CALLS = 6
PAUSE = 3.0
"""Mean seconds of a model's turn in `paced`."""


class Load(NamedTuple):
    """What one client process saw."""

    seconds: list[float]
    """Of each call that was answered."""
    queries: int
    pages: int
    errors: int
    cpu: float = 0.0
    """Seconds of the process."""


@contextmanager
def server() -> Iterator[str]:
    """The address of an index server in a process of its own."""
    command = [sys.executable, "-m", "rl.tools.index_service", "python", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline() if process.stdout else ""
            yield line.split(" at ")[1].split()[0]
        finally:
            process.terminate()


def words() -> list[str]:
    """Words of the corpus to make queries of."""
    texts = [hit.snippet for query in ("module", "statement", "object", "exception", "file")
             for hit in PythonCorpus().index.search(query, 50)]  # fmt: skip
    return sorted(
        {word for text in texts for word in text.split() if word.isalpha() and len(word) > 3}
    )


class Rollout:
    """One rollout's calls, drawn from its group's and its own random numbers."""

    def __init__(self, number: int, vocabulary: list[str]) -> None:
        self._shared, self._own = Random(number // GROUP), Random(-1 - number)  # noqa: S311
        self._words = vocabulary

    async def run(self, client: IndexClient, pause: float, load: Load) -> Load:
        urls: list[str] = []
        queries = pages = errors = 0
        for turn in range(CALLS):
            if pause:
                await asyncio.sleep(self._own.uniform(0, 2 * pause))
            began = time.perf_counter()
            try:
                if turn % 3 == 2 and urls:
                    pages += len(await self._open(client, urls))
                else:
                    found = await client.search(
                        [self._query(self._shared), self._query(self._own)], 6
                    )
                    queries += len(found)
                    urls = [hit.url for hits in found for hit in hits.hits]
                load.seconds.append(time.perf_counter() - began)
            except ToolError:
                errors += 1
        return load._replace(queries=queries, pages=pages, errors=errors)

    async def _open(self, client: IndexClient, urls: list[str]) -> list[Page]:
        return await client.read([self._own.choice(urls)], "")

    def _query(self, random: Random) -> str:
        return " ".join(random.sample(self._words, random.randint(3, 7)))


def clients(address: str, numbers: range, pause: float, vocabulary: list[str]) -> Load:
    """Run these rollouts side by side in this process."""

    began = time.process_time()

    async def main() -> Load:
        client = IndexClient(address, seconds=60)
        seconds: list[float] = []
        loads = await asyncio.gather(
            *(Rollout(n, vocabulary).run(client, pause, Load(seconds, 0, 0, 0)) for n in numbers)
        )
        await client.aclose()
        return Load(
            seconds,
            queries=sum(load.queries for load in loads),
            pages=sum(load.pages for load in loads),
            errors=sum(load.errors for load in loads),
            cpu=time.process_time() - began,
        )

    return asyncio.run(main())


def measure(name: str, rollouts: int, pause: float, vocabulary: list[str]) -> str:
    """One line: rates, latencies and what the server needed."""
    with server() as address, ProcessPoolExecutor(CLIENTS) as pool:
        shares = [range(i, rollouts, CLIENTS) for i in range(CLIENTS)]
        began = time.perf_counter()
        jobs = [pool.submit(clients, address, share, pause, vocabulary) for share in shares]
        loads = [job.result() for job in jobs]
        wall = time.perf_counter() - began
        health = IndexClient(address).check()
    seconds = sorted(s for load in loads for s in load.seconds)
    p50, p95, p99 = (1_000 * seconds[int(len(seconds) * q)] for q in (0.5, 0.95, 0.99))
    queries, pages = sum(load.queries for load in loads), sum(load.pages for load in loads)
    cpu = 1_000 * sum(load.cpu for load in loads) / len(seconds)
    served = 1_000 * health.cpu_seconds / len(seconds)
    return (
        f"index service, {name}: {rollouts} rollouts, {len(seconds)} calls in {wall:.1f} s: "
        f"{queries / wall:.0f} searches/s and {pages / wall:.0f} pages/s; a call p50 {p50:.0f} ms, "
        f"p95 {p95:.0f} ms, p99 {p99:.0f} ms; errors {sum(load.errors for load in loads)}; CPU per "
        f"call {served:.1f} ms of the server and {cpu:.1f} ms of the clients; server "
        f"{health.memory_mb:.0f} MB; made {health.made} answers of {health.asked}"
    )


def main() -> None:
    rollouts = int(sys.argv[1]) if len(sys.argv) > 1 else ROLLOUTS
    PythonCorpus().update()
    vocabulary = words()
    console = Console(soft_wrap=True, highlight=False)
    console.print(measure("paced", rollouts, PAUSE, vocabulary))
    console.print(measure("flat out", rollouts, 0.0, vocabulary))


if __name__ == "__main__":
    main()
