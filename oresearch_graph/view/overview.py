"""What a reader wants first: the outcome and what failed, the findings, who spent what, and when
each thing ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.citations import in_words
from oresearch_graph.trace.record import (
    HARMLESS,
    CitationReport,
    Failure,
    Span,
    Trace,
    Usage,
    known_sum,
)
from oresearch_graph.view.markup import Html, joined, tag
from oresearch_graph.view.report_record import RunCost
from oresearch_graph.view.steps import Remark, step_id

_WIDE: Final = 1000
_THIN: Final = 3
"""Width of the shortest bar, of 1000: an instant is still seen."""
MOST: Final = 2000
"""Bars of one row that are drawn."""


class Line(NamedTuple):
    """A line of a panel."""

    label: str
    value: str
    text: str = ""


class Panel(NamedTuple):
    """A table beside the trace: a judge's scores, say."""

    title: str
    lines: tuple[Line, ...]


def time_line(trace: Trace) -> Html:
    """All rows on one scale; without any span a sentence that says so."""
    if not trace.spans:
        return tag("p", "The trace holds no times.", class_="small")
    first = min(span.start for span in trace.spans)
    length = max(span.start + span.seconds for span in trace.spans) - first
    rows: dict[int | None, list[Span]] = {None: []}
    for span in trace.spans:
        rows.setdefault(span.branch, []).append(span)
    numbers = sorted(number for number in rows if number is not None)
    bars = [_row("Plan, report", rows[None], first, length)] if rows[None] else []
    bars += [_row(f"Subtask {number}", rows[number], first, length) for number in numbers]
    axis = tag("p", tag("span", "0 s"), tag("span", f"{length:.3g} s"), class_="axis small")
    return tag("div", *bars, axis, _legend(trace), class_="time-line")


def _row(label: str, spans: Sequence[Span], first: float, length: float) -> Html:
    bars = (_bar(span, first, length) for span in sorted(spans, key=lambda s: -s.seconds)[:MOST])
    return tag(
        "div",
        tag("span", label, class_="small"),
        tag("svg", *bars, view_box=f"0 0 {_WIDE} 16", preserveAspectRatio="none", role="img",
            aria_label=_row_in_words(label, spans, first)),
        class_="row",
    )  # fmt: skip


def _bar(span: Span, first: float, length: float) -> Html:
    scale = _WIDE / length if length > 0 else 0.0
    width = min(_WIDE, max(_THIN, span.seconds * scale))
    offset = max(0.0, min(_WIDE - width, (span.start - first) * scale))
    title = f"{span.name}: {span.seconds:.3f} s from {span.start - first:.3f} s"
    return Html(
        f'<rect x="{offset:.1f}" y="1" width="{width:.1f}" height="14" '
        f'class="{_colour(span.name)}">'
        f"{tag('title', title)}</rect>"
    )


def _colour(name: str) -> str:
    return {"model": "bar-model", "web_search": "bar-search", "crawl_page": "bar-read"}.get(
        name, "bar-other"
    )


def _row_in_words(label: str, spans: Sequence[Span], first: float) -> str:
    """The row in words."""
    counts = Counter(span.name for span in spans)
    start = min(span.start for span in spans) - first
    end = max(span.start + span.seconds for span in spans) - first
    parts = [
        f"{count} × {name}, {known_sum(s.seconds for s in spans if s.name == name) or 0.0:.3f} s"
        for name, count in counts.items()
    ]
    return f"{label}: from {start:.3f} s to {end:.3f} s; {'; '.join(parts[:20])}"


def _legend(trace: Trace) -> Html:
    names = dict.fromkeys(_colour(span.name) for span in trace.spans)
    words = {"bar-model": "model", "bar-search": "search", "bar-read": "page", "bar-other": "other"}
    return tag(
        "p", *(joined(tag("span", class_=f"swatch {name}", aria_hidden="true"), f"{words[name]}  ")
               for name in names), class_="small legend",
    )  # fmt: skip


def facts(trace: Trace, citations: CitationReport | None) -> Html:
    """Outcome and figures, on one line that breaks where it must."""
    items = [
        tag("span", trace.outcome, class_=f"outcome {trace.outcome}"),
        _fact("cost", RunCost.of(trace).in_words()),
        _fact("cited sentences", in_words(citations.counts) if citations else None),
        _fact("coverage", None if citations is None else _percent(citations.coverage)),
        _fact("language", trace.language),
        _fact("execution", trace.execution),
        _fact("begun", trace.created),
        _fact("protocol", trace.protocol.fingerprint),
        _fact("changed by", ", ".join(trace.changed_by) or None),
        _fact("trace", trace.id or None),
    ]
    return joined(
        tag("p", *items, class_="facts"),
        tag("p", "No language model wrote this: the extractive policy did.", class_="notice")
        if trace.extractive else None,
    )  # fmt: skip


