"""violations: the only meaning of "well-formed".

The command line prints them, datagen rejects by them, the format reward counts them.

    trace  := subtask_list branch+ suggested_answer
    branch := subtask turn+ subtask_answer
    turn   := think (plan think?)? (call observation)*
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Literal, assert_never

from pydantic import ConfigDict

from oresearch_graph.trace.answer import ParsedAnswer, parsed_answers
from oresearch_graph.trace.call_counts import normal_text
from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.escaping import escape_world
from oresearch_graph.trace.look_alikes import as_seen
from oresearch_graph.trace.record import Trace
from oresearch_graph.trace.references import Ledger, seen_sources
from oresearch_graph.trace.report_form import HEADINGS, SECTIONS, Section
from oresearch_graph.trace.step import ANSWER_KINDS, CALL_KINDS, Step
from oresearch_graph.trace.tags import tag_pattern
from oresearch_graph.trace.validation import FrozenModel

ViolationCode = Literal[
    "no_subtask_list", "late_subtask_list", "repeated_subtask_list", "empty_subtask_list",
    "replaced_plan", "copied_subtask", "subtask_without_branch", "branch_not_listed",
    "interleaved_branches", "step_outside_branch", "fake_observation", "empty_think",
    "misplaced_subtask", "misplaced_report", "turn_without_think", "misplaced_plan",
    "branch_without_turn",
    "call_without_observation", "observation_without_call", "branch_without_answer",
    "step_after_answer", "empty_answer", "no_suggested_answer", "step_after_report",
    "stray_text", "missing_open_tag", "missing_close_tag", "nested_tag", "malformed_call",
    "no_introduction", "no_body", "no_conclusion", "no_references", "heading_language",
    "dangling_citation", "unknown_reference", "recovered",
]  # fmt: skip


class Violation(FrozenModel):
    """One departure from the protocol, with its place."""

    # A hostile text has a violation at every tag; looking for unknown fields is a seventh of each.
    model_config = ConfigDict(extra="ignore")

    code: ViolationCode
    message: str
    step: int | None = None
    """Index into `Trace.steps`; None when something is missing altogether."""
    branch: int | None = None
    declared: bool = False
    """A failure recorded in the trace owns up to it: the trace is honest, though not well-formed.
    """
    start: int | None = None
    """Where in the step's text it shows; None when the fault is that something lacks."""
    end: int | None = None


