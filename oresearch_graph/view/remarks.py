"""What is said of a trace from outside it: findings with their places, and a judge's words."""

from __future__ import annotations

from typing import NamedTuple


class Remark(NamedTuple):
    """A finding of anybody's, with the place that shows it."""

    by: str
    """Who found it: `violation`, a filter's or a judge's name."""
    label: str
    """The code or the rule."""
    message: str
    step: int | None = None
    """Index into `Trace.steps`."""
    start: int | None = None
    """`steps[step].text[start:end]` is the offending span."""
    end: int | None = None
    declared: bool = False


class Line(NamedTuple):
    """A line of a panel."""

    label: str
    value: str
    text: str = ""


class Panel(NamedTuple):
    """A table beside the trace: a judge's scores, say."""

    title: str
    lines: tuple[Line, ...]
