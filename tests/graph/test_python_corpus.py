"""The embedded corpus: this Python's own documentation."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from oresearch_graph.tools.corpus.python_docs import PythonCorpus


@pytest.mark.parametrize(
    ("query", "address"),
    [
        ("how does the with statement use a context manager", "python:topic/with"),
        ("asyncio queue producer consumer", "python:module/asyncio.queues"),
        ("parse csv files with a dialect", "python:module/csv"),
        ("infinite iterators count cycle repeat", "python:module/itertools"),
        ("try except finally clauses", "python:topic/try"),
        ("MutableMapping abstract base class", "python:module/collections.abc"),
    ],
)
async def test_questions_find_their_page(
    python_corpus: PythonCorpus, query: str, address: str
) -> None:
    found = (await python_corpus.search([query], 5))[0].hits
    assert address in [hit.url for hit in found]


async def test_pages_read_by_address(python_corpus: PythonCorpus) -> None:
    topic, module, none = await python_corpus.read(
        ["python:topic/with", "python:module/asyncio.queues#Queue", "python:module/nonesuch"], ""
    )
    assert "context expression" in topic.text
    assert 'with_stmt          ::= "with"' in topic.text
    assert "def Queue.put_nowait(self, item)" in module.text
    assert none.fault


async def test_the_index_is_kept_per_python_version(
    python_corpus: PythonCorpus, tmp_path: Path
) -> None:
    assert ".".join(map(str, sys.version_info[:3])) in python_corpus.index.file.name
    documents, passages = python_corpus.index.counts()
    assert documents > 250
    assert passages > 2 * documents
    built = python_corpus.index.file.stat().st_mtime_ns
    again = PythonCorpus(cache=python_corpus.index.file.parent.parent)
    assert again.update().documents == documents
    assert python_corpus.index.file.stat().st_mtime_ns == built


def test_modules_with_side_effects_are_not_imported() -> None:
    code = (
        "import sys; from oresearch_graph.tools.corpus.python_docs import python_pages;"
        "pages = list(python_pages());"
        "bad = {'antigravity', 'this', 'turtle', 'tkinter', 'idlelib', 'test'} & set(sys.modules);"
        "assert not bad, bad; assert not [p for p in pages if '/test.' in p.address]"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