_FAKE: Final = re.compile(
    r"""
    < \s*+ observation \b [^<>]{0,80} > \s*+
    (?: \[\d{1,7}\][ ] | \#\#[ ]Query: | [^<]{1,4000} < \s*+ / \s*+ observation )
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""One with a source in it, or with text to its end: a word about the tag is none."""
_FAKE_SOURCE: Final = re.compile(
    r"< \s*+ observation \b [^<>]{0,80} > \s*+ (?: \[\d{1,7}\][ ] | \#\#[ ]Query: )",
    re.IGNORECASE | re.VERBOSE,
)
"""In an answer, which may tell of such tags: one with a source in it."""

_NAMED: Final[Mapping[str, ViolationCode]] = {
    "recovered": "recovered",
    "plan_fallback": "replaced_plan",
}
"""Failures that are violations too: what stands in the steps is not what the policy wrote."""
_OTHER_TEXT: Final = frozenset(("repaired", "revised"))
"""Failures of text that is not in the steps."""

_Span = tuple[int, int]


def violations(
    trace: Trace, answers: Mapping[int, ParsedAnswer] | None = None, *, written_from: int = 0
) -> tuple[Violation, ...]:
    """Everything in which the trace departs from the protocol, in order. Empty: well-formed.

    `answers` is `parsed_answers(trace)`, for a caller that has it already. The texts of steps
    before `written_from` are known, and not read again.
    """
    answers = parsed_answers(trace) if answers is None else answers
    faults = [*_tag_faults(trace, written_from), *_order_faults(trace), *_branch_faults(trace)]
    if (at := trace.answer_at) is not None:
        faults += _report_faults(trace, at, answers[at])
    faults += _citation_faults(trace, answers)
    faults += [
        Violation(code=code, message=failure.message, branch=failure.branch)
        for failure in trace.failures
        if (code := _NAMED.get(failure.name)) is not None
    ]
    declared = {failure.branch for failure in trace.failures if failure.name not in _OTHER_TEXT}
    end = len(trace.steps)
    faults.sort(key=lambda fault: end if fault.step is None else fault.step)
    if not declared:
        return tuple(faults)
    return tuple(
        fault.model_copy(update={"declared": True}) if fault.branch in declared else fault
        for fault in faults
    )


def _violation(
    code: ViolationCode, message: str, step: int, branch: int | None, span: _Span | None = None
) -> Violation:
    if span is None:
        return Violation(code=code, message=message, step=step, branch=branch)
    start, end = span
    return Violation(code=code, message=message, step=step, branch=branch, start=start, end=end)


def _whole(step: Step) -> _Span:
    """The span of a step that is itself what should not be."""
    return 0, len(step.text)


def _tag_faults(trace: Trace, start: int) -> Iterator[Violation]:
    tags = tag_pattern(trace.protocol.tools)
    for index, step in enumerate(trace.steps[start:], start):
        if step.author == "policy" and (fake := _fake_observation(step)):
            text = "an <observation> that the policy wrote"
            yield _violation("fake_observation", text, index, step.branch, fake)
        if step.author == "policy" and step.kind == "think" and not _says_anything(step.text):
            yield _violation("empty_think", "an empty <think>", index, step.branch)
        if step.kind == "stray":
            if step.text.strip():
                text = f"text outside every tag: {_short(step.text)}"
                yield _violation("stray_text", text, index, step.branch, _whole(step))
            continue
        if step.opened is None:
            text = f"</{step.tag}> without its opening tag"
            yield _violation("missing_open_tag", text, index, step.branch)
        if step.closed is None:
            text = f"<{step.tag}> is never closed"
            yield _violation("missing_close_tag", text, index, step.branch)
        if step.author == "policy" and (inner := tags.search(step.text)):
            text = f"{inner[0]} inside <{step.tag}>"
            yield _violation("nested_tag", text, index, step.branch, inner.span())
        if step.is_call and (fault := read_call(step).fault):
            yield _violation("malformed_call", fault, index, step.branch, _whole(step))


def _fake_observation(step: Step) -> _Span | None:
    """Where a step of the policy's holds what only tools show."""
    if step.kind == "observation":
        return _whole(step)
    fake = (_FAKE_SOURCE if step.kind in ANSWER_KINDS else _FAKE).search(step.text)
    return None if fake is None else fake.span()


def _says_anything(text: str) -> bool:
    """False without a letter or a figure that is seen."""
    return any(map(str.isalnum, as_seen(text)))


def _order_faults(trace: Trace) -> Iterator[Violation]:
    """The frame: the list first, then the branches, then the report."""
    steps = [(i, step) for i, step in enumerate(trace.steps) if step.kind != "stray"]
    lists = [i for i, step in steps if step.kind == "subtask_list"]
    reports = [i for i, step in steps if step.kind == "suggested_answer" and step.branch is None]
    if not lists:
        yield Violation(code="no_subtask_list", message="there is no <subtask_list>")
    elif not trace.subtasks:
        yield Violation(code="empty_subtask_list", message="<subtask_list> is empty", step=lists[0])
    if lists and lists[0] != steps[0][0]:
        text = "<subtask_list> is not the first step"
        yield Violation(code="late_subtask_list", message=text, step=lists[0])
    for index in lists[1:]:
        span = _whole(trace.steps[index])
        yield _violation("repeated_subtask_list", "a second <subtask_list>", index, None, span)
    for index, step in steps:
        if step.branch is None and step.kind not in {"subtask_list", "suggested_answer"}:
            text = f"<{step.tag}> outside every subtask"
            yield _violation("step_outside_branch", text, index, None, _whole(step))
        if reports and index > reports[0]:
            text = f"<{step.tag}> after the report"
            yield _violation("step_after_report", text, index, step.branch, _whole(step))
    if not reports:
        yield Violation(code="no_suggested_answer", message="there is no <suggested_answer>")
    yield from _listing_faults(trace)


def _listing_faults(trace: Trace) -> Iterator[Violation]:
    """A listed subtask without its branch is a violation, and so is a branch beyond the list."""
    subtasks, branches = trace.subtasks, trace.branches
    at = next((i for i, step in enumerate(trace.steps) if step.kind == "subtask_list"), None)
    first: dict[str, int] = {}
    for number, subtask in enumerate(subtasks, start=1):
        if (same := first.setdefault(normal_text(subtask), number)) != number:
            text = f"subtask {number} is subtask {same} again: {_short(subtask)}"
            yield Violation(code="copied_subtask", message=text, step=at, branch=number)
    for number, subtask in enumerate(subtasks, start=1):
        if number not in branches:
            text = f"subtask {number} was listed and never researched: {_short(subtask)}"
            yield Violation(code="subtask_without_branch", message=text, branch=number)
    for number in branches:
        if subtasks and number > len(subtasks):
            text = f"subtask {number} is not on the list"
            yield Violation(code="branch_not_listed", message=text, branch=number)
    last = 0
    for index, step in enumerate(trace.steps):
        if step.branch is not None and step.branch < last:
            text = f"a step of subtask {step.branch} after subtask {last} began"
            yield _violation("interleaved_branches", text, index, step.branch)
        last = max(last, step.branch or 0)


def _branch_faults(trace: Trace) -> Iterator[Violation]:
    by_branch: dict[int, list[tuple[int, Step]]] = {}
    for index, step in enumerate(trace.steps):
        if step.branch is not None and step.kind != "stray":
            by_branch.setdefault(step.branch, []).append((index, step))
    for branch, steps in by_branch.items():
        yield from _turn_faults(branch, steps)


def _turn_faults(branch: int, steps: Sequence[tuple[int, Step]]) -> Iterator[Violation]:
    """One branch against `subtask turn+ subtask_answer`."""
    before: str | None = None
    thought = answered = False
    if steps[0][1].kind != "subtask":
        text = f"subtask {branch} does not begin with <subtask>"
        yield _violation("misplaced_subtask", text, steps[0][0], branch, _whole(steps[0][1]))
    for at, (index, step) in enumerate(steps):
        after = steps[at + 1][1].kind if at + 1 < len(steps) else None
        if answered:
            text = f"<{step.tag}> after the subtask's answer"
            yield _violation("step_after_answer", text, index, branch, _whole(step))
        match step.kind:
            case "subtask":
                if at:
                    text = "a second <subtask> in one branch"
                    yield _violation("misplaced_subtask", text, index, branch, _whole(step))
            case "think":
                thought = True
            case "plan":
                if before != "think":
                    text = "<plan> without a <think> before it"
                    yield _violation("misplaced_plan", text, index, branch, _whole(step))
            case "web_search" | "crawl_page" | "tool_call":
                if not thought:
                    text = f"<{step.tag}> before any <think>"
                    yield _violation("turn_without_think", text, index, branch)
                if after != "observation":
                    text = f"<{step.tag}> has no observation"
                    yield _violation("call_without_observation", text, index, branch)
            case "observation":
                if before not in CALL_KINDS:
                    text = "<observation> answers no call"
                    yield _violation("observation_without_call", text, index, branch)
            case "subtask_answer":
                yield from _answer_faults(step, index, thought=thought)
                answered = True
            case "suggested_answer":
                text = f"<{step.tag}> inside subtask {branch}: write its <subtask_answer>"
                yield _violation("misplaced_report", text, index, branch, _whole(step))
            case "subtask_list" | "stray":
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
        yield _violation("branch_without_turn", text, index, step.branch)
    if not step.text.strip():
        yield _violation("empty_answer", "the subtask's answer is empty", index, step.branch)


def _report_faults(trace: Trace, at: int, report: ParsedAnswer) -> Iterator[Violation]:
    """The report has introduction, body, conclusion and references in its language."""
    sections = report.sections(trace.language)
    by_name = {section.name: section for section in reversed(sections) if section.name}
    for name in SECTIONS:
        code: ViolationCode = f"no_{name}"  # type: ignore[assignment]  # one code per section
        if (section := by_name.get(name)) is None:
            yield _violation(code, f"the report has no {name}", at, None)
        elif trace.language in HEADINGS and section.language != trace.language:
            text = f"the heading {section.heading!r} is not in the language {trace.language}"
            span = (section.heading_start, section.start)
            yield _violation("heading_language", text, at, None, span)
    if not _has_body(report, sections):
        yield _violation("no_body", "the report has no body", at, None)


def _has_body(report: ParsedAnswer, sections: Sequence[Section]) -> bool:
    """A section of its own with text in it, or text before any heading; a title is no body."""
    text = report.text
    loose = text[: sections[0].heading_start] if sections else text
    return bool(loose.strip()) or any(
        text[section.start : section.end].strip()
        for section in sections
        if section.name is None and section.start < report.body_end
    )


def _citation_faults(trace: Trace, answers: Mapping[int, ParsedAnswer]) -> Iterator[Violation]:
    """Citations of every answer resolve, and listed references were really seen."""
    sources = trace.sources if trace.sources is not None else seen_sources(trace.steps)
    ledger = Ledger(sources)
    for at, answer in answers.items():
        if trace.sources is None and not answer.references:
            continue  # bare text does not say what its numbers meant
        branch = trace.steps[at].branch
        first = {mark.number: (mark.start, mark.end) for mark in reversed(answer.marks)}
        for number in sorted(first):
            if answer.resolve(number, ledger) is None:
                text = f"[{number}] resolves to no source of this run"
                yield _violation("dangling_citation", text, at, branch, first[number])
        for link in answer.links:
            if answer.dangles(link, ledger):
                text = f"{_short(answer.name(link))} resolves to no source of this run"
                yield _violation("dangling_citation", text, at, branch, (link.start, link.end))
        places = {line.reference.url: line.address for line in reversed(answer.reference_lines)}
        places |= {entry.url: entry.address for entry in answer.entries}
        for number, reference in answer.references.items():
            if reference.url and answer.resolve(number, ledger) is None:
                text = f"reference [{number}] was never seen: {reference.url[:200]}"
                yield _violation("unknown_reference", text, at, branch, places[reference.url])


def _short(text: str) -> str:
    flat = " ".join(text.split())
    flat = escape_world(flat)  # it goes back to the policy as a correction
    return repr(flat if len(flat) <= 80 else flat[:79] + "…")
