"""Mending: the report is read against its sources by a model, and may be written once more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from langgraph.runtime import Runtime

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.source_index import flat
from oresearch_graph.graph.boundary import boundary
from oresearch_graph.graph.budget import Account, Budget
from oresearch_graph.graph.run_context import RunContext
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import ResearchState, written_steps
from oresearch_graph.graph.summarizer import report_faults
from oresearch_graph.judging.verifier import Verifier
from oresearch_graph.policies.chat.metering import metered
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Next, visible
from oresearch_graph.trace import (
    CitationReport,
    Claim,
    Failure,
    Source,
    Step,
    Usage,
    close_tag,
    render_steps,
)
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.marks import unmarked


class Mender:
    """The node after the report was written."""

    def __init__(self, pool: RunContextPool) -> None:
        self.pool = pool

    async def mend(
        self, state: ResearchState, runtime: Runtime[ResearchSettings]
    ) -> dict[str, Any]:
        """The report read by the verifier, and written once more where it finds fault, if that is
        the better one. The draft is kept in the failures."""
        run, answer = state["run"], _answer(state)
        if answer is None or not state.get("sources"):
            return {}
        async with self.pool.at_work(run, runtime.context) as run_context:
            return await self._mended(state, answer, run_context)

    async def _mended(
        self, state: ResearchState, answer: Step, run_context: RunContext
    ) -> dict[str, Any]:
        run = state["run"]
        run_context.restore(state)
        verifier = await asyncio.to_thread(run_context.verifier, run.serving)
        if verifier is None:
            return {}
        reader = _Reader(verifier, run_context.budget, state.get("sources", []))
        draft = await reader.read(answer.text)
        objections, settings = _objections(draft), run_context.settings
        may_mend = settings.corrections and not run_context.constrained
        if not objections or not may_mend or answer not in state.get("summary", []):
            return reader.update(draft)
        writer, failures = run_context.writer("summarizer"), list[Failure]()
        before = visible(written_steps(state), "summarizer", None, run.protocol.execution)
        thread = run_context.thread(
            run, Next(tag="suggested_answer"), role="summarizer", steps=before
        )
        text = render_steps([answer])
        thread = thread.model_copy(update={"corrections": ((text, objections),)})
        steps: tuple[Step, ...] = ()
        with boundary(failures, "summarizer"):
            continuation = await writer.write(
                thread,
                [close_tag("suggested_answer")],
                lambda new: report_faults(new, run.language, run.protocol),
                seconds=run_context.budget.remaining_seconds(),
            )
            steps = continuation.steps
            failures += continuation.failures
            if faults := report_faults(steps, run.language, run.protocol):
                reader.faults[f"the new report was no better written: {'; '.join(faults)}"] = None
        spoiled = [failure.message for failure in failures if failure.name != "repaired"]
        reader.faults |= dict.fromkeys(spoiled)
        mended = next((step.text for step in steps if step.kind == "suggested_answer"), "")
        update = reader.update(draft)
        if mended.strip() and not reader.faults:
            report = await reader.read(mended, before=draft)
            update = reader.update(draft)
            if not reader.faults and _is_better(report, mended, draft):
                revised = Failure(
                    name="revised", fault="policy", role="summarizer", rejected=answer.text,
                    message=f"written once more: {_faults(draft)} cited sentences were not borne "
                    f"out by their sources, {_faults(report)} are not now",
                )  # fmt: skip
                update = reader.update(report) | {"summary": list(steps)}
                update["failures"] = [*failures, revised]
        update["usage"] = [*update["usage"], *writer.usage]
        return update | {"spans": writer.spans}


class _Reader:
    """A report's verifier, within a run's budget."""

    def __init__(self, verifier: Verifier, budget: Budget, sources: Sequence[Source]) -> None:
        self._verifier, self._budget, self._sources = verifier, budget, sources
        self._usage = list[Usage]()
        self.faults = dict[str, None]()

    async def read(self, text: str, before: CitationReport | None = None) -> CitationReport:
        """What is known of a report: by its words, and by the model."""
        report = parse_answer(text)
        citations = await asyncio.to_thread(verify_report, report, self._sources)
        with metered("verifier", None, Account(self._budget, "verifier")) as meter:
            findings = await self._verifier.verify(
                report, citations, self._sources, before=before,
                seconds=self._budget.remaining_seconds(),
            )  # fmt: skip
        self._usage += meter.usage
        self.faults |= dict.fromkeys(findings.faults)
        return findings.citations

    def update(self, citations: CitationReport) -> dict[str, Any]:
        """The state's, with the check of the report that stands."""
        unverified = Failure(
            name="unverified", fault="infrastructure", role="summarizer",
            message=f"not all of the report was read or mended: {'; '.join(self.faults)}",
        )  # fmt: skip
        failures = [unverified] if self.faults else []
        return {"citations": citations, "usage": self._usage, "failures": failures}


_OBJECTIONS: Final = 60
"""Sentences that the summarizer is told of."""
_KEPT: Final = 0.8
"""Share of the sentences that hold which a mended report has, at least."""
_QUOTED: Final = 300
"""Characters of each."""


def _answer(state: ResearchState) -> Step | None:
    """The report as it was written, by the summarizer or a researcher of a sequential run."""
    steps = [*written_steps(state), *state.get("summary", [])]
    return next(
        (s for s in reversed(steps) if s.kind == "suggested_answer" and s.text.strip()), None
    )


def _faults(citations: CitationReport) -> int:
    return sum(claim.warns or claim.status == "dangling" for claim in citations.claims)


def _is_better(report: CitationReport, text: str, draft: CitationReport) -> bool:
    """Fewer faults, those among them that merely lost their citation; and no less that holds: a
    report without citations has no faults either."""
    words = flat(unmarked(text))
    cited = {claim.text for claim in report.claims}
    bare = sum(
        claim.text not in cited and flat(unmarked(claim.text)) in words
        for claim in draft.claims
        if claim.warns or claim.status == "dangling"
    )
    held = sum(claim.holds for claim in draft.claims)
    fewer = _faults(report) + bare < _faults(draft)
    return fewer and sum(claim.holds for claim in report.claims) >= _KEPT * held


def _objections(citations: CitationReport) -> str:
    """What the summarizer is told of its report; empty where nothing speaks against it."""
    lines = [
        f'- "{" ".join(claim.text.split())[:_QUOTED]}": {_objection(claim)}'
        for claim in citations.claims
        if claim.warns or claim.status == "dangling"
    ]
    if not lines:
        return ""
    listed = "\n".join(lines[:_OBJECTIONS])
    return (
        "these sentences were read against the sources that they cite, and are not borne out:\n"
        f"{listed}\nSay only what the sources say, cite the source that says it, or leave the "
        "sentence out. Keep the rest of the report as it is."
    )


def _objection(claim: Claim) -> str:
    parts = ", ".join(f'"{part}"' for part in claim.missing)
    match claim.status:
        case "dangling":
            return f"{', '.join(claim.dangling)} leads to no source"
        case "contradicted":
            return f"the source says otherwise{f' about {parts}' if parts else ''}"
        case _:
            return f"the source does not say {parts or 'it'}"
