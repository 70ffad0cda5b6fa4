"""A run's report as a file, by its suffix: Markdown, a page of HTML, that page as PDF, or JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.evidence.delivery import delivered_answer
from oresearch_graph.graph.cited_report import final_trace
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.private_files import write_private
from oresearch_graph.trace.record import CitationReport, Trace
from oresearch_graph.view.page import report_page
from oresearch_graph.view.paper import paper
from oresearch_graph.view.report_record import ReportRecord

_TAGS: Final = 20_000
"""Of a page that is laid out for paper (ten thousand list items: half a minute of CPU); one of more
is printed as it is written."""
_LINES: Final = 10_000
_PRINTED: Final = 500_000
"""Lines and characters of a report that are printed."""


class _Run(NamedTuple):
    """A run that has ended."""

    trace: Trace
    report: str | None
    citations: CitationReport | None

    @property
    def text(self) -> str:
        """The report. Raises ConfigurationError without one."""
        if self.report is None:
            raise ConfigurationError(f"there is no report: {self.trace.why_no_report}")
        return self.report


def _pdf(run: _Run) -> bytes:
    text = "\n".join(run.text[:_PRINTED].split("\n")[:_LINES])
    left_out = len(run.text) - len(text)
    if left_out:
        text = f"{text}\n\n… {left_out:,} more characters are in the trace file."
    page = report_page(text, run.trace)
    return paper(report_page(text, run.trace, plain=True) if page.count("<") > _TAGS else page)


_FORMATS: Final[Mapping[str, Callable[[_Run], str | bytes]]] = {
    ".md": lambda run: run.text,
    ".html": lambda run: report_page(run.text, run.trace),
    ".pdf": _pdf,
    ".json": lambda run: ReportRecord.of(*run).json_text(),
}
SUFFIXES: Final = tuple(_FORMATS)
WITHOUT_REPORT: Final = frozenset((".json",))
"""Formats that tell of a run without a report, too."""


def require_format(path: Path) -> None:
    """Raise ConfigurationError for a suffix that is none of these."""
    if path.suffix.lower() not in _FORMATS:
        raise ConfigurationError(
            f"{path}: a report is written as {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}: end the "
            "name in one of them"
        )


def write_report(result: Trace | Mapping[str, Any], path: str | Path) -> None:
    """Write what the graph returned, or a trace's report, in the format that the path's suffix
    names: `.md`, `.html`, `.pdf` (the extra `pdf`) or `.json`. Only its owner may read the file.

    Raises ConfigurationError for another suffix, a missing extra, a run that has not ended or one
    without a report (which JSON tells), OSError for a path that cannot be written.
    """
    path = Path(path)
    require_format(path)
    write_private(path, _FORMATS[path.suffix.lower()](_run(result)))


def _run(result: Trace | Mapping[str, Any]) -> _Run:
    if not isinstance(result, Trace):
        trace = final_trace(result, "resume it with Command(resume=…), then write its result")
        return _Run(trace, result["report"], result["citations"])
    citations, report = citations_of(result), None
    if result.answer is not None and result.outcome != "failed":
        citations, delivered = delivered_answer(parse_answer(result.answer.text), result)
        report = delivered.report
    return _Run(result, report, citations)
