"""A Trace with pieces of its texts replaced, its claims and their evidence still in place."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import NamedTuple

from oresearch_graph.trace import CitationReport, Claim, Evidence, Source, Step, Trace, text_hash


class Edit(NamedTuple):
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


class Edits:
    """Replacements in one text; of two that overlap the one that begins first is made."""

    def __init__(self, text: str, edits: Iterable[Edit]) -> None:
        self.applied: list[Edit] = []
        """Those that count, in order."""
        for edit in sorted(edits):
            if not self.applied or edit.start >= self.applied[-1].end:
                self.applied.append(edit)
        self._starts = [edit.start for edit in self.applied]
        self._shifts = [0]
        """How far text has moved before the first edit, after the first, and so on."""
        for edit in self.applied:
            self._shifts.append(self._shifts[-1] + len(edit.new) - (edit.end - edit.start))
        self.text = self._rewritten(text) if self.applied else text

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a span went; one that cuts into a replaced piece takes all of what it became."""
        return self._place(start, end=False), self._place(end, end=True)

    def _place(self, at: int, *, end: bool) -> int:
        before = bisect_right(self._starts, at - 1 if end else at)
        if before and at < self.applied[before - 1].end:
            edit = self.applied[before - 1]
            begins = edit.start + self._shifts[before - 1]
            return begins + len(edit.new) if end else begins
        return at + self._shifts[before]

    def _rewritten(self, text: str) -> str:
        pieces, at = list[str](), 0
        for edit in self.applied:
            pieces += [text[at : edit.start], edit.new]
            at = edit.end
        return "".join([*pieces, text[at:]])


StepEdits = Callable[[int, Step], Iterable[Edit]]
"""Given a step's index and the step."""


def rewritten(
    trace: Trace, step_edits: StepEdits, text_edits: Callable[[str], Iterable[Edit]] | None = None
) -> Trace:
    """The trace with its steps edited, and its question and its sources' texts by `text_edits`."""
    edits = [Edits(step.text, step_edits(i, step)) for i, step in enumerate(trace.steps)]
    steps = tuple(
        step.model_copy(update={"text": edit.text}) if edit.applied else step
        for step, edit in zip(trace.steps, edits, strict=True)
    )
    sources = {s.id: Edits(s.text, text_edits(s.text)) for s in trace.sources or () if text_edits}
    answers = [i for i, step in enumerate(trace.steps) if step.kind == "suggested_answer"]
    update: dict[str, object] = {"steps": steps}
    if trace.citations is not None and answers:
        update["citations"] = _moved(trace.citations, edits[answers[-1]], sources)
    if text_edits:
        update["sources"] = _edited(trace.sources, sources)
        update["question"] = Edits(trace.question, text_edits(trace.question)).text
    return trace.model_copy(update=update)


def _edited(
    sources: tuple[Source, ...] | None, edits: dict[int, Edits]
) -> tuple[Source, ...] | None:
    if sources is None:
        return None
    return tuple(
        source.model_copy(update={"text": edit.text, "sha256": text_hash(edit.text)})
        if (edit := edits[source.id]).applied
        else source
        for source in sources
    )


def _moved(report: CitationReport, answer: Edits, sources: dict[int, Edits]) -> CitationReport:
    claims = tuple(_moved_claim(claim, answer, sources) for claim in report.claims)
    return report.model_copy(update={"claims": claims})


def _moved_claim(claim: Claim, answer: Edits, sources: dict[int, Edits]) -> Claim:
    start, end = answer.span(claim.start, claim.end)
    evidence = tuple(_moved_evidence(e, sources.get(e.source)) for e in claim.evidence)
    return claim.model_copy(
        update={"start": start, "end": end, "text": answer.text[start:end], "evidence": evidence}
    )


def _moved_evidence(evidence: Evidence, edits: Edits | None) -> Evidence:
    if edits is None or not edits.applied:
        return evidence
    start, end = edits.span(evidence.start, evidence.end)
    return evidence.model_copy(update={"start": start, "end": end, "quote": edits.text[start:end]})
