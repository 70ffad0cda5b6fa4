"""The time line of a run: a row for the frame and each branch, a bar for each thing that ran."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from oresearch_graph.trace.record import Span, Trace, known_sum
from oresearch_graph.view.markup import Html, joined, tag

_WIDE: Final = 1000
_THIN: Final = 3
"""Width of the shortest bar, of 1000: an instant is still seen."""
MOST: Final = 2000
"""Bars of one row that are drawn."""


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
    shown = [_row("Plan, report", rows[None], first, length)] if rows[None] else []
    shown += [_row(f"Subtask {number}", rows[number], first, length) for number in numbers]
    axis = tag("p", tag("span", "0 s"), tag("span", f"{length:.3g} s"), class_="axis small")
    return tag("div", *shown, axis, _legend(trace), class_="time-line")


def _row(label: str, spans: Sequence[Span], first: float, length: float) -> Html:
    bars = (_bar(span, first, length) for span in sorted(spans, key=lambda s: -s.seconds)[:MOST])
    return tag(
        "div",
        tag("span", label, class_="small"),
        tag("svg", *bars, view_box=f"0 0 {_WIDE} 16", preserveAspectRatio="none", role="img",
            aria_label=_told(label, spans, first)),
        class_="row",
    )  # fmt: skip


def _bar(span: Span, first: float, length: float) -> Html:
    scale = _WIDE / length if length > 0 else 0.0
    width = min(_WIDE, max(_THIN, span.seconds * scale))
    left = max(0.0, min(_WIDE - width, (span.start - first) * scale))
    title = f"{span.name}: {span.seconds:.3f} s from {span.start - first:.3f} s"
    return Html(
        f'<rect x="{left:.1f}" y="1" width="{width:.1f}" height="14" class="{_colour(span.name)}">'
        f"{tag('title', title)}</rect>"
    )


def _colour(name: str) -> str:
    return {"model": "bar-model", "web_search": "bar-search", "crawl_page": "bar-read"}.get(
        name, "bar-other"
    )


def _told(label: str, spans: Sequence[Span], first: float) -> str:
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
