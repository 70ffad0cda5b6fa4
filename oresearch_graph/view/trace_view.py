"""One trace as a section of a page: the component that `oresearch view` and a review show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from oresearch_graph.evidence.delivery import Delivered, delivered_answer
from oresearch_graph.trace.answer import ParsedAnswer, parsed_answers
from oresearch_graph.trace.grammar import violations
from oresearch_graph.trace.record import CitationReport, Trace
from oresearch_graph.trace.references import seen_sources
from oresearch_graph.view import overview
from oresearch_graph.view.markup import Html, joined, tag
from oresearch_graph.view.overview import Panel, time_line
from oresearch_graph.view.report import ReportView, language_of
from oresearch_graph.view.sources import SourceShelf
from oresearch_graph.view.steps import Remark, branches, plan


def trace_section(
    trace: Trace, key: str, *, remarks: Sequence[Remark] = (), panels: Sequence[Panel] = ()
) -> Html:
    """Everything about a trace. `key` begins every id in it: unlike any other's of the page.

    `remarks` are findings beyond the trace's own violations.
    """
    answers = parsed_answers(trace)
    findings = [*_own_remarks(trace, answers), *remarks]
    answer = citations = delivered = None
    if trace.answer_at is not None:
        answer = answers[trace.answer_at]
        citations, delivered = delivered_answer(answer, _with_sources(trace))
        findings += _differing(trace, citations)
    bare = trace.sources is None
    return tag(
        "section",
        tag("h2", trace.question or "(no question)", id=f"{key}-question", dir="auto"),
        overview.facts(trace, None if bare else citations),
        overview.missing(trace),
        *(overview.panel(each) for each in panels),
        _report(trace, key, answer, citations, delivered),
        _part(key, "findings", f"Findings ({len(findings)})", overview.findings(findings, key)),
        overview.mended(trace),
        _part(key, "plan", "Plan", plan(trace)),
        _part(key, "time", "Time line", time_line(trace)),
        _part(key, "steps", "Steps", branches(trace, key, findings)),
        _part(key, "usage", "Usage", overview.usage(trace)),
        class_="trace", id=key, aria_labelledby=f"{key}-question",
    )  # fmt: skip


def _own_remarks(trace: Trace, answers: Mapping[int, ParsedAnswer]) -> list[Remark]:
    """The trace's own violations as remarks."""
    return [
        Remark("violation", v.code, v.message, v.step, v.start, v.end, declared=v.declared)
        for v in violations(trace, answers)
    ]


def _with_sources(trace: Trace) -> Trace:
    """A trace of bare text is given the addresses that its observations show."""
    if trace.sources is not None:
        return trace
    return trace.model_copy(update={"sources": tuple(seen_sources(trace.steps))})


def _differing(trace: Trace, citations: CitationReport) -> list[Remark]:
    if trace.citations is None or trace.sources is None or trace.citations == citations:
        return []
    return [Remark("view", "other_check", "the trace's stored citation check differs from what "
                   "its text and sources give; the latter is shown")]  # fmt: skip


def _report(
    trace: Trace, key: str, answer: ParsedAnswer | None, citations: CitationReport | None,
    delivered: Delivered | None,
) -> Html:  # fmt: skip
    """The report beside the evidence for it; without a report the sources alone."""
    whole = _with_sources(trace)
    claims = citations.claims if citations and trace.sources is not None else ()
    references = delivered.references if delivered else ()
    shelf = SourceShelf(key, whole.sources or (), references, claims)
    body: Html = tag("p", "There is no report.")
    if answer is not None and delivered is not None:
        body = ReportView(key, answer, delivered, claims).html()
    notice = None
    if trace.sources is None:
        notice = tag("p", "The trace came from bare text: nothing is kept that its citations could "
                     "be checked against.", class_="notice")  # fmt: skip
    return joined(
        tag("div",
            tag("div", tag("h3", "Report", id=f"{key}-report"), notice,
                tag("div", body, class_="report", dir="auto", lang=language_of(trace))),
            _evidence(key, shelf) if claims else None,
            class_="beside"),
        _part(key, "sources", "Sources", shelf.html()),
    )  # fmt: skip


def _evidence(key: str, shelf: SourceShelf) -> Html:
    return tag(
        "aside",
        tag("h3", "Evidence", id=f"{key}-evidence"),
        tag("p", "Point at a citation, or choose it, to see the passage it rests on.",
            class_="hint small"),
        tag("button", "Close", type="button", class_="close", hidden=True),
        tag("div", shelf.cards(), aria_live="polite", class_="cards"),
        class_="evidence", aria_labelledby=f"{key}-evidence",
    )  # fmt: skip


def _part(key: str, name: str, title: str, content: Html) -> Html:
    label = f"{key}-{name}"
    return tag("section", tag("h3", title, id=label), content, class_="part",
               aria_labelledby=label)  # fmt: skip
