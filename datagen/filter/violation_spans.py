"""Where in a step's text a violation shows: grammar says which step, a reader wants the place."""

from __future__ import annotations

from functools import lru_cache

from oresearch_graph.trace import Step, Violation
from oresearch_graph.trace.references import (
    Reference,
    citation_marks,
    reference_list,
    same_address,
)
from oresearch_graph.trace.report_form import find_sections
from oresearch_graph.trace.tags import tag_pattern

_WHOLE = frozenset(("stray_text", "malformed_call", "repeated_subtask_list", "step_after_report",
                    "step_after_answer", "misplaced_plan", "misplaced_subtask",
                    "step_outside_branch"))  # fmt: skip
"""The step itself is what should not be."""


def violation_span(found: Violation, step: Step, language: str) -> tuple[int, int] | None:
    """The offending stretch of the step's text; None when the fault is that something lacks."""
    match found.code:
        case "nested_tag":
            return _tag(found.message, step)
        case "dangling_citation":
            return _marks(step.text).get(found.message[1:].partition("]")[0])
        case "unknown_reference":
            return _reference(found.message, step)
        case "heading_language":
            sections = find_sections(step.text, language)
            wrong = (s for s in sections if s.name and repr(s.heading) in found.message)
            return next(((s.heading_start, s.start) for s in wrong), None)
        case code if code in _WHOLE:
            return 0, len(step.text)
        case _:
            return None


# An answer may hold many such marks and lines, each a violation of its own.
@lru_cache(maxsize=4)
def _marks(text: str) -> dict[str, tuple[int, int]]:
    """Where each cited number stands first."""
    return {str(mark.number): (mark.start, mark.end) for mark in reversed(citation_marks(text))}


@lru_cache(maxsize=4)
def _references(text: str) -> dict[str, Reference]:
    return {str(number): reference for number, reference in reference_list(text).items()}


def _tag(message: str, step: Step) -> tuple[int, int] | None:
    tag = message.partition(" inside ")[0]
    at = step.text.find(tag)
    if at < 0:
        match = tag_pattern(()).search(step.text)
        return None if match is None else match.span()
    return at, at + len(tag)


def _reference(message: str, step: Step) -> tuple[int, int] | None:
    number = message.removeprefix("reference [").partition("]")[0]
    listed = _references(step.text).get(number)
    if listed is None or not listed.url:
        return None
    at = step.text.rfind(listed.url)
    if at < 0:
        at = step.text.rfind(same_address(listed.url))
    return None if at < 0 else (at, at + len(listed.url))
