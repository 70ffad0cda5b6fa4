"""`oresearch index`, and the same before a run: a corpus' index is made or brought up to date."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from oresearch_graph.command.terminal import line, lines
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import choose_backend
from oresearch_graph.tools.corpus import IndexReport, LocalCorpus
from oresearch_graph.tools.source_rules import RuledSearch


def index_folder(folder: Path) -> int:
    """Index the folder and say what came of it; unreadable files are named and skipped."""
    console = Console(stderr=True)
    report = _update(LocalCorpus(folder), console)
    console.print(
        lines(
            f"{report.documents} documents, {report.passages} passages: {report.added} added, "
            f"{report.changed} changed, {report.removed} removed in {report.seconds:.1f} s"
        ),
        soft_wrap=True,
    )
    for path, cause in report.faults:
        console.print(lines(f"skipped {path}: {cause}"), soft_wrap=True)
    console.print(lines(f'next: oresearch run "your question" --corpus {folder}'), soft_wrap=True)
    return 0


def prepare_corpus(settings: ResearchSettings, console: Console, *, quiet: bool) -> None:
    """Bring the folder of these settings up to date and say so when that took work.

    Raises ConfigurationError for a search that cannot be.
    """
    search, _ = choose_backend(settings)
    corpus = search.backend if isinstance(search, RuledSearch) else search
    if not isinstance(corpus, LocalCorpus):
        return
    report = _update(corpus, Console(quiet=True) if quiet else console)
    if quiet or not (report.added or report.changed or report.removed):
        return
    skipped = f", {len(report.faults)} skipped" if report.faults else ""
    told = f"indexed {report.documents} documents{skipped} in {report.seconds:.1f} s"
    console.print(lines(told), soft_wrap=True)


def _update(corpus: LocalCorpus, console: Console) -> IndexReport:
    what = f"indexing {corpus.folder}"
    with console.status(line(what)) as status:
        return corpus.update(lambda done, due: status.update(line(f"{what}: {done} of {due}")))
