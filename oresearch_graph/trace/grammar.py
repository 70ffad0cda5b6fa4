"""violations: the only meaning of "well-formed".

The command line prints them, datagen rejects by them, the format reward counts them.

    trace  := subtask_list branch+ suggested_answer
    branch := subtask turn+ subtask_answer
    turn   := think (plan think?)? (call observation)*
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, assert_never

from pydantic import BaseModel, ConfigDict

from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.escaping import escape_world
from oresearch_graph.trace.record import Trace
from oresearch_graph.trace.references import (
    Ledger,
    body_span,
    citation_marks,
    reference_list,
    seen_sources,
)
from oresearch_graph.trace.report_form import HEADINGS, SECTIONS, Section, find_sections
from oresearch_graph.trace.step import CALL_KINDS, Step
from oresearch_graph.trace.tags import tag_pattern

ViolationCode = Literal[
    "no_subtask_list", "late_subtask_list", "repeated_subtask_list", "empty_subtask_list",
    "subtask_without_branch", "branch_not_listed", "interleaved_branches", "step_outside_branch",
    "misplaced_subtask", "turn_without_think", "misplaced_plan", "branch_without_turn",
    "call_without_observation", "observation_without_call", "branch_without_answer",
    "step_after_answer", "empty_answer", "no_suggested_answer", "step_after_report",
    "stray_text", "missing_open_tag", "missing_close_tag", "nested_tag", "malformed_call",
    "no_introduction", "no_body", "no_conclusion", "no_references", "heading_language",
    "dangling_citation", "unknown_reference",
]  # fmt: skip


class Violation(BaseModel):
    """One departure from the protocol, with its place."""

    model_config = ConfigDict(frozen=True)

    code: ViolationCode
    message: str
    step: int | None = None
    """Index into `Trace.steps`; None when something is missing altogether."""
    branch: int | None = None
    declared: bool = False
    """A failure recorded in the trace owns up to it: the trace is honest, though not well-formed.
    """


def violations(trace: Trace) -> tuple[Violation, ...]:
    """Everything in which the trace departs from the protocol, in order. Empty: well-formed."""
    found = [*_tag_faults(trace), *_order_faults(trace), *_branch_faults(trace)]
    if trace.answer is not None:
        found += _report_faults(trace, trace.answer)
    found += _citation_faults(trace)
    owned = {failure.branch for failure in trace.failures if failure.name != "repaired"}
    found.sort(key=lambda violation: _place(trace, violation))
    return tuple(
        violation.model_copy(update={"declared": True}) if violation.branch in owned else violation
        for violation in found
    )


def _place(trace: Trace, violation: Violation) -> int:
    return len(trace.steps) if violation.step is None else violation.step


def _tag_faults(trace: Trace) -> Iterator[Violation]:
    tags = tag_pattern(trace.protocol.tools)
    for index, step in enumerate(trace.steps):
        if step.kind == "stray":
            if step.text.strip():
                text = f"text outside every tag: {_short(step.text)}"
                yield Violation(code="stray_text", message=text, step=index, branch=step.branch)
            continue
        if step.opened is None:
            text = f"</{step.tag}> without its opening tag"
            yield Violation(code="missing_open_tag", message=text, step=index, branch=step.branch)
        if step.closed is None:
            text = f"<{step.tag}> is never closed"
            yield Violation(code="missing_close_tag", message=text, step=index, branch=step.branch)
        if step.author == "policy" and (inner := tags.search(step.text)):
            text = f"{inner[0]} inside <{step.tag}>"
            yield Violation(code="nested_tag", message=text, step=index, branch=step.branch)
        if step.is_call and (fault := read_call(step).fault):
            yield Violation(code="malformed_call", message=fault, step=index, branch=step.branch)


def _order_faults(trace: Trace) -> Iterator[Violation]:
    """The frame: the list first, then the branches, then the report."""
    steps = [(i, step) for i, step in enumerate(trace.steps) if step.kind != "stray"]
    lists = [i for i, step in steps if step.kind == "subtask_list"]
    reports = [i for i, step in steps if step.kind == "suggested_answer"]
    if not lists:
        yield Violation(code="no_subtask_list", message="there is no <subtask_list>")
    elif not trace.subtasks:
        yield Violation(code="empty_subtask_list", message="<subtask_list> is empty", step=lists[0])
    if lists and lists[0] != steps[0][0]:
        text = "<subtask_list> is not the first step"
        yield Violation(code="late_subtask_list", message=text, step=lists[0])
    for index in lists[1:]:
        text = "a second <subtask_list>"
        yield Violation(code="repeated_subtask_list", message=text, step=index)
    for index, step in steps:
        if step.branch is None and step.kind not in {"subtask_list", "suggested_answer"}:
            text = f"<{step.tag}> outside every subtask"
            yield Violation(code="step_outside_branch", message=text, step=index)
        if reports and index > reports[0]:
            text = f"<{step.tag}> after the report"
            yield Violation(code="step_after_report", message=text, step=index, branch=step.branch)
    if not reports:
        yield Violation(code="no_suggested_answer", message="there is no <suggested_answer>")
    yield from _listing_faults(trace)


def _listing_faults(trace: Trace) -> Iterator[Violation]:
    """A listed subtask without its branch is a violation, and so is a branch beyond the list."""
    listed, branches = trace.subtasks, trace.branches
    for number, subtask in enumerate(listed, start=1):
        if number not in branches:
            text = f"subtask {number} was listed and never researched: {_short(subtask)}"
            yield Violation(code="subtask_without_branch", message=text, branch=number)
    for number in branches:
        if listed and number > len(listed):
            text = f"subtask {number} is not on the list"
            yield Violation(code="branch_not_listed", message=text, branch=number)
    last = 0
    for index, step in enumerate(trace.steps):
        if step.branch is not None and step.branch < last:
            text = f"a step of subtask {step.branch} after subtask {last} began"
            yield Violation(
                code="interleaved_branches", message=text, step=index, branch=step.branch
            )
        last = max(last, step.branch or 0)


def _branch_faults(trace: Trace) -> Iterator[Violation]:
    by_branch: dict[int, list[tuple[int, Step]]] = {}
    for index, step in enumerate(trace.steps):
        if step.branch is not None and step.kind != "stray":
            by_branch.setdefault(step.branch, []).append((index, step))
    for branch, steps in by_branch.items():
        yield from _turn_faults(branch, steps)


def _turn_faults(branch: int, steps: list[tuple[int, Step]]) -> Iterator[Violation]:
    """One branch against `subtask turn+ subtask_answer`."""
    before: str | None = None
    thought = answered = False
    if steps[0][1].kind != "subtask":
        text = f"subtask {branch} does not begin with <subtask>"
        yield Violation(code="misplaced_subtask", message=text, step=steps[0][0], branch=branch)
    for at, (index, step) in enumerate(steps):
        place = {"step": index, "branch": branch}
        after = steps[at + 1][1].kind if at + 1 < len(steps) else None
        if answered:
            text = f"<{step.tag}> after the subtask's answer"
            yield Violation(code="step_after_answer", message=text, **place)
        match step.kind:
            case "subtask":
                if at:
                    text = "a second <subtask> in one branch"
                    yield Violation(code="misplaced_subtask", message=text, **place)
            case "think":
                thought = True
            case "plan":
                if before != "think":
                    text = "<plan> without a <think> before it"
                    yield Violation(code="misplaced_plan", message=text, **place)
            case "web_search" | "crawl_page" | "tool_call":
                if not thought:
                    text = f"<{step.tag}> before any <think>"
                    yield Violation(code="turn_without_think", message=text, **place)
                if after != "observation":
                    text = f"<{step.tag}> has no observation"
                    yield Violation(code="call_without_observation", message=text, **place)
            case "observation":
                if before not in CALL_KINDS:
                    text = "<observation> answers no call"
                    yield Violation(code="observation_without_call", message=text, **place)
            case "subtask_answer":
                yield from _answer_faults(step, index, thought=thought)
                answered = True
            case "subtask_list" | "suggested_answer" | "stray":
                pass
            case _:
                assert_never(step.kind)
        before = step.kind
    if not answered:
        text = f"subtask {branch} has no <subtask_answer>"
        yield Violation(code="branch_without_answer", message=text, branch=branch)


def _answer_faults(step: Step, index: int, *, thought: bool) -> Iterator[Violation]:
    if not thought:
        text = "the subtask is answered without any <think>"
        yield Violation(code="branch_without_turn", message=text, step=index, branch=step.branch)
    if not step.text.strip():
        text = "the subtask's answer is empty"
        yield Violation(code="empty_answer", message=text, step=index, branch=step.branch)


def _report_faults(trace: Trace, report: Step) -> Iterator[Violation]:
    """The report has introduction, body, conclusion and references in its language."""
    place = max(i for i, step in enumerate(trace.steps) if step is report)
    sections = find_sections(report.text, trace.language)
    named = {section.name: section for section in reversed(sections) if section.name}
    for name in SECTIONS:
        code: ViolationCode = f"no_{name}"  # type: ignore[assignment]  # one code per section
        if name not in named:
            yield Violation(code=code, message=f"the report has no {name}", step=place)
        elif trace.language in HEADINGS and named[name].language != trace.language:
            text = f"the heading {named[name].heading!r} is not in the language {trace.language}"
            yield Violation(code="heading_language", message=text, step=place)
    if not _has_body(report.text, sections):
        yield Violation(code="no_body", message="the report has no body", step=place)


def _has_body(text: str, sections: Sequence[Section]) -> bool:
    """A section of its own with text in it, or text before any heading; a title is no body."""
    _, end = body_span(text)
    loose = text[: sections[0].heading_start] if sections else text
    return bool(loose.strip()) or any(
        text[section.start : section.end].strip()
        for section in sections
        if section.name is None and section.start < end
    )


def _citation_faults(trace: Trace) -> Iterator[Violation]:
    """Citations of every answer resolve, and listed references were really seen."""
    known = trace.sources if trace.sources is not None else seen_sources(trace.steps)
    ledger = Ledger(known)
    for index, step in enumerate(trace.steps):
        if step.kind not in {"subtask_answer", "suggested_answer"}:
            continue
        listed = reference_list(step.text)
        if trace.sources is None and not listed:
            continue  # bare text does not say what its numbers meant
        place = {"step": index, "branch": step.branch}
        for number in sorted({mark.number for mark in citation_marks(step.text)}):
            if ledger.resolve(number, listed) is None:
                text = f"[{number}] resolves to no source of this run"
                yield Violation(code="dangling_citation", message=text, **place)
        for reference in listed.values():
            if reference.url and ledger.resolve(reference.number, listed) is None:
                text = f"reference [{reference.number}] was never seen: {reference.url[:200]}"
                yield Violation(code="unknown_reference", message=text, **place)


def _short(text: str) -> str:
    flat = " ".join(text.split())
    flat = escape_world(flat)  # it goes back to the policy as a correction
    return repr(flat if len(flat) <= 80 else flat[:79] + "…")
