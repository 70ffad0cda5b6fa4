"""The funnel and the stages' states as tables in the terminal."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from datagen.funnel.count import Funnel, count_funnel
from datagen.run.stamps import State, read_stamp
from datagen.run.work import Work, told
from datagen.stages import states

_REASONS: Final = 6
"""Reasons shown at one stage."""
_STYLE: Final[dict[State, str]] = {"fresh": "green", "stale": "yellow", "missing": "dim"}


def print_status(work: Work, console: Console) -> None:
    """The stages' states, then the funnel."""
    console.print(stage_table(work))
    console.print(funnel_table(count_funnel(work)))


def stage_table(work: Work) -> Table:
    """Each stage: whether its output stands, when it was made, what it counted."""
    table = Table("stage", "state", "finished", "counted", title=f"{work.run.root}")
    for name, state in states(work.run, work.settings).items():
        stamp = read_stamp(work.run, name)
        finished, counted = ("–", "") if stamp is None else (stamp.finished, told(stamp.counts))
        table.add_row(name, Text(state, _STYLE[state]), Text(finished), Text(counted))
    return table


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
        table.add_row(level.name, remaining, share, Text(_why(level.lost)))
        before = level.remaining
    table.caption = cost_line(funnel)
    return table


def _why(lost: dict[str, int]) -> str:
    reasons = [f"{reason} {count:,}" for reason, count in list(lost.items())[:_REASONS]]
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
