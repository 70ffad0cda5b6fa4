"""The funnel for people: a table in the terminal, and a picture with a bar for each stage and
beside it why the others went."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Final

from rich.table import Table
from rich.text import Text

from datagen.funnel.count import Funnel, Level, count_funnel
from datagen.run.folder import Work
from oresearch_graph.errors import ConfigurationError

_TABLE_REASONS: Final = 6
"""Reasons shown at one stage."""
_PICTURE_REASONS: Final = 4
_BAR, _GREY, _LINE = "#3b6ea5", "#555555", 0.8


def funnel_table(funnel: Funnel) -> Table:
    """How many are left at each stage, as a share of what came in, and why the others went."""
    table = Table("stage", "left", "of those before", "why the others went", title="Funnel")
    before: int | None = None
    for level in funnel.levels:
        grows = level.name == "candidates"
        share = (
            ""
            if grows or not before or level.remaining is None
            else f"{level.remaining / before:.0%}"
        )
        remaining = "–" if level.remaining is None else f"{level.remaining:,}"
        table.add_row(level.name, remaining, share, Text(_reasons_text(level.lost, _TABLE_REASONS)))
        before = level.remaining
    table.caption = cost_line(funnel)
    return table


def _reasons_text(lost: dict[str, int], most: int) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in list(lost.items())[:most]]
    more = len(lost) - len(reasons)
    return ", ".join([*reasons, *([f"{more} more"] if more > 0 else [])])


def cost_line(funnel: Funnel) -> str:
    """What an accepted trace cost, as far as it is known."""
    if not funnel.accepted:
        return "no trace is accepted yet"
    cost, tokens = funnel.cost_per_accepted, funnel.tokens_per_accepted
    money = "no price known" if cost is None else f"${cost:.4f}"
    used = "tokens not told" if tokens is None else f"{tokens:,.0f} tokens"
    return f"an accepted trace cost {money}, {used}; rejected candidates counted in"


def draw_funnel(work: Work, out: Path) -> Path:
    """Write the picture as PNG. Raises ConfigurationError when there is nothing to draw."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # half a second to import
    from matplotlib.figure import Figure

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
    text = _reasons_text(level.lost, _PICTURE_REASONS)
    return f"{level.remaining:,}" + (f"\n{textwrap.fill(text, 60)}" if text else "")
