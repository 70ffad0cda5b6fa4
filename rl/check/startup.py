"""The start-up check: refuses what would train wrongly before any worker starts.

Every rule looks at one thing and names the line of the YAML and the fix. `check` runs them all:
someone who has three mistakes in a file is told of three.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from omegaconf import DictConfig
from rich.console import Console
from rich.text import Text

from oresearch_graph.errors import ConfigurationError
from rl.check import data, installation, lengths, surroundings, training
from rl.check.allow_list import settings_are_allowed
from rl.check.problem import Kind, Launch, Problem, Rule
from rl.check.upstream import upstream_agrees
from rl.settings import from_config

_GRPO: Final[tuple[Rule, ...]] = (
    *data.GRPO_RULES,
    *training.RULES,
    lengths.threads_fit,
    lengths.rows_fit,
    lengths.same_positions,
    lengths.model_window,
    *surroundings.GRPO_RULES,
    installation.modules_are_there,
    settings_are_allowed,
)
_SFT: Final[tuple[Rule, ...]] = (
    *data.SFT_RULES,
    lengths.sft_rows_fit,
    lengths.same_positions,
    lengths.model_window,
    *surroundings.SFT_RULES,
    installation.modules_are_there,
    settings_are_allowed,
)


def check(config: DictConfig, kind: Kind = "grpo", *, dry_run: bool = False) -> list[Problem]:
    """Every problem of a composed configuration, refusals first.

    `dry_run`: files, services and GPUs that are not here are told of, and not refused.
    """
    try:
        settings = from_config(config)
        launch = Launch(config, kind, settings, dry_run)
        launch.research  # noqa: B018 - its validation raises
    except ConfigurationError as error:
        return [_unreadable(error)]
    problems: list[Problem] = []
    unreadable: list[Problem] = []
    for rule in _GRPO if kind == "grpo" else _SFT:
        try:
            problems += rule(launch)
        except ConfigurationError as error:
            unreadable.append(_unreadable(error))
    problems += unreadable or _of_upstream(launch, problems)
    return sorted(dict.fromkeys(problems), key=lambda problem: not problem.refused)


def _unreadable(error: ConfigurationError) -> Problem:
    """A value that no rule can go on with; its error begins with the setting."""
    setting, _, what = str(error).partition(" ")
    return Problem(setting.rstrip(":"), what or str(error), "correct the value")


def _of_upstream(launch: Launch, problems: Sequence[Problem]) -> list[Problem]:
    """What verl says beyond what is refused already: it stops at the first fault of a section, and
    is asked as a whole only of a configuration that has none."""
    settings = {problem.setting for problem in problems if problem.refused}
    return [
        problem
        for problem in upstream_agrees(launch)
        if not (settings and problem.setting == "verl")
        and not any(f"{each}.".startswith(f"{problem.setting}.") for each in settings)
    ]


def refused(problems: Sequence[Problem]) -> bool:
    """True when one of them must not be started with."""
    return any(problem.refused for problem in problems)


def admitted(config: DictConfig, kind: Kind, console: Console, *, dry_run: bool) -> bool:
    """Check and tell; False when the run is refused."""
    problems = check(config, kind, dry_run=dry_run)
    show_problems(problems, console)
    if refused(problems):
        console.print("nothing was started")
        return False
    return True


def show_problems(problems: Sequence[Problem], console: Console) -> None:
    """One line for each problem and one for its fix."""
    for problem in problems:
        word, style = ("refused", "bold red") if problem.refused else ("notice", "yellow")
        line = Text.assemble((word, style), " ", (problem.setting, "bold"), f": {problem.what}")
        console.print(line, soft_wrap=True)
        console.print(Text(f"  fix: {problem.fix}"), soft_wrap=True)
