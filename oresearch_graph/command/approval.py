"""--approve-plan: the plan is shown in the terminal and a person decides."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.prompt import Prompt

from oresearch_graph.command.terminal import lines
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.plan_decision import PlanDecision

_ALIKE: Final = 0.5
"""Overlap from which two subtasks are pointed out."""


def require_terminal(console: Console) -> None:
    """Raise ConfigurationError where nobody can be asked."""
    if not (sys.stdin.isatty() and console.is_terminal):
        raise ConfigurationError(
            "--approve-plan needs a terminal to ask in: leave it out, or run in a terminal"
        )


def ask_about_plan(console: Console, proposal: dict[str, Any]) -> PlanDecision:
    """Show the plan with its overlaps and the most it may cost, and ask.

    Raises EOFError or KeyboardInterrupt when the person leaves.
    """
    subtasks: list[str] = proposal["subtasks"]
    console.print(lines("\n".join(_plan(proposal))), soft_wrap=True)
    answer = Prompt.ask(
        "[b]a[/b]pprove, [b]e[/b]dit or [b]r[/b]eject",
        console=console,
        choices=["a", "e", "r"],
        default="a",
        case_sensitive=False,
    )
    if answer == "r":
        return PlanDecision(action="reject", reason=Prompt.ask("why", console=console, default=""))
    if answer == "e":
        subtasks_wanted = _edited(console, subtasks)
        return PlanDecision(action="edit", subtasks=subtasks_wanted)
    return PlanDecision(action="approve")


def _plan(proposal: dict[str, Any]) -> list[str]:
    lines = [f"{number}. {subtask}" for number, subtask in enumerate(proposal["subtasks"], start=1)]
    for pair in proposal["overlaps"]:
        if pair["overlap"] >= _ALIKE:
            one, two = pair["subtasks"]
            lines.append(f"   {one} and {two} overlap by {pair['overlap']:.0%}")
    most = proposal["at_most"]
    limits = [
        f"{most['model_calls']} model calls",
        f"{most['tool_calls']} tool calls",
        f"{most['tokens']:,} tokens",
        f"{most['seconds']:.0f} s",
    ]
    limits += [] if most["cost"] is None else [f"${most['cost']:.2f}"]
    fault = [f"not taken: {proposal['fault']}"] if "fault" in proposal else []
    return [*lines, f"at most {', '.join(limits)}", *fault]


def _edited(console: Console, subtasks: Sequence[str]) -> list[str]:
    """The person's own list; a bare number takes over that subtask."""
    console.print("one subtask a line (a number keeps that one); an empty line ends")
    edited: list[str] = []
    while True:
        subtask = console.input(f"{len(edited) + 1}. ").strip()
        if subtask.isdecimal() and 1 <= int(subtask) <= len(subtasks):
            edited.append(subtasks[int(subtask) - 1])
        elif subtask:
            edited.append(subtask)
        elif edited:
            return edited
        else:
            console.print("at least one subtask")
