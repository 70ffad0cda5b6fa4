"""Folders that strangers packed: nothing freezes, nothing leaks, siblings are found."""

from __future__ import annotations

import faulthandler
import resource
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oresearch_graph.command.indexing import losses
from oresearch_graph.tools.corpus.local import IndexReport, LocalCorpus
from tests.helpers.hostile_folders import FOLDERS, GOOD, SECRET, HostileFolder

pytestmark = pytest.mark.hostile
SECONDS = 30
MEGABYTES = 600


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.md").write_text(f"# Keys\n\nThe key is {SECRET}.\n")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "good.md").write_text(GOOD)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def indexed(corpus: LocalCorpus) -> IndexReport:
    """Indexed within `SECONDS`; a thread that hangs ends with the process, and where the
    interpreter itself hangs, so does the process."""
    reports: list[IndexReport] = []
    thread = threading.Thread(target=lambda: reports.append(corpus.update()), daemon=True)
    faulthandler.dump_traceback_later(4 * SECONDS, exit=True)
    thread.start()
    thread.join(SECONDS)
    faulthandler.cancel_dump_traceback_later()
    assert reports, f"no report within {SECONDS} s"
    return reports[0]


@pytest.mark.parametrize("hostile", FOLDERS, ids=lambda hostile: hostile.name)
async def test_a_hostile_folder(hostile: HostileFolder, folder: Path, tmp_path: Path) -> None:
    hostile.build(folder)
    corpus = LocalCorpus(folder, cache=tmp_path / "cache", refresh_seconds=0)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = indexed(corpus)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak) / 1_000
    assert grown < MEGABYTES

    said = list(losses(report))
    assert report.documents == hostile.documents, said
    for expected in hostile.said:
        assert any(expected in line for line in said), said
    assert hostile.said or not report.faults, said
    assert len(said) < 50
    assert all(line.isprintable() and len(line) < 2_000 for line in said)

    began = time.monotonic()
    (found,) = await corpus.search(["kraken below the thunders"], 5)
    pages = await corpus.read([hit.url for hit in found.hits], "")
    assert found.hits[0].title == "Krakens"
    assert pages[0].text == GOOD.strip()
    assert time.monotonic() - began < SECONDS
    for kept in (tmp_path / "cache").rglob("*"):
        assert kept.stat().st_mode & 0o077 == 0 or kept.name == "corpora"
        assert kept.is_dir() or SECRET.encode() not in kept.read_bytes()
    unchanged = corpus.update()
    assert (unchanged.added, unchanged.changed, unchanged.removed) == (0, 0, 0)
    assert list(losses(unchanged)) == said


async def test_every_document_of_a_strange_name_can_be_opened(folder: Path, tmp_path: Path) -> None:
    for hostile in FOLDERS:
        if " name" in hostile.name or "Latin-1" in hostile.name:
            hostile.build(folder)
    corpus = LocalCorpus(folder, cache=tmp_path / "cache")
    await corpus.search(["basalt columns of lava"], 50)
    addresses = list(corpus.index.stamps())
    pages = await corpus.read(addresses, "")
    assert [page.url for page in pages] == addresses
    assert all(page.text or "not in the corpus" not in str(page.fault) for page in pages)
    assert sum("Basalt columns" in page.text for page in pages) >= 5
