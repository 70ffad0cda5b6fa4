"""Rules on how the research went: subtasks, calls, answers, and how long it all is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from datagen.filter.case import Case, finding, words
from datagen.filter.observed_rules import shows_something
from datagen.records import Finding
from oresearch_graph.trace import Step
from oresearch_graph.trace.calls import calls_per_subtask, distinct_calls

_MARK = re.compile(r"[\[【]\d{1,7}(?:\s*[,，、;–-]\s*\d{1,7})*[\]】]")


def few_subtasks(case: Case) -> Iterator[Finding]:
    """Too few subtasks were researched."""
    least, there = case.settings.min_subtasks, len(case.trace.branches)
    if there < least:
        at = next(((i, s) for i, s in _steps(case) if s.kind == "subtask_list"), None)
        yield finding("few_subtasks", f"{there} subtasks researched, at least {least} asked", at)


def call_bounds(case: Case) -> Iterator[Finding]:
    """A subtask has too few or too many distinct well-formed tool calls."""
    least, most = case.settings.min_calls, case.settings.max_calls
    listed = range(1, len(case.trace.subtasks) + 1) or list(case.trace.branches)
    for branch, calls in zip(listed, calls_per_subtask(case.trace), strict=True):
        if least <= calls <= most:
            continue
        bound = f"at least {least}" if calls < least else f"at most {most}"
        text = f"subtask {branch} has {calls} distinct tool calls, {bound} asked"
        place = _beyond(case, branch, most) if calls > most else _opening(case, branch)
        yield finding("call_bounds", text, place, branch=branch)


def unanswered_subtask(case: Case) -> Iterator[Finding]:
    """A subtask without an answer, or with one that is no sentence."""
    least = case.settings.answer_words
    answers = {s.branch: (i, s) for i, s in _steps(case) if s.kind == "subtask_answer"}
    numbers = {*range(1, len(case.trace.subtasks) + 1), *case.trace.branches}
    for branch in sorted(numbers):
        if (place := answers.get(branch)) is None:
            text = f"subtask {branch} has no answer"
            yield finding("unanswered_subtask", text, _opening(case, branch), branch=branch)
            continue
        body = case.answers[place[0]].body
        said = words(_MARK.sub("", body))
        if said < least:
            text = f"the answer to subtask {branch} has {said} words, at least {least} asked"
            yield finding("unanswered_subtask", text, place, (0, len(body)), branch)


def repeated_call(case: Case) -> Iterator[Finding]:
    """One branch makes the very same call again and again."""
    made: Counter[tuple[int | None, str, str]] = Counter()
    most = case.settings.same_call
    for at, step in _steps(case):
        if not step.is_call:
            continue
        call = (step.branch, step.tag or step.kind, " ".join(step.text.split()))
        made[call] += 1
        if made[call] == most + 1:
            text = f"the same {call[1]} for time {made[call]}, at most {most} allowed"
            yield finding("repeated_call", text, (at, step), (0, len(step.text)))


def short_path(case: Case) -> Iterator[Finding]:
    """Too few steps, or too few observations that show something."""
    steps = sum(1 for step in case.trace.steps if step.kind != "stray")
    seen = sum(1 for _, step in case.observations() if shows_something(step.text))
    if steps < case.settings.min_steps:
        text = f"{steps} steps in all, at least {case.settings.min_steps} asked"
        yield finding("short_path", text)
    if seen < case.settings.min_observations:
        least = case.settings.min_observations
        yield finding("short_path", f"{seen} observations show something, at least {least} asked")


def token_limit(case: Case) -> Iterator[Finding]:
    """Question and steps are longer than the training window."""
    most, used = case.settings.max_tokens, case.count_tokens(case.trace.question)
    place: tuple[int, Step] | None = None
    for at, step in _steps(case):
        tags = (step.opened is not None) * 2 + (step.closed is not None) * 3 + len(step.lead)
        shell = "" if step.tag is None else "x" * (tags + 2 * len(step.tag))
        used += case.count_tokens(step.text) + case.count_tokens(shell)
        if place is None and used > most:
            place = (at, step)
    if place is not None:
        yield finding("token_limit", f"{used} tokens, at most {most} allowed: full here", place)


def _steps(case: Case) -> Iterator[tuple[int, Step]]:
    return enumerate(case.trace.steps)


def _opening(case: Case, branch: int) -> tuple[int, Step] | None:
    at = case.first_steps.get(branch)
    return None if at is None else (at, case.trace.steps[at])


def _beyond(case: Case, branch: int, most: int) -> tuple[int, Step] | None:
    """The call with which a branch passes its bound."""
    made: set[tuple[str, str]] = set()
    for at, step in _steps(case):
        if step.branch == branch and step.is_call:
            made |= distinct_calls([step])
            if len(made) > most:
                return at, step
    return None
