"""The embedded default corpus: this Python's own documentation, indexed at first use and kept per
Python version. See `python_pages` for the address scheme."""

from __future__ import annotations

import hashlib
import platform
import threading
from pathlib import Path

from oresearch_graph.tools.corpus.index import CorpusIndex, Document, cache_folder
from oresearch_graph.tools.corpus.local import IndexedCorpus

_EDITION = 1
"""Of the pages' making: an index of another edition is not used."""


class PythonCorpus(IndexedCorpus):
    """The language reference and the standard library's docstrings."""

    def __init__(self, *, cache: Path | None = None) -> None:
        name = f"python-{platform.python_version()}-{_EDITION}.sqlite"
        super().__init__("python", CorpusIndex((cache or cache_folder()) / "corpora" / name))
        self._ready = False
        self._lock = threading.Lock()

    def refresh(self) -> None:
        with self._lock:
            if not self._ready and not self.index.counts()[0]:
                self._build()
            self._ready = True

    def _build(self) -> None:
        """In one transaction: an index that holds anything holds everything."""
        from oresearch_graph.tools.corpus.python_pages import python_pages

        self.index.change(
            put=[
                Document(
                    address=page.address,
                    title=page.title,
                    text=page.text,
                    digest=hashlib.sha256(page.text.encode()).hexdigest(),
                )
                for page in python_pages()
            ]
        )
