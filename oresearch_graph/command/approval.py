"""--approve-plan: the plan is shown in the terminal and a person decides."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.prompt import Prompt
from rich.text import Text

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.planner import PlanDecision

_ALIKE = 0.5
"""Overlap from which two subtasks are pointed out."""


def require_terminal() -> None:
    """Raise ConfigurationError where nobody can be asked."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "--approve-plan needs a terminal to ask in: leave it out, or run in a terminal"
        )


def ask_about_plan(console: Console, proposal: dict[str, Any]) -> PlanDecision:
    """Show the plan with its overlaps and the most it may cost, and ask."""
    for number, subtask in enumerate(proposal["subtasks"], start=1):
        console.print(Text(f"{number}. {subtask}"))
    for pair in proposal["overlaps"]:
        if pair["overlap"] >= _ALIKE:
            one, two = pair["subtasks"]
            console.print(Text(f"   {one} and {two} overlap by {pair['overlap']:.0%}"))
    most = proposal["at_most"]
    console.print(
        Text(f"at most {most['model_calls']} model calls, {most['tool_calls']} tool calls")
    )
    answer = Prompt.ask(
        "approve, edit or reject", console=console, choices=["a", "e", "r"], default="a"
    )
    if answer == "r":
        return PlanDecision(action="reject", reason=Prompt.ask("why", console=console, default=""))
    if answer == "e":
        console.print("one subtask a line, an empty line ends")
        return PlanDecision(action="edit", subtasks=_lines(console))
    return PlanDecision(action="approve")


def _lines(console: Console) -> list[str]:
    lines: list[str] = []
    while line := console.input(f"{len(lines) + 1}. ").strip():
        lines.append(line)
    return lines
