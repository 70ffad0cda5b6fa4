"""Strangers' pages, whatever they hold: none freezes the process, none takes more than its limits,
and no page beside it is lost."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import monotonic, process_time, sleep

import pytest

from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.reading.pool import ReaderPool
from oresearch_graph.tools.reading.worker import PageLimits
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import FetchLimits, WebReader
from tests.graph.test_extract import ARTICLE
from tests.helpers.hostile_pages import all_bodies
from tests.helpers.hostile_servers import HostileServer, hostile_addresses

pytestmark = pytest.mark.hostile

LIMITS = PageLimits(
    article_seconds=0.5, cpu_seconds=1.0, memory_bytes=500_000_000, characters=300_000
)
LAG = 0.2
"""Seconds that the event loop may be late, whatever a page holds."""


@pytest.fixture
def readers() -> Iterator[ReaderPool]:
    pool = ReaderPool(1, LIMITS)
    yield pool
    pool.close()


@dataclass
class Watch:
    """The worst seen so far."""

    lag: float = 0.0
    """Seconds of this process' own work between two turns of the event loop. CPU time, not time on
    the wall: other processes of a busy machine are not its doing."""
    worker_bytes: int = 0


@asynccontextmanager
async def watched(readers: ReaderPool) -> AsyncIterator[Watch]:
    watch = Watch()

    async def look() -> None:
        while True:
            before = process_time()
            await asyncio.sleep(0.01)
            watch.lag = max(watch.lag, process_time() - before)
            watch.worker_bytes = max([watch.worker_bytes, *map(peak, readers.process_ids())])

    gc.collect()
    looking = asyncio.create_task(look())
    try:
        yield watch
    finally:
        looking.cancel()


def peak(process: int) -> int:
    """The most memory that a process has held, in bytes; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, _, held = status.partition("VmHWM:")
    return int(held.split()[0]) * 1024 if held else 0


async def test_no_body_freezes_its_readers_or_costs_a_sibling(readers: ReaderPool):
    bodies = await asyncio.to_thread(all_bodies)
    assert len(bodies) >= 120
    slow, lost = [], []
    async with watched(readers) as watch:
        for body in bodies:
            began = monotonic()
            page, sibling = await asyncio.gather(
                readers.read(body.content, body.media_type, body.charset, client=body.name),
                readers.read(ARTICLE.encode(), "text/html", client="sibling"),
            )
            if monotonic() - began > 30.0:
                slow.append(body.name)
            if "twice each day" not in sibling.text or len(page.text) > LIMITS.characters + 10:
                lost.append(body.name)
    assert (slow, lost) == ([], [])
    assert watch.lag < LAG
    assert 0 < watch.worker_bytes < LIMITS.memory_bytes


async def test_what_a_server_does_costs_no_page_beside_it(readers: ReaderPool):
    with HostileServer() as server:
        reader = WebReader(
            AddressGuard(allow_private=True),
            FetchLimits(seconds=2.0, connect_seconds=1.0, body_bytes=2_000_000),
            readers=readers,
        )
        crawl = CrawlPage(reader, tokens=10_000, seconds=10.0)
        addresses = hostile_addresses(server.url)
        assert len(addresses) >= 40
        async with watched(readers) as watch:
            for low in range(0, len(addresses), 8):
                asked = [*addresses[low : low + 8], f"{server.url}/good"]
                began = monotonic()
                pages = (await crawl.call(asked)).pages
                assert monotonic() - began < 15.0, asked
                assert "twice each day" in pages[-1].text, asked
                assert len(pages) == len(dict.fromkeys(asked)), asked
    assert watch.lag < LAG


SCRIPT = """
import asyncio, os, sys
from oresearch_graph.tools.reading.pool import READERS
from tests.helpers.hostile_pages import nested_forms

print("imported", flush=True)  # twice, were the main module imported again

async def main():
    page = await READERS.read(b"Tides rise.", "text/plain")
    print(page.text, READERS.process_ids()[0], flush=True)
    await READERS.read(nested_forms(30), "application/pdf")

asyncio.run(main())
"""


def running(process: int) -> bool:
    """True while the process is there and no zombie."""
    try:
        state = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return state.rpartition(")")[2].split()[0] != "Z"


def test_workers_of_a_script_without_a_guard_end_with_it(tmp_path: Path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)) or str(Path.cwd())}
    started = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, text=True, env=env, cwd=Path.cwd()
    )
    assert started.stdout is not None
    with started.stdout as output:
        assert output.readline() == "imported\n"
        text, _, worker = output.readline().strip().rpartition(" ")
        assert text == "Tides rise."
        sleep(0.5)  # the second page is under way
        assert running(int(worker))
        started.kill()
        started.wait()
        until = monotonic() + 5.0
        while running(int(worker)) and monotonic() < until:
            sleep(0.05)
        assert not running(int(worker))


def read_in_a_daemon(answers: Connection) -> None:
    pool = ReaderPool(1, LIMITS)
    answers.send([page.text for page in pool.read_each([(b"Tides rise.", "text/plain")])])
    pool.close()


def test_a_daemonic_process_reads_too():
    here, there = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=read_in_a_daemon, args=(there,), daemon=True
    )
    process.start()
    assert here.poll(30.0)
    assert here.recv() == ["Tides rise."]
    process.join(10.0)
    assert process.exitcode == 0
