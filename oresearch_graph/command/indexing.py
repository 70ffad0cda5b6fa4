"""`oresearch index`, and the same before a run: a corpus' index is made or brought up to date."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console

from oresearch_graph.command.terminal import line, lines
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import choose_backend
from oresearch_graph.tools.corpus.folder import display_path
from oresearch_graph.tools.corpus.local import IndexReport, LocalCorpus
from oresearch_graph.tools.source_rules import RuledSearch

_NAMED: Final = 20
"""Files, or kinds, that are named before the rest is counted."""


def index_folder(folder: Path) -> int:
    """Index the folder and say what came of it; what was not read is named with its cause."""
    console = Console(stderr=True)
    corpus = LocalCorpus(folder)
    report = _update(corpus, console)
    summary = [
        f"{report.documents} documents, {report.passages} passages: {report.added} added, "
        f"{report.changed} changed, {report.removed} removed in {report.seconds:.1f} s",
        *losses(report),
        f'next: oresearch run "your question" --corpus {display_path(folder)}',
    ]
    for each in summary:
        console.print(lines(each), soft_wrap=True)
    return 0


def prepare_corpus(settings: ResearchSettings, console: Console, *, quiet: bool) -> None:
    """Bring the folder of these settings up to date, and say in a line what that did and what is
    not read.

    Raises ConfigurationError for a search that cannot be.
    """
    search, _ = choose_backend(settings)
    corpus = search.backend if isinstance(search, RuledSearch) else search
    if not isinstance(corpus, LocalCorpus):
        return
    report = _update(corpus, Console(quiet=True) if quiet else console)
    unread = sum(count for _, count in report.unread)
    counts = [
        (len(report.faults), "skipped"),
        (unread, "of kinds that are not read"),
        (len(report.guessed), "of uncertain encoding"),
    ]
    lost = ", ".join(f"{count} {what}" for count, what in counts if count)
    changed = report.added or report.changed or report.removed
    if quiet or not (changed or lost):
        return
    message = f"indexed {report.documents} documents in {report.seconds:.1f} s"
    more = f"; {lost}: oresearch index {display_path(corpus.folder)} names them" if lost else ""
    console.print(lines(message + more), soft_wrap=True)


def losses(report: IndexReport) -> Iterator[str]:
    """What the index does not hold, or may hold wrongly, a line each; the first are named."""
    yield from _first(
        [f"skipped {path}: {cause}" for path, cause in report.faults], "more files skipped"
    )
    yield from _first(
        [
            f"uncertain encoding of {path}: read as {encoding}; save it as UTF-8"
            for path, encoding in report.guessed
        ],
        "more files of uncertain encoding",
    )
    if report.unread:
        kinds = _first([f"{kind} {count}" for kind, count in report.unread], "more kinds")
        total = sum(count for _, count in report.unread)
        yield f"{total} files of kinds that are not read: {', '.join(kinds)}"


def _first(names: list[str], more: str) -> list[str]:
    rest = len(names) - _NAMED
    return [*names[:_NAMED], f"and {rest} {more}"] if rest > 0 else names


def _update(corpus: LocalCorpus, console: Console) -> IndexReport:
    what = f"indexing {display_path(corpus.folder)}"
    with console.status(line(what)) as status:
        return corpus.update(
            lambda finished, due: status.update(line(f"{what}: {finished} of {due}"))
        )
