"""Rules on how a trace came to be: whether it ended well, and who wrote it."""

from __future__ import annotations

from collections.abc import Iterator

from datagen.filter.case import Case, finding
from datagen.records import Finding


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
        if failure.name == "repaired":
            yield finding("repaired", f"corrected: {failure.message[:200]}", branch=failure.branch)


def extractive(case: Case) -> Iterator[Finding]:
    """A role was played without a language model."""
    if case.trace.extractive and not case.settings.allow_extractive:
        roles = [role for role, model in case.trace.models.items() if model == "extractive"]
        yield finding("extractive", f"no language model wrote as {', '.join(roles)}")


def extended_prompt(case: Case) -> Iterator[Finding]:
    """The policy was told more than the training prompt says."""
    if case.trace.protocol.extended and not case.settings.allow_extended:
        yield finding("extended_prompt", "an embedder's prompt additions were in force")
