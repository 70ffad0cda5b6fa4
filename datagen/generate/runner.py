"""The seam between the stage and the machines that make candidates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from datagen.generate.book import Book
from datagen.generate.plan import Job
from datagen.generate.teachers import recipes_mark
from datagen.run.work import Work


class Runner(Protocol):
    """Where candidates are made."""

    def run(self, jobs: Iterator[Job], book: Book, work: Work) -> None:
        """Make the candidates, as long as the book lets any begin, and enter each in it.

        Raises OresearchError for what would hit every candidate.
        """
        ...


def checkpoint_file(work: Work) -> Path:
    """Where this run's candidates are kept while they are made; another one for other recipes."""
    return work.run.work / f"candidates-{recipes_mark(work.settings)}.sqlite"
