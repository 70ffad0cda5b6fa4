"""Rules on form: the protocol's own violations, and the report's language and length."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from datagen.filter.case import UNSPACED, Case, finding, words
from datagen.records import Finding
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import violations
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
