"""Rules on the run: whether it ended well, keeps the protocol and who wrote it, the report's
language and length, and how the research went: subtasks, calls, answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from datagen.filter.case import UNSPACED, Case, finding, words
from datagen.filter.observation_rules import shows_something
from datagen.records import Finding
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import Step, violations
from oresearch_graph.trace.call_counts import call_key, calls_per_subtask, distinct_calls
from oresearch_graph.trace.report_form import HEADINGS

_OTHER_SCRIPTS: Final = frozenset(("ja", "ko", "zh", "ru", "ar", "he", "el", "hi", "th"))
_ENOUGH: Final = 24
"""Letters of a Latin question under which its language is a guess."""


def violation(case: Case) -> Iterator[Finding]:
    """The trace departs from the protocol, in a way that is not tolerated."""
    for fault in violations(case.trace, case.answers):
        if fault.code in case.settings.tolerated:
            continue
        place = None if fault.step is None else (fault.step, case.trace.steps[fault.step])
        span = None if fault.start is None or fault.end is None else (fault.start, fault.end)
        yield finding(f"violation.{fault.code}", fault.message, place, span, fault.branch)


def report_language(case: Case) -> Iterator[Finding]:
    """The report's body, or a heading of it, is not in the question's language."""
    if case.report is None or not case.body.strip():
        return
    expected, actual = case.language, detect_language(case.body)
    if actual != expected and not (_guessed(case) and actual not in _OTHER_SCRIPTS):
        text = f"asked in {expected}, reported in {actual}"
        yield finding("report_language", text, case.report, (0, len(case.body)))
    elif case.trace.language is None and expected in HEADINGS:
        # With a stated language this is the violation heading_language.
        for section in case.answers[case.report[0]].sections(expected):
            if section.name and section.language != expected:
                text = f"the heading {section.heading!r} is not in the language {expected}"
                span = (section.heading_start, section.start)
                yield finding("report_language", text, case.report, span)


def _guessed(case: Case) -> bool:
    """True when a short Latin question does not tell its language."""
    letters = sum(map(str.isalpha, case.trace.question))
    return letters < _ENOUGH and case.language not in _OTHER_SCRIPTS


def report_length(case: Case) -> Iterator[Finding]:
    """The report's body is too short or too long."""
    if case.report is None:
        return
    settings = case.settings
    wide = case.language in UNSPACED
    least, most = settings.report_characters if wide else settings.report_words
    size, unit = words(case.body), "characters" if wide else "words"
    if not least <= size <= most:
        bound = f"at least {least}" if size < least else f"at most {most}"
        text = f"the report's body has {size} {unit}, {bound} asked"
        yield finding("report_length", text, case.report, (0, len(case.body)))


def outcome(case: Case) -> Iterator[Finding]:
    """The run did not end complete."""
    trace = case.trace
    if trace.outcome != "complete":
        names = ", ".join(dict.fromkeys(failure.name for failure in trace.failures))
        yield finding("outcome", f"the run ended {trace.outcome}: {names or 'no failure named'}")


def infrastructure(case: Case) -> Iterator[Finding]:
    """A service failed: what the policy wrote then was written beside a hole it did not make."""
    for failure in case.trace.failures:
        if failure.fault == "infrastructure":
            text = f"{failure.name}: {failure.message[:200]}"
            yield finding("infrastructure", text, branch=failure.branch)


def repaired(case: Case) -> Iterator[Finding]:
    """Some text was rejected and corrected before it entered the steps."""
    if case.settings.allow_repaired:
        return
    for failure in case.trace.failures:
        if failure.name in {"repaired", "revised"}:
            yield finding("repaired", f"corrected: {failure.message[:200]}", branch=failure.branch)


def changed(case: Case) -> Iterator[Finding]:
    """An embedder's middleware changed what a researcher was asked or answered."""
    if names := case.trace.changed_by:
        yield finding("changed", f"middleware changed it: {', '.join(names)[:200]}")


def extractive(case: Case) -> Iterator[Finding]:
    """A role was played without a language model."""
    if case.trace.extractive and not case.settings.allow_extractive:
        roles = [role for role, model in case.trace.models.items() if model == "extractive"]
        yield finding("extractive", f"no language model wrote as {', '.join(roles)}")


def extended_prompt(case: Case) -> Iterator[Finding]:
    """The policy was told more than the training prompt says."""
    if case.trace.protocol.extended and not case.settings.allow_extended:
        yield finding("extended_prompt", "an embedder's prompt additions were in force")


def constrained(case: Case) -> Iterator[Finding]:
    """The server held the policy's text to the protocol's grammar."""
    if case.trace.protocol.constrained and not case.settings.allow_constrained:
        yield finding("constrained", "the model's server held its text to the grammar")


def few_subtasks(case: Case) -> Iterator[Finding]:
    """Too few subtasks were researched."""
    least, there = case.settings.min_subtasks, len(case.trace.branches)
    if there < least:
        at = next(((i, s) for i, s in _steps(case) if s.kind == "subtask_list"), None)
        yield finding("few_subtasks", f"{there} subtasks researched, at least {least} asked", at)


def call_bounds(case: Case) -> Iterator[Finding]:
    """A subtask has too few or too many distinct well-formed tool calls."""
    least, most = case.settings.min_calls, case.settings.max_calls
    numbers = range(1, len(case.trace.subtasks) + 1) or list(case.trace.branches)
    for branch, calls in zip(numbers, calls_per_subtask(case.trace, distinct_calls), strict=True):
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
        answer = case.answers[place[0]]
        size = words(answer.plain(0, answer.body_end))
        if size < least:
            text = f"the answer to subtask {branch} has {size} words, at least {least} asked"
            yield finding("unanswered_subtask", text, place, (0, answer.body_end), branch)


def repeated_call(case: Case) -> Iterator[Finding]:
    """One branch makes the very same call again and again."""
    counts: Counter[tuple[int | None, str, str]] = Counter()
    most = case.settings.same_call
    for at, step in _steps(case):
        if not step.is_call:
            continue
        call = (step.branch, step.tag or step.kind, " ".join(step.text.split()))
        counts[call] += 1
        if counts[call] == most + 1:
            text = f"the same {call[1]} for time {counts[call]}, at most {most} allowed"
            yield finding("repeated_call", text, (at, step), (0, len(step.text)))


def short_path(case: Case) -> Iterator[Finding]:
    """Too few steps, or too few observations that show something."""
    steps = sum(1 for step in case.trace.steps if step.kind != "stray")
    useful = sum(1 for _, step in case.observations() if shows_something(step.text))
    if steps < case.settings.min_steps:
        text = f"{steps} steps in all, at least {case.settings.min_steps} asked"
        yield finding("short_path", text)
    if useful < case.settings.min_observations:
        least = case.settings.min_observations
        yield finding("short_path", f"{useful} observations show something, at least {least} asked")


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
    calls: set[tuple[str, ...]] = set()
    for at, step in _steps(case):
        if step.branch == branch and (key := call_key(step)) is not None:
            calls.add(key)
            if len(calls) > most:
                return at, step
    return None
