"""How a run ended, decided from what happened: `docs/outcomes.md` is the table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from oresearch_graph.evidence.ledger import source_heads
from oresearch_graph.graph.state import (
    Answer,
    Findings,
    ResearchState,
    add_usage,
    spans_of,
    written_steps,
)
from oresearch_graph.trace import (
    HARMLESS,
    Failure,
    FailureName,
    Outcome,
    Protocol,
    Source,
    Step,
    Trace,
    Usage,
)

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
    more: list[FailureName] = []
    nothing = "evidence" not in happened.subtasks
    if "memory" in happened.subtasks or (nothing and not missing - {"no_evidence"}):
        more.append("no_evidence")
    if happened.pages_asked and not happened.pages_read:
        more.append("unread")
    if nothing or happened.report == "none":
        return Ended("failed", tuple(more))
    whole = set(happened.subtasks) == {"evidence"} and happened.report == "written"
    return Ended("complete" if whole and not missing and not more else "partial", tuple(more))


def _ending(
    findings: Sequence[Findings], subtasks: int, steps: Sequence[Step],
    sources: Sequence[Source], failures: Sequence[Failure],
) -> tuple[Outcome, list[Failure]]:  # fmt: skip
    """The outcome of a run of so many subtasks, and what it adds to the failures."""
    open_ones: list[Answer] = ["open"] * (subtasks - len(findings))
    crawls = _crawls(steps)
    pages = sum(bool(source_heads(text)) for text in crawls)
    reported = any(
        step.kind == "suggested_answer" and step.branch is None and step.text.strip()
        for step in steps
    )
    there: Delivered = "answers" if any(branch.answered for branch in findings) else "none"
    ended = outcome(
        Happened(
            (*map(_answer, findings), *open_ones),
            pages, len(crawls), "written" if reported else there,
            tuple(failure.name for failure in failures),
        )
    )  # fmt: skip
    more: list[Failure] = []
    if "no_evidence" in ended.named:
        more += _no_evidence(findings, len(sources), ended.outcome, failures)
    if "unread" in ended.named:
        more.append(_unread(steps, len(crawls)))
    return ended.outcome, more


def assemble(
    state: ResearchState, models: dict[str, str], *, more: Sequence[Failure] = ()
) -> Trace:
    """The record of a run from its state, `more` failures added."""
    run, findings = state["run"], state.get("findings", [])
    failures = [
        *state.get("failures", []),
        *(f for branch in findings for f in branch.failures),
        *_not_researched(state, findings),
        *more,
    ]
    # The state of a run that has ended holds what its branches have; a fork may go on from there.
    failures = list(dict.fromkeys(failures)) if state.get("trace") else failures
    steps = (*written_steps(state), *state.get("summary", []))
    sources = state.get("sources", [])
    of_run = {(usage.role, usage.branch) for usage in state.get("usage", [])}
    of_branches = [u for branch in findings for u in branch.usage]
    of_branches = [u for u in of_branches if (u.role, u.branch) not in of_run]
    usage = add_usage(state.get("usage", []), of_branches)
    ended, more_failures = _ending(
        findings, len(state.get("subtasks", [])), steps, sources, failures
    )
    return Trace(
        id=run.id,
        question=run.question,
        language=run.language,
        protocol=_protocol(run.protocol, findings),
        steps=steps,
        sources=tuple(sources),
        outcome=ended,
        failures=(*failures, *more_failures),
        usage=tuple(usage),
        spans=tuple(spans_of(state)),
        models=_writers(usage, models),
        created=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
    )


def _protocol(protocol: Protocol, findings: Sequence[Findings]) -> Protocol:
    """What the policies were told, and who changed it on the way."""
    names = sorted({name for branch in findings for name in branch.changed_by})
    return protocol.model_copy(update={"changed_by": tuple(names)}) if names else protocol


def _writers(usage: Sequence[Usage], models: Mapping[str, str]) -> dict[str, str]:
    """Who wrote as which role: a run that was resumed with another model, or fell back to one, has
    had two."""
    writers: dict[str, list[str]] = {}
    for each in usage:
        if each.role in models and each.calls > each.unanswered and each.model:
            writers.setdefault(each.role, []).append(each.model)
    return {
        role: ", ".join(dict.fromkeys(writers.get(role) or [name])) for role, name in models.items()
    }


def _not_researched(state: ResearchState, findings: Sequence[Findings]) -> list[Failure]:
    """A subtask whose researcher is missing from the state: a fork or a stop left it out.

    A policy that reports before its last subtask did so itself: a violation, not a failure.
    """
    if any(branch.reported for branch in findings):
        return []
    missing = set(range(1, len(state.get("subtasks", [])) + 1)) - {f.branch for f in findings}
    return [
        Failure(
            name="not_covered",
            fault="person",
            message=f"subtask {branch} was not researched",
            role="researcher",
            branch=branch,
        )
        for branch in sorted(missing)
    ]


def with_failures(trace: Trace, failures: Sequence[Failure]) -> Trace:
    """The record of a run with failures that came to light when it was closed."""
    missing = any(failure.name not in HARMLESS for failure in failures)
    lessened: Outcome = "partial" if missing and trace.outcome == "complete" else trace.outcome
    update = {"outcome": lessened, "failures": (*trace.failures, *failures)}
    return trace.model_copy(update=update)


def _crawls(steps: Sequence[Step]) -> list[str]:
    """What the calls that asked for pages brought; those that were not carried out are left out."""
    answers = [
        after.text
        for before, after in pairwise(step for step in steps if step.kind != "stray")
        if before.kind == "crawl_page" and after.kind == "observation"
    ]
    return [text for text in answers if not text.startswith(_REFUSED)]


def _answer(branch: Findings) -> Answer:
    """An answer without a source, of a branch whose tools were out of order, is not the policy's
    doing."""
    excused = any(failure.fault == "infrastructure" for failure in branch.failures)
    return "nothing" if branch.answer == "memory" and excused else branch.answer


_REFUSED: Final = ("This very call", "This call could not be", "This call was not")
"""How a call is answered that is not carried out."""
_FAULT: Final = re.compile(r"^\S{1,2000}: could not be read: (?P<why>.{1,300})", re.MULTILINE)


def _no_evidence(
    findings: Sequence[Findings], sources: int, ended: Outcome, failures: Sequence[Failure]
) -> list[Failure]:
    remembered = [
        Failure(
            name="no_evidence", fault="policy", role="researcher", branch=branch.branch,
            message="it was answered from memory: no source was shown before the answer",
        )
        for branch in findings
        if _answer(branch) == "memory"
    ]  # fmt: skip
    if ended == "failed" and all(f.name != "no_evidence" or f.branch for f in failures):
        message = f"no evidence was found for this question ({sources} sources were looked at)"
        remembered.append(
            Failure(name="no_evidence", fault="policy", message=message, role="summarizer")
        )
    return remembered


def _unread(steps: Sequence[Step], calls: int) -> Failure:
    """The web's fault; one page's words stand for all."""
    observations = (step.text for step in steps if step.kind == "observation")
    fault = next(filter(None, map(_FAULT.search, observations)), None)
    why = f" ({' '.join(fault['why'].split())})" if fault else ""
    what = "the one page asked for could not" if calls == 1 else f"no page of {calls} calls could"
    message = f"{what} be read{why}: there are search results only"
    return Failure(name="unread", fault="web", message=message, role="researcher")
