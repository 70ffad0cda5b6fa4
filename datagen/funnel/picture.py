"""The funnel as a picture: a bar for each stage, and beside it why the others went."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from datagen.funnel.count import Level, count_funnel
from datagen.funnel.table import cost_line
from datagen.run.work import Work
from oresearch_graph.errors import ConfigurationError

_REASONS: Final = 4
_BAR, _GREY, _LINE = "#3b6ea5", "#555555", 0.8


def draw_funnel(work: Work, out: Path) -> Path:
    """Write the picture as PNG. Raises ConfigurationError when there is nothing to draw."""
    funnel = count_funnel(work)
    levels = [level for level in funnel.levels if level.remaining is not None]
    if not levels:
        raise ConfigurationError(f"{work.run.root}: no stage has run: begin with seeds")
    figure = Figure(figsize=(10, 1.1 + _LINE * len(levels)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    most = max(level.remaining or 0 for level in levels) or 1
    for place, level in enumerate(levels):
        axes.barh(place, level.remaining or 0, color=_BAR, height=0.6)
        axes.text(most * 1.02, place, _beside(level), va="center", fontsize=8.5, color=_GREY)
    axes.set_yticks(range(len(levels)), [level.name for level in levels])
    axes.invert_yaxis()
    axes.set_xlim(0, most * 2.2)
    axes.xaxis.set_visible(False)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(f"{work.run.root.name}: from seeds to rows", loc="left", fontsize=11)
    figure.supxlabel(cost_line(funnel), x=0.01, ha="left", fontsize=8.5, color=_GREY)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=150, format="png")
    except OSError as error:
        raise ConfigurationError(f"{out}: cannot be written: {error.strerror}") from error
    return out


def _beside(level: Level) -> str:
    """The count, then the reasons in a second line."""
    reasons = [f"{reason} {count:,}" for reason, count in list(level.lost.items())[:_REASONS]]
    more = len(level.lost) - len(reasons)
    text = ", ".join([*reasons, *([f"{more} more"] if more > 0 else [])])
    return f"{level.remaining:,}" + (f"\n{textwrap.fill(text, 60)}" if text else "")
