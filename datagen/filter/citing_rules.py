"""Rules on the report's citations: that there are any, that their sources bear them out, and how
much of the body they carry. Marks that resolve to nothing are violations."""

from __future__ import annotations

from collections.abc import Iterator

from datagen.filter.case import Case, finding
from datagen.records import Finding


def unverifiable_citations(case: Case) -> Iterator[Finding]:
    """There is a report, and nothing to check its citations against."""
    if case.report is not None and case.citations is None:
        yield finding("unverifiable_citations", "the trace keeps no sources to check", case.report)


def uncited_report(case: Case) -> Iterator[Finding]:
    """The report was checked and cites nothing."""
    citations = case.citations
    if case.report is not None and citations is not None and not citations.claims:
        yield finding("uncited_report", "no sentence of the report carries a citation", case.report)


def citation_precision(case: Case) -> Iterator[Finding]:
    """Too many cited sentences are not borne out by their sources; each is a finding."""
    citations, least = case.citations, case.settings.min_precision
    if citations is None or citations.precision is None or citations.precision >= least:
        return
    rate = f"{citations.precision:.2f} of the cited sentences hold, at least {least:g} asked"
    for claim in citations.claims:
        if claim.status != "supported":
            lacks = f", the source lacks {', '.join(claim.missing)[:120]}" if claim.missing else ""
            text = f"{rate}; {claim.status}{lacks}"
            yield finding("citation_precision", text, case.report, (claim.start, claim.end))


def citation_coverage(case: Case) -> Iterator[Finding]:
    """Too few of the body's sentences carry a supported citation."""
    citations, least = case.citations, case.settings.min_coverage
    if (
        citations is None
        or citations.coverage is None
        or citations.coverage >= least
        or not citations.claims
    ):
        return
    share = f"{citations.coverage:.2f} of {citations.sentences} sentences"
    text = f"{share} carry a supported citation, at least {least:g} asked"
    yield finding("citation_coverage", text, case.report, (0, len(case.body)))
