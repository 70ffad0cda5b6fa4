"""`python -m rl.plot RUN_DIR [--out FILE.png]`: a run's metrics as one picture.

RUN_DIR is the run's `trainer.default_local_dir`, of GRPO or SFT, ended or still going. Exit status:
0, or 2 with one line when the folder has no metrics.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple

import typer
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from rich.console import Console

from oresearch_graph.errors import ConfigurationError
from rl.metrics.panels import FilledPanel, PlotContent, PlotLine, choose, steps_of
from rl.metrics.series import read_metrics

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

COLORS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's: told apart by colour-blind readers too."""
_GREY: Final = "#767676"
_PANEL: Final = (3.9, 2.8)
"""Inches."""
_COLUMNS: Final = 4
_LETTERS: Final = 66
"""Of the legend's small type in the width of a panel."""
_FEW: Final = 12
"""Values of a line up to which each is marked: they are few, or far apart."""


class Picture(NamedTuple):
    """What a picture shows."""

    file: Path
    panels: tuple[str, ...]
    """Titles."""
    footnote: str
    """What it does not show; empty if nothing is missing."""
    steps: tuple[int, int]


def plot(run: Path, out: Path | None = None) -> Picture:
    """Draw a run into `out`, by default `plot.png` in its folder. Raises ConfigurationError."""
    metrics = read_metrics(run)
    content = choose(metrics.series)
    if not content.panels:
        raise ConfigurationError(
            f"{metrics.source}: none of its {len(metrics.series)} metrics is one that is drawn"
        )
    out = out or run / "plot.png"
    steps = steps_of(content.panels)
    figure = _figure(content, f"{run.resolve().name}, steps {steps[0]} to {steps[1]}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(out, dpi=110)
    except (OSError, ValueError) as error:  # ValueError: an ending that names no format
        raise ConfigurationError(f"{out}: cannot be written: {error}") from error
    titles = tuple(filled.panel.title for filled in content.panels)
    return Picture(out, titles, footnote(content), steps)


def footnote(content: PlotContent) -> str:
    """Which metrics are not in the picture, and why."""
    parts = []
    if content.missing:
        parts.append(f"Not logged: {', '.join(content.missing)}.")
    if content.crowded:
        parts.append(f"Left out for room: {', '.join(content.crowded)}.")
    return " ".join(parts)


def _figure(content: PlotContent, title: str) -> Figure:
    columns = min(_COLUMNS, len(content.panels))
    rows = -(-len(content.panels) // columns)
    note = textwrap.fill(footnote(content), 46 * columns)
    below = 0.17 * (note.count("\n") + 1) + 0.1 if note else 0.0
    height = _PANEL[1] * rows + 0.45 + below
    room = ConstrainedLayoutEngine(rect=(0, below / height, 1, 1 - below / height), hspace=0.06)
    figure = Figure(figsize=(_PANEL[0] * columns, height), layout=room)
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.text(0.01, 0.06 / height, note, fontsize=7.5, color=_GREY, va="bottom")
    grid = figure.subplots(rows, columns, squeeze=False)
    steps = steps_of(content.panels)
    for row in range(rows):
        panels = content.panels[row * columns : (row + 1) * columns]
        legend = max(_legend_shape(filled)[0] for filled in panels)
        for axes, filled in zip(grid[row], panels, strict=False):
            _draw(axes, filled, steps)
            axes.set_title(filled.panel.title, loc="left", fontsize=9.5, pad=5.0 + 9.5 * legend)
        for axes in grid[row][len(panels) :]:
            axes.remove()
    return figure


def _draw(axes: Axes, filled: FilledPanel, steps: tuple[int, int]) -> None:
    panel = filled.panel
    axes.set_ylabel(panel.unit, fontsize=8)
    axes.set_xlabel("step", fontsize=8)
    colors = iter(COLORS)
    for line in filled.lines:
        _draw_line(axes, line, _GREY if line.look == "control" else next(colors))
    room = max(0.5, 0.03 * (steps[1] - steps[0]))
    axes.set_xlim(steps[0] - room, steps[1] + room)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    _scale(axes, filled)
    axes.tick_params(labelsize=7.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    lines, columns = _legend_shape(filled)
    if lines:
        # Between title and plot, where it covers nothing.
        axes.legend(
            loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=columns, fontsize=7, frameon=False,
            borderpad=0.0, borderaxespad=0.2, handlelength=1.6, labelspacing=0.2, columnspacing=1.2,
        )  # fmt: skip


def _legend_shape(filled: FilledPanel) -> tuple[int, int]:
    """Lines and columns of a panel's legend; no lines where it needs none."""
    if len(filled.lines) == 1 and filled.panel.metrics[0].alone:
        return 0, 1
    longest = max(len(line.label) for line in filled.lines)
    columns = max(1, min(len(filled.lines), _LETTERS // (longest + 7)))
    return -(-len(filled.lines) // columns), columns


def _draw_line(axes: Axes, line: PlotLine, color: str) -> None:
    """Marked values are not joined: between them nothing was measured, or nothing happened."""
    looks: dict[str, dict[str, Any]] = {
        "line": {"linestyle": "-"},
        "dashed": {"linestyle": (0, (4, 2)), "linewidth": 1.0},
        "control": {"linestyle": (0, (1.5, 1.5))},
        "marks": {"linestyle": "", "marker": "o", "markersize": 3.2},
    }
    look = {"linewidth": 1.5, **looks[line.look]}
    if len(line.series) <= _FEW:
        look |= {"marker": "o", "markersize": 3.2}
    axes.plot(list(line.series), list(line.series.values()), color=color, label=line.label, **look)


def _scale(axes: Axes, filled: FilledPanel) -> None:
    """The panel's own range, wider where values leave it, so that pictures can be compared."""
    values = [value for line in filled.lines for value in line.series.values()]
    if filled.panel.log and min(values) > 0:
        axes.set_yscale("log")
    elif filled.panel.range is not None:
        low = min(filled.panel.range[0], *values) if min(values) < 0 else 0.0
        high = max(filled.panel.range[1], *values)
        room = 0.05 * (high - low) or 0.5
        axes.set_ylim(low - room * (low < 0 or high <= 1), high + room)


@app.command()
def main(
    run: Annotated[Path, typer.Argument(help="The run's trainer.default_local_dir.")],
    out: Annotated[Path | None, typer.Option(help="The picture; RUN_DIR/plot.png.")] = None,
) -> None:
    """Draw reward, held-out quality, citations, tools, lengths and failures over the steps."""
    try:
        drawn = plot(run, out)
    except ConfigurationError as error:
        Console(stderr=True).print(str(error), markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    first, last = drawn.steps
    line = f"{drawn.file}: {len(drawn.panels)} panels, steps {first} to {last}"
    console = Console()
    console.print(line, markup=False, highlight=False, soft_wrap=True)
    if drawn.footnote:
        console.print(drawn.footnote, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    app()
