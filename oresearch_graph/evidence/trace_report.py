"""The report of a Trace as it is delivered: its answer checked, renumbered and noted on; and the
check of the answer as the policy wrote it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.delivery import Delivered, deliver
from oresearch_graph.trace.record import CitationReport, Failure, FailureName, Source, Trace

HARMLESS: Final[frozenset[FailureName]] = frozenset(("repaired", "plan_fallback", "grammar"))
"""Failures after which nothing is missing, as long as the subtasks were answered."""


def delivered_answer(text: str, trace: Trace) -> tuple[CitationReport, Delivered]:
    """An answer of the trace, checked against its sources, and the report made of it."""
    sources: Sequence[Source] = trace.sources or ()
    citations = verify_report(text, sources)
    missing = [_missing(f, trace.subtasks) for f in trace.failures if f.name not in HARMLESS]
    delivered = deliver(
        text,
        sources,
        citations,
        language=trace.language,
        not_covered=missing,
        extractive=trace.extractive,
    )
    return citations, delivered


def citations_of(trace: Trace) -> CitationReport | None:
    """The check of the trace's answer: its own, else made here. None: there is no answer, or no
    text of its sources is known, so that nothing could be checked."""
    if trace.citations is not None or trace.answer is None:
        return trace.citations
    if not any(source.text for source in trace.sources or ()):
        return None
    return verify_report(trace.answer.text, trace.sources or ())


def _missing(failure: Failure, subtasks: Sequence[str]) -> str:
    """A failure as readers of the report are told it: what it left out, and why."""
    if failure.branch is None or failure.branch > len(subtasks):
        return failure.message
    return f"{subtasks[failure.branch - 1]} ({failure.message})"
