"""What another run in the same process feels of eight hostile pages that are being read.

    python -m tests.bench.hostile

A run without a model over five small pages of a loopback server, alone and beside eight PDFs whose
reading never ends; medians of five, in one process. The goal: at most twice its usual time.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time

from rich.console import Console
from rich.table import Table

from oresearch_graph import create_research_graph
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import WebReader
from tests.helpers.hostile_pages import nested_forms
from tests.helpers.loopback_site import Site, running_site

RUNS, PAGES, HOSTILE = 5, 5, 8
TARGET = 2.0
"""Times its usual time. A run takes a third of a second: it wants a machine that is idle."""
QUESTION = "How do tides rise on coasts?"
TEXT = (
    "<html><body><h1>Tides</h1>" + "<p>Tides rise twice a day on most coasts, say sailors.</p>" * 30
)


def library(site: Site) -> None:
    """A SearXNG that finds the same pages for whatever is asked, and the hostile ones."""
    urls = [site.add(f"/{i}", f"{TEXT}<p>This is coast {i}.</p>") for i in range(PAGES)]
    hits = [{"url": url, "title": "Tides", "content": QUESTION} for url in urls]
    site.add("/search", json.dumps({"results": hits}), content_type="application/json")
    site.add("/hostile", nested_forms(30), content_type="application/pdf")


async def seconds_of_a_run(site: Site) -> float:
    graph = create_research_graph(
        search=f"searxng:{site.url}",
        settings=ResearchSettings(effort="quick", allow_private_addresses=True),
    )
    began = time.perf_counter()
    result = await graph.ainvoke({"question": QUESTION})
    assert result["trace"].outcome == "complete"
    return time.perf_counter() - began


async def median_of_runs(site: Site, *, hostile: int) -> float:
    """Median seconds of a run beside so many pages; they are asked for anew before each run."""
    seconds = []
    for _ in range(RUNS):
        reader = WebReader(AddressGuard(allow_private=True))
        urls = [f"{site.url}/hostile?{i}" for i in range(hostile)]
        reading = asyncio.create_task(reader.read(urls, ""))
        await asyncio.sleep(0.5 if hostile else 0.0)
        seconds.append(await seconds_of_a_run(site))
        if hostile:
            assert not reading.done(), "the hostile pages were done before the run"
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return statistics.median(seconds)


async def main() -> None:
    with running_site() as site:
        library(site)
        await seconds_of_a_run(site)  # everything is imported, a worker runs
        alone = await median_of_runs(site, hostile=0)
        beside = await median_of_runs(site, hostile=HOSTILE)
    ratio = beside / alone
    verdict = "PASS" if ratio <= TARGET else "over"
    table = Table("another run in the process", "seconds", "ratio", "goal")
    table.add_row("alone", f"{alone:.2f}", "1.00", "")
    goal = f"{TARGET:.2f}: {verdict}"
    table.add_row(f"beside {HOSTILE} hostile pages", f"{beside:.2f}", f"{ratio:.2f}", goal)
    Console().print(table)


if __name__ == "__main__":
    asyncio.run(main())
