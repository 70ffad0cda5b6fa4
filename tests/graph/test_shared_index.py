"""One corpus index, used by several threads and processes at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oresearch_graph.errors import ToolError
from oresearch_graph.tools.corpus import index as corpus_index
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
    with index._connected() as first:
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
    monkeypatch.setattr(corpus_index, "_WAIT_SECONDS", 0.1)
    index = CorpusIndex(tmp_path / "index.sqlite")
    maker = sqlite3.connect(index.file, isolation_level=None)
    maker.execute("BEGIN IMMEDIATE")
    with pytest.raises(ToolError, match="locked"):
        index.counts()
    maker.close()


def test_an_index_is_its_owners_alone(tmp_path: Path) -> None:
    index = CorpusIndex(tmp_path / "index.sqlite")
    with index._connected():
        for suffix in ("", "-wal", "-shm"):
            assert Path(f"{index.file}{suffix}").stat().st_mode & 0o077 == 0
