"""What is written is for its owner alone, and what a person set otherwise stays so."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from oresearch_graph.command.files import view_files
from oresearch_graph.command.places import deliver, save
from oresearch_graph.served.checkpointer import create_checkpointer
from oresearch_graph.trace import TraceWriter
from oresearch_graph.trace.private_files import write_private
from tests.helpers.traces import GOOD, trace_of


@pytest.fixture(autouse=True)
def _everyone_may_read() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


def everything(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


def open_to_others(folder: Path) -> list[str]:
    """What anybody but the owner may read, enter or write."""
    return [str(path) for path in folder.rglob("*") if path.stat().st_mode & 0o077]


def test_report_trace_and_page_are_the_owners(tmp_path: Path):
    trace = tmp_path / "traces" / "trace.jsonl"
    assert save(trace, trace_of(GOOD, id="a")) == []
    reports = [tmp_path / "out" / "tides" / f"report{suffix}" for suffix in (".md", ".html")]
    assert deliver(reports, {"trace": trace_of(GOOD), "report": "It.", "citations": None}) == []
    assert view_files([trace], tmp_path / "pages" / "page.html", []) == 0
    assert {"report.md", "trace.jsonl", "page.html", "tides", "out"} <= everything(tmp_path)
    assert open_to_others(tmp_path) == []


def test_a_line_cut_short_is_moved_to_the_owners_file(tmp_path: Path):
    path = tmp_path / "trace.jsonl"
    path.write_text('{"cut')
    path.chmod(0o644)
    TraceWriter(path).close()
    assert path.with_name("trace.jsonl.cut").read_text() == '{"cut\n'
    assert open_to_others(tmp_path) == [str(path)]


def test_a_trace_file_keeps_its_mode_and_a_report_does_not(tmp_path: Path):
    report, trace = tmp_path / "out" / "report.md", tmp_path / "out" / "trace.jsonl"
    report.parent.mkdir(mode=0o755)
    for path in (report, trace):
        path.touch()
        path.chmod(0o640)
    for name, text in (("a", "Short."), ("b", "It.")):
        of_run = trace_of(GOOD, id=name)
        assert save(trace, of_run) == []
        assert deliver([report], {"trace": of_run, "report": text, "citations": None}) == []
    assert report.read_text() == "It."
    modes = [path.stat().st_mode & 0o777 for path in (report, trace, report.parent)]
    assert modes == [0o600, 0o640, 0o755]


def test_a_report_that_does_not_fit_leaves_the_old_one(tmp_path: Path):
    report = tmp_path / "report.md"
    write_private(report, "The old one.")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            write_private(report, "x" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert report.read_text() == "The old one."
    assert everything(tmp_path) == {"report.md"}


def test_a_link_to_a_report_stays_one(tmp_path: Path):
    (tmp_path / "new").mkdir()
    link = tmp_path / "link.md"
    link.symlink_to("new/report.md")
    for text in ("One.", "Two."):
        write_private(link, text)
        assert (link.is_symlink(), (tmp_path / "new" / "report.md").read_text()) == (True, text)


def test_a_file_in_a_folder_of_somebody_else_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    report = tmp_path / "report.md"
    report.write_text("The old one.")
    before = report.stat().st_ino
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    write_private(report, "It.")
    assert (report.read_text(), report.stat().st_ino) == ("It.", before)


async def test_studios_checkpoints_are_the_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path / "home" / "studio"))
    async with create_checkpointer() as saver:
        await saver.setup()
        kept = everything(tmp_path)
        assert {"studio.sqlite", "studio.sqlite-wal", "studio.sqlite-shm"} <= kept
        assert open_to_others(tmp_path) == []
