"""How a run ended, decided from what happened: `docs/outcomes.md` is the table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from oresearch_graph.graph.state import Answer, Findings
from oresearch_graph.trace import HARMLESS, Failure, FailureName, Outcome, Source, Step, Trace

Delivered = Literal["written", "answers", "none"]
"""The report, the subtasks' answers in its place, or nothing."""


class Happened(NamedTuple):
    """What the outcome of a run depends on."""

    subtasks: tuple[Answer, ...]
    pages_read: int
    pages_asked: int
    report: Delivered
    failures: tuple[FailureName, ...] = ()


class Ended(NamedTuple):
    """How a run ended, and the failures that this adds to those on record."""

    outcome: Outcome
    named: tuple[FailureName, ...] = ()


def outcome(happened: Happened) -> Ended:
    """What a run may say of itself."""
    missing = set(happened.failures) - HARMLESS
    named: list[FailureName] = []
    nothing = "evidence" not in happened.subtasks
    if "memory" in happened.subtasks or (nothing and not missing - {"no_evidence"}):
        named.append("no_evidence")
    if happened.pages_asked and not happened.pages_read:
        named.append("unread")
    if nothing or happened.report == "none":
        return Ended("failed", tuple(named))
    whole = set(happened.subtasks) == {"evidence"} and happened.report == "written"
    return Ended("complete" if whole and not missing and not named else "partial", tuple(named))


def ending(
    findings: Sequence[Findings], subtasks: int, steps: Sequence[Step],
    sources: Sequence[Source], failures: Sequence[Failure],
) -> tuple[Outcome, list[Failure]]:  # fmt: skip
    """The outcome of a run of so many subtasks, and what it adds to the failures."""
    open_ones: list[Answer] = ["open"] * (subtasks - len(findings))
    asked = [step for step in steps if step.kind == "crawl_page" and step.closed is not None]
    read = sum(source.read and not source.url.startswith(_OF_TOOLS) for source in sources)
    written = any(
        step.kind == "suggested_answer" and step.branch is None and step.text.strip()
        for step in steps
    )
    there: Delivered = "answers" if any(branch.answered for branch in findings) else "none"
    ended = outcome(
        Happened(
            (*(branch.answer for branch in findings), *open_ones),
            read, len(asked), "written" if written else there,
            tuple(failure.name for failure in failures),
        )
    )  # fmt: skip
    more: list[Failure] = []
    if "no_evidence" in ended.named:
        more += _no_evidence(findings, len(sources), ended.outcome, failures)
    if "unread" in ended.named:
        more.append(_unread(steps, len(asked)))
    return ended.outcome, more


def with_failures(trace: Trace, failures: Sequence[Failure]) -> Trace:
    """The record of a run with failures that came to light when it was closed."""
    missing = any(failure.name not in HARMLESS for failure in failures)
    lessened: Outcome = "partial" if missing and trace.outcome == "complete" else trace.outcome
    update = {"outcome": lessened, "failures": (*trace.failures, *failures)}
    return trace.model_copy(update=update)


_OF_TOOLS: Final = "tool:"
_FAULT: Final = re.compile(r"^\S{1,2000}: could not be read: (?P<why>.{1,300})", re.MULTILINE)


def _no_evidence(
    findings: Sequence[Findings], sources: int, ended: Outcome, failures: Sequence[Failure]
) -> list[Failure]:
    named = [
        Failure(
            name="no_evidence", fault="policy", role="researcher", branch=branch.branch,
            message="it was answered from memory: no source was shown before the answer",
        )
        for branch in findings
        if branch.answer == "memory"
    ]  # fmt: skip
    if ended == "failed" and all(f.name != "no_evidence" or f.branch for f in failures):
        message = f"no evidence was found for this question ({sources} sources were looked at)"
        named.append(
            Failure(name="no_evidence", fault="policy", message=message, role="summarizer")
        )
    return named


def _unread(steps: Sequence[Step], asked: int) -> Failure:
    """The web's fault; one page's words stand for all."""
    observations = (step.text for step in steps if step.kind == "observation")
    fault = next(filter(None, map(_FAULT.search, observations)), None)
    why = f" ({' '.join(fault['why'].split())})" if fault else ""
    what = "the one page asked for could not" if asked == 1 else f"no page of {asked} calls could"
    message = f"{what} be read{why}: there are search results only"
    return Failure(name="unread", fault="web", message=message, role="researcher")
