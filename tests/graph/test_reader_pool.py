"""Pages are read in worker processes that a page can break and that a sibling does not miss."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from oresearch_graph.tools.reading.pool import ReaderPool
from oresearch_graph.tools.reading.worker import PageLimits
from tests.graph.test_extract import ARTICLE
from tests.helpers.hostile_pages import nested_forms
from tests.helpers.small_pdf import pdf

SHORT = PageLimits(article_seconds=0.3, cpu_seconds=1.0, memory_bytes=500_000_000, characters=2_000)


@pytest.fixture(scope="module")
def readers() -> Iterator[ReaderPool]:
    pool = ReaderPool(1, SHORT)
    yield pool
    pool.close()


@pytest.fixture
def fresh() -> Iterator[ReaderPool]:
    """One that has not started anything."""
    pool = ReaderPool(1, SHORT)
    yield pool
    pool.close()


async def test_a_page_that_passes_its_limits_costs_its_worker_and_no_sibling(readers: ReaderPool):
    bodies = [(nested_forms(12), "application/pdf"), (ARTICLE.encode(), "text/html"),
              (pdf("Spring tides."), "application/pdf")]  # fmt: skip
    pages = await asyncio.gather(*(readers.read(*body) for body in bodies))
    assert pages[0].fault is not None
    assert "takes more than" in pages[0].fault
    assert "twice each day" in pages[1].text
    assert pages[2].text == "Spring tides."


async def test_a_worker_that_was_killed_while_idle_is_replaced(readers: ReaderPool):
    assert (await readers.read(b"one", "text/plain")).text == "one"
    (worker,) = readers.process_ids()
    os.kill(worker, signal.SIGKILL)
    assert (await readers.read(b"two", "text/plain")).text == "two"


async def test_an_article_that_takes_too_long_is_read_the_cheap_way(readers: ReaderPool):
    paragraphs = "".join(
        f'<p><a href="/{i}">A link to page {i}</a> of a list.</p>' for i in range(3000)
    )
    page = await readers.read(f"<html><body>{paragraphs}".encode(), "text/html")
    assert page.fault is None
    assert page.text.startswith("A link to page 0 of a list.")
    assert page.text.endswith("\n[…]")
    assert len(page.text) == SHORT.characters + len("\n[…]")


def test_a_worker_has_no_key_of_the_users(monkeypatch: pytest.MonkeyPatch, fresh: ReaderPool):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    list(fresh.read_each([(b"one", "text/plain")]))
    (worker,) = fresh.process_ids()
    assert b"sk-of-the-user" not in Path(f"/proc/{worker}/environ").read_bytes()
    niceness = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[16]
    assert int(niceness) >= 10


async def test_a_slow_client_makes_room_for_another(readers: ReaderPool):
    slow = [asyncio.create_task(readers.read(nested_forms(12), "application/pdf", client="slow"))
            for _ in range(3)]  # fmt: skip
    await asyncio.sleep(0.1)
    page = await readers.read(b"brief", "text/plain", client="brief")
    assert page.text == "brief"
    assert not any(task.done() for task in slow)
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert (await readers.read(b"free again", "text/plain")).text == "free again"


async def test_where_no_process_can_be_started_pages_are_read_here_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fresh: ReaderPool
):
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with caplog.at_level(logging.WARNING):
        pages = [await fresh.read(*body) for body in (
            (ARTICLE.encode(), "text/html"), (b"plain", "text/plain"), (pdf("x"), "application/pdf")
        )]  # fmt: skip
    assert "twice each day" in pages[0].text
    assert pages[1].text == "plain"
    assert pages[2].fault is not None
    assert "is a PDF" in pages[2].fault
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "pages are read in this process, PDF is not read"
    ]


def test_documents_of_a_folder_come_in_their_order(readers: ReaderPool):
    documents = ((f"document {i}".encode(), "text/plain") for i in range(20))
    texts = [page.text for page in readers.read_each(documents)]
    assert texts == [f"document {i}" for i in range(20)]


def test_a_forked_child_reads_with_workers_of_its_own(readers: ReaderPool):
    assert [page.text for page in readers.read_each([(b"parent", "text/plain")])] == ["parent"]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            texts = [page.text for page in readers.read_each([(b"child", "text/plain")])]
            status = 0 if texts == ["child"] else 2
            readers.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [page.text for page in readers.read_each([(b"parent", "text/plain")])] == ["parent"]
