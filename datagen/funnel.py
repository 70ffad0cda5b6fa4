"""Funnel: how many there are at each stage and why the others went, counted from the files; as a
table in the terminal, and as a picture with a bar for each stage.

Every file is read once, a line at a time. A stage that has not run has no count, which is not 0.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from rich.table import Table
from rich.text import Text

from datagen.generate.candidate_store import Spending, read_finished
from datagen.generate.plan import plan
from datagen.records import Dropped, Filtered, Judgement, Lost, Seed
from datagen.run.folder import Work
from datagen.run.record_files import read_records
from datagen.run.stamps import read_stamp
from oresearch_graph.errors import ConfigurationError

_TABLE_REASONS: Final = 6
"""Reasons shown at one stage."""
_PICTURE_REASONS: Final = 4
_BAR, _GREY, _LINE = "#3b6ea5", "#555555", 0.8


class Level(NamedTuple):
    """One stage's part of the funnel."""

    name: str
    remaining: int | None
    """What is left after it; None: it has not run."""
    lost: dict[str, int]
    """Why others went, most frequent first. A candidate with several reasons counts at each."""


class Funnel(NamedTuple):
    """The whole way from questions to rows."""

    levels: tuple[Level, ...]
    spending: Spending
    """What all candidates and their judgements cost, the rejected ones among them."""
    accepted: int | None
    constrained: int
    """Traces whose text was held to the protocol's grammar."""

    @property
    def cost_per_accepted(self) -> float | None:
        """US dollars per accepted trace; None where no price is known."""
        if not self.accepted or self.spending.cost is None:
            return None
        return self.spending.cost / self.accepted

    @property
    def tokens_per_accepted(self) -> float | None:
        if not self.accepted or self.spending.tokens is None:
            return None
        return self.spending.tokens / self.accepted


def count_funnel(work: Work) -> Funnel:
    """Count what the run's folder holds."""
    run = work.run
    traces, constrained, spending = _traces(work)
    judged = _judged(run.judged)
    for judgement in read_records(run.judged, Judgement):
        spending = spending.plus(Spending(judgement.tokens, judgement.cost))
    levels = (
        _seeds(work),
        _planned(work),
        Level("traces", traces, _lost(work, traces)),
        _filtered(run.filtered),
        *judged,
        _rows(work),
    )
    return Funnel(levels, spending, judged[0].remaining, constrained)


def _seeds(work: Work) -> Level:
    if not work.run.seeds.exists():
        return Level("seeds", None, {})
    count = _number(read_records(work.run.seeds, Seed))
    return Level(
        "seeds", count, _ranked(d.reason for d in read_records(work.run.dropped_seeds, Dropped))
    )


def _planned(work: Work) -> Level:
    run = work.run
    if not run.seeds.exists():
        return Level("candidates", None, {})
    planned = plan(work.settings.generate, read_records(run.seeds, Seed))
    return Level("candidates", _number(planned) + _number(read_finished(run.imported)), {})


def _traces(work: Work) -> tuple[int | None, int, Spending]:
    spending, ids, constrained = Spending(), set[str](), set[str]()
    for file in work.run.traces:
        for finished in read_finished(file):
            ids.add(finished.id)
            constrained.update([finished.id] if finished.constrained else [])
            spending = spending.plus(finished.spending)
    for lost in read_records(work.run.lost, Lost, unended=False):
        spending = spending.plus(Spending(lost.tokens, lost.cost))
    return (len(ids) if work.run.traces else None), len(constrained), spending


def _lost(work: Work, traces: int | None) -> dict[str, int]:
    if traces is None:
        return {}
    lost = _number(read_records(work.run.lost, Lost, unended=False))
    return {"lost": lost} if lost else {}


def _filtered(path: Path) -> Level:
    if not path.exists():
        return Level("passed the filter", None, {})
    passed, rules = 0, Counter[str]()
    for filtered in read_records(path, Filtered):
        passed += filtered.passed
        rules.update({finding.rule for finding in filtered.findings})
    return Level("passed the filter", passed, dict(rules.most_common()))


def _judged(path: Path) -> tuple[Level, Level]:
    if not path.exists():
        return Level("accepted by the judge", None, {}), Level("best of their seed", None, {})
    accepted, best, reasons = 0, 0, Counter[str]()
    for judgement in read_records(path, Judgement):
        accepted += judgement.accepted
        best += judgement.chosen
        if judgement.judged is None:
            reasons["unjudged"] += 1
        elif not judgement.accepted:
            reasons["below a threshold"] += 1
    beaten = {"another of the seed was chosen": accepted - best} if accepted > best else {}
    return (
        Level("accepted by the judge", accepted, dict(reasons.most_common())),
        Level("best of their seed", best, beaten),
    )


def _rows(work: Work) -> Level:
    stamp = read_stamp(work.run, "export")
    if stamp is None:
        return Level("exported", None, {})
    return Level("exported", stamp.counts.get("traces"), {})


def _ranked(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reasons).most_common())


def _number(items: Iterable[object]) -> int:
    return sum(1 for _ in items)


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
    table.caption = caption(funnel)
    return table


def _reasons_text(lost: dict[str, int], most: int) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in list(lost.items())[:most]]
    more = len(lost) - len(reasons)
    return ", ".join([*reasons, *([f"{more} more"] if more > 0 else [])])


def caption(funnel: Funnel) -> str:
    """What the levels do not tell."""
    by_grammar = f"{funnel.constrained:,} traces were held to the protocol's grammar"
    return "; ".join([cost_line(funnel), *([by_grammar] if funnel.constrained else [])])


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
    figure.supxlabel(caption(funnel), x=0.01, ha="left", fontsize=8.5, color=_GREY)
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
