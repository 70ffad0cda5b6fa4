"""A Trace with pieces of its texts replaced, its claims and their evidence still in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from datagen.export.edits import Edit, Edits
from oresearch_graph.trace import CitationReport, Claim, Evidence, Source, Step, Trace, text_hash

StepEdits = Callable[[int, Step], Iterable[Edit]]
"""Given a step's index and the step."""


def rewritten(
    trace: Trace, step_edits: StepEdits, text_edits: Callable[[str], Iterable[Edit]] | None = None
) -> Trace:
    """The trace with its steps edited, and its question and its sources' texts by `text_edits`."""
    edits = [Edits(step.text, step_edits(i, step)) for i, step in enumerate(trace.steps)]
    steps = tuple(
        step.model_copy(update={"text": edit.text}) if edit.made else step
        for step, edit in zip(trace.steps, edits, strict=True)
    )
    shown = {s.id: Edits(s.text, text_edits(s.text)) for s in trace.sources or () if text_edits}
    answers = [i for i, step in enumerate(trace.steps) if step.kind == "suggested_answer"]
    update: dict[str, object] = {"steps": steps}
    if trace.citations is not None and answers:
        update["citations"] = _moved(trace.citations, edits[answers[-1]], shown)
    if text_edits:
        update["sources"] = _edited(trace.sources, shown)
        update["question"] = Edits(trace.question, text_edits(trace.question)).text
    return trace.model_copy(update=update)


def _edited(
    sources: tuple[Source, ...] | None, shown: dict[int, Edits]
) -> tuple[Source, ...] | None:
    if sources is None:
        return None
    return tuple(
        source.model_copy(update={"text": edit.text, "sha256": text_hash(edit.text)})
        if (edit := shown[source.id]).made
        else source
        for source in sources
    )


def _moved(report: CitationReport, answer: Edits, shown: dict[int, Edits]) -> CitationReport:
    claims = tuple(_moved_claim(claim, answer, shown) for claim in report.claims)
    return report.model_copy(update={"claims": claims})


def _moved_claim(claim: Claim, answer: Edits, shown: dict[int, Edits]) -> Claim:
    start, end = answer.span(claim.start, claim.end)
    evidence = tuple(_moved_evidence(e, shown.get(e.source)) for e in claim.evidence)
    return claim.model_copy(
        update={"start": start, "end": end, "text": answer.text[start:end], "evidence": evidence}
    )


def _moved_evidence(evidence: Evidence, edits: Edits | None) -> Evidence:
    if edits is None or not edits.made:
        return evidence
    start, end = edits.span(evidence.start, evidence.end)
    return evidence.model_copy(update={"start": start, "end": end, "quote": edits.text[start:end]})
