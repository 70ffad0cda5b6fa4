"""`oresearch index`: a folder's index, made or brought up to date."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.text import Text

from oresearch_graph.tools.corpus import LocalCorpus


def index_folder(folder: Path) -> int:
    """Index the folder and say what came of it; unreadable files are named and skipped."""
    console = Console(stderr=True)
    corpus = LocalCorpus(folder)
    corpus.check()
    with console.status(Text(f"indexing {folder}")):
        report = corpus.update()
    console.print(
        Text(
            f"{report.documents} documents, {report.passages} passages: {report.added} added, "
            f"{report.changed} changed, {report.removed} removed in {report.seconds:.1f} s"
        )
    )
    for fault in report.faults:
        console.print(Text(f"skipped {fault[0]}: {fault[1]}"))
    console.print(Text(f'next: oresearch run "your question" --corpus {folder}'))
    return 0
