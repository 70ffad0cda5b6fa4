"""One corpus index, used by several threads and processes at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.corpus import database
from oresearch_graph.tools.corpus.index import CorpusIndex, Document


def in_another_process(index: CorpusIndex) -> None:
    code = (
        "import sys, pathlib; from oresearch_graph.tools.corpus.index import CorpusIndex; "
        "CorpusIndex(pathlib.Path(sys.argv[1])).counts()"
    )
    subprocess.run([sys.executable, "-c", code, str(index.file)], check=True, timeout=60)


def test_a_second_connection_does_not_drop_the_locks_of_the_first(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    index.change(put=[Document("file:///a", "A", "one")])
    with index.database.connected() as first:
        assert first.execute("SELECT count(*) FROM documents").fetchone() == (1,)
        index.counts()
        in_another_process(index)  # the last to leave would take the log away
        index.change(put=[Document("file:///b", "B", "two")])
        first.commit()
        assert first.execute("SELECT count(*) FROM documents").fetchone() == (2,)
    assert index.counts() == (2, 2)


def test_a_new_index_waits_for_one_who_makes_it(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    maker = sqlite3.connect(index.file, isolation_level=None, check_same_thread=False)
    maker.execute("BEGIN IMMEDIATE")
    done = threading.Timer(0.2, maker.close)
    done.start()
    assert index.counts() == (0, 0)
    done.join()


def test_one_who_never_ends_is_a_tool_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_WAIT_SECONDS", 0.1)
    index = CorpusIndex(tmp_path / "index.sqlite")
    maker = sqlite3.connect(index.file, isolation_level=None)
    maker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ToolError, match="locked"):
        index.counts()
    maker.close()


def test_an_index_is_its_owners_alone(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    with index.database.connected():
        for suffix in ("", "-wal", "-shm"):
            assert Path(f"{index.file}{suffix}").stat().st_mode & 0o077 == 0


def test_a_connection_is_kept_and_closed_with_its_index(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    index.counts()
    with index.database.connected() as first:
        pass
    with index.database.connected() as second:
        assert second is first
        with index.database.connected() as beside:
            assert beside is not first
    del index
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")


def test_an_index_made_anew_by_another_process_is_found(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    index.change(put=[Document("file:///a", "A", "one")])
    other = CorpusIndex(index.file)
    other.database.delete()
    assert index.counts() == (0, 0)
    other.change(put=[Document("file:///b", "B", "two two")])
    assert [hit.url for hit in index.search("two", 3)] == ["file:///b"]


def test_a_connection_with_a_fault_is_not_kept(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    with pytest.raises(ToolError, match="no such table"), index.database.connected() as faulty:
        faulty.execute("SELECT * FROM absent")
    with index.database.connected() as connection:
        assert connection is not faulty


def test_threads_share_an_index_while_it_changes(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    index.change(put=[Document("file:///0", "0", "word")])

    def work(thread: int) -> list[int]:
        if thread == 0:
            for nth in range(1, 20):
                index.change(put=[Document(f"file:///{nth}", str(nth), f"word {nth}")])
        return [len(index.search("word", 50)) for _ in range(40)]

    with ThreadPoolExecutor(12) as threads:
        counts = list(threads.map(work, range(12)))
    assert all(found == sorted(found) for found in counts)
    assert index.counts() == (20, 20)


def test_no_connection_goes_through_a_fork(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    index.change(put=[Document("file:///a", "A", "one")])
    assert index.database._idle
    database._close_idle()  # what a fork begins with
    assert not index.database._idle
    assert index.counts() == (1, 1)
