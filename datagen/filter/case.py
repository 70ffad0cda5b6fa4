"""Case: one trace as the rules look at it; what several of them need is worked out once."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Final

from datagen.records import Finding
from datagen.settings.filter import FilterSettings
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.scripts import CJK
from oresearch_graph.trace import CitationReport, Step, Trace
from oresearch_graph.trace.answer import ParsedAnswer, parsed_answers

Check = Callable[["Case"], Iterator[Finding]]
"""A rule's whole work: what it finds against a trace."""

UNSPACED: Final = frozenset(("zh", "ja"))
"""Languages whose texts are measured in characters."""
_WORD: Final = re.compile(rf"[{CJK}]|(?:(?![{CJK}_])\w)+")


class Case:
    """A trace, the bounds it is held to, and how its text is counted."""

    def __init__(
        self, trace: Trace, settings: FilterSettings, count_tokens: Callable[[str], int]
    ) -> None:
        self.trace, self.settings, self.count_tokens = trace, settings, count_tokens

    @cached_property
    def answers(self) -> dict[int, ParsedAnswer]:
        """Every answer, by the place of its step."""
        return parsed_answers(self.trace)

    @cached_property
    def report(self) -> tuple[int, Step] | None:
        """The last `suggested_answer` with its place; None without one that says something."""
        at = self.trace.answer_at
        if at is None or not self.trace.steps[at].text.strip():
            return None
        return at, self.trace.steps[at]

    @cached_property
    def body(self) -> str:
        """The report without its references; "" without a report."""
        return "" if self.report is None else self.answers[self.report[0]].body

    @cached_property
    def language(self) -> str:
        """The question's, as the trace states it or as it reads."""
        return self.trace.language or detect_language(self.trace.question)

    @cached_property
    def citations(self) -> CitationReport | None:
        """The check of the report's citations; None where nothing is there to check against."""
        stated = None if self.settings.verify_again else self.trace.citations
        if stated is not None or self.report is None or self.trace.sources is None:
            return stated
        return verify_report(self.answers[self.report[0]], self.trace.sources)

    @cached_property
    def first_steps(self) -> dict[int, int]:
        """Where each branch begins."""
        starts: dict[int, int] = {}
        for at, step in enumerate(self.trace.steps):
            if step.branch is not None:
                starts.setdefault(step.branch, at)
        return starts

    def of_policy(self) -> Iterator[tuple[int, Step]]:
        """The steps whose text the policy wrote, with their places."""
        for at, step in enumerate(self.trace.steps):
            if step.author == "policy":
                yield at, step

    def observations(self) -> Iterator[tuple[int, Step]]:
        for at, step in enumerate(self.trace.steps):
            if step.kind == "observation":
                yield at, step


def words(text: str) -> int:
    """Words, a CJK character counting as one."""
    return sum(1 for _ in _WORD.finditer(text))


def finding(
    rule: str, message: str, place: tuple[int, Step] | None = None,
    span: tuple[int, int] | None = None, branch: int | None = None,
) -> Finding:  # fmt: skip
    """A finding at a step; without a span it means the whole step. A span lies in the step's text
    whatever the trace's own record of its claims says."""
    if place is None:
        return Finding(rule=rule, message=message, branch=branch)
    at, step = place
    start, end = span or (None, None)
    if start is not None and end is not None:
        start = min(max(start, 0), len(step.text))
        end = min(max(end, start), len(step.text))
    branch = step.branch if branch is None else branch
    return Finding(rule=rule, message=message, step=at, branch=branch, start=start, end=end)
