"""How long a thread's rows can become: what prompt and response of a row have to hold.

The figures are worst cases: every continuation as long as it may be, every observation full. A
researcher's last continuation is its answer, so it makes at most one tool call less than it has
steps.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from oresearch_graph.prompts import system_prompt
from oresearch_graph.trace import Role
from rl.rollouts.tool_term import most_calls_possible
from rl.settings import RLSettings

OBSERVATION_FRAME: Final = 64
"""Tokens of an observation's tags, of a notice in it and of what stands between two steps."""
OBSERVATION_OVERHEAD: Final = 1.25
"""`observation_tokens` counts what sources say; titles, addresses and queries come on top."""
SUBTASK_LINE: Final = 100
"""Tokens of one subtask as the world repeats it at the head of a branch."""
QUESTION: Final = 400
"""Tokens of a question, where no tokenizer is at hand to count real ones."""


class ThreadBudget(NamedTuple):
    """The longest row of one kind of thread, in tokens."""

    thread: Role | str
    prompt: int
    response: int
    terms: str
    """How the response came about, in numbers."""

    @property
    def total(self) -> int:
        return self.prompt + self.response


def estimated_opening(settings: RLSettings) -> int:
    """Tokens of the system prompt and a question at 3.5 characters a token; a tokenizer that was
    trained on English needs fewer."""
    return round(len(system_prompt(settings.research_settings)) / 3.5) + QUESTION


def observation_length(settings: RLSettings) -> int:
    """Tokens of one full observation."""
    shown = settings.research_settings.limits.observation_tokens * OBSERVATION_OVERHEAD
    return round(shown) + OBSERVATION_FRAME


def thread_budgets(settings: RLSettings, opening: int) -> list[ThreadBudget]:
    """The longest row of each kind of thread; one in sequential execution.

    `opening`: tokens of system prompt and question.
    """
    limits, turn = settings.research_settings.limits, settings.turn_tokens
    calls, shown = most_calls_possible(limits), observation_length(settings)
    branch = limits.steps * turn + calls * shown
    worked = f"{limits.steps} steps × {turn} + {calls} observations × {shown}"
    if settings.research_settings.execution == "sequential":
        whole = turn + limits.subtasks * branch + settings.report_tokens
        terms = (
            f"plan {turn} + {limits.subtasks} subtasks × ({worked})"
            f" + report {settings.report_tokens}"
        )
        return [ThreadBudget("sequential", opening, whole, terms)]
    answers = turn + limits.subtasks * (SUBTASK_LINE + turn)
    report = settings.report_tokens
    return [
        ThreadBudget("planner", opening, turn, f"plan {turn}"),
        ThreadBudget("researcher", opening + turn + SUBTASK_LINE, branch, worked),
        ThreadBudget("summarizer", opening + answers, report, f"report {report}"),
    ]