def missing(trace: Trace) -> Html | None:
    """The failures that left something out; None without any."""
    return _failures("What is missing", [f for f in trace.failures if f.name not in HARMLESS])


def mended(trace: Trace) -> Html | None:
    """The failures after which nothing is missing; None without any."""
    return _failures("What was set right", [f for f in trace.failures if f.name in HARMLESS])


def _failures(title: str, failures: Sequence[Failure]) -> Html | None:
    if not failures:
        return None
    items = tag("ul", *map(_failure, failures), class_="failures")
    return tag("section", tag("h3", title), items, class_="part")


def _failure(failure: Failure) -> Html:
    place = "" if failure.branch is None else f", subtask {failure.branch}"
    rejected = failure.rejected
    return tag(
        "li",
        tag("strong", failure.name), f" ({failure.fault}{place}): ",
        tag("span", failure.message, dir="auto"),
        tag("details", tag("summary", "The text that was refused"),
            tag("div", rejected[:20_000], class_="foreign", dir="auto")) if rejected else None,
    )  # fmt: skip


def findings(remarks: Sequence[Remark], key: str) -> Html:
    """Everything found, with a way to its step."""
    if not remarks:
        return tag("p", "None: the trace is well-formed.")
    return tag("ul", *(_remark(remark, key) for remark in remarks), class_="findings")


def _remark(remark: Remark, key: str) -> Html:
    place = None
    if remark.step is not None:
        place = tag("a", f"step {remark.step}", href=f"#{step_id(key, remark.step)}", class_="jump")
    return tag(
        "li", tag("span", remark.by, class_="by"), " ", tag("strong", remark.label), ": ",
        tag("span", remark.message, dir="auto"), " ", place,
        tag("span", " declared", class_="small") if remark.declared else None,
    )  # fmt: skip


def panel(content: Panel) -> Html:
    """A table of labels, values and words."""
    rows = (
        tag("tr", tag("th", line.label, scope="row", dir="auto"), tag("td", line.value),
            tag("td", line.text, dir="auto"))
        for line in content.lines
    )  # fmt: skip
    return joined(
        tag("h4", content.title),
        _scrolling(tag("table", tag("tbody", *rows)), content.title),
    )


def usage(trace: Trace) -> Html:
    """Calls, tokens and cost by role, model and subtask; unknown is a dash."""
    if not trace.usage:
        return tag("p", "The trace holds no usage.", class_="small")
    head = ("role", "subtask", "model", "calls", "tool calls", "tokens in", "cached", "tokens out",
            "cost, $")  # fmt: skip
    rows = [_usage_row(u.role, _figure(u.branch), u.model, [u]) for u in trace.usage]
    if len(trace.usage) > 1:
        rows.append(_usage_row("all", "", "", trace.usage))
    table = tag("table", tag("thead", tag("tr", *(tag("th", h, scope="col") for h in head))),
                tag("tbody", *rows))  # fmt: skip
    return _scrolling(table, "Usage by role")


def _usage_row(role: str, branch: str, model: str, usages: Iterable[Usage]) -> Html:
    usages = list(usages)
    cost = known_sum(u.cost for u in usages)
    numbers = (
        sum(u.calls for u in usages),
        sum(u.tool_calls for u in usages),
        known_sum(u.prompt_tokens for u in usages),
        known_sum(u.cached_tokens for u in usages),
        known_sum(u.completion_tokens for u in usages),
    )
    cells = [_figure(number) for number in numbers] + ["–" if cost is None else f"{cost:.4f}"]
    return tag("tr", tag("th", role, scope="row"), tag("td", branch), tag("td", model),
               *(tag("td", cell, class_="number") for cell in cells))  # fmt: skip


def _scrolling(table: Html, label: str) -> Html:
    return tag("div", table, class_="wide", tabindex="0", role="region", aria_label=label)


def _figure(number: float | None) -> str:
    return "–" if number is None else f"{number:,.0f}"


def _fact(name: str, value: str | None) -> Html | None:
    return None if value is None else tag("span", tag("span", name, class_="small"), " ", value)


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{share:.0%}"
