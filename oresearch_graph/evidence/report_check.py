"""Anybody's report held against its sources: what is known of each sentence that cites."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, overload

from pydantic import ValidationError

from oresearch_graph.errors import CitationsNotUnderstood, ConfigurationError
from oresearch_graph.evidence.citations import sentences_of, verify_report
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.record import CitationReport, Claim, ClaimStatus, Source
from oresearch_graph.trace.references import same_address
from oresearch_graph.trace.validation import first_fault

_FIELDS: Final = ("url", "title", "text")


@dataclass(frozen=True)
class CheckedClaim:
    """A sentence that cites, and what is known of it."""

    sentence: str
    """Without its citations."""
    marks: tuple[str, ...]
    """Its citations, as written."""
    sources: tuple[str, ...]
    """The addresses that they lead to."""
    status: ClaimStatus
    missing: tuple[str, ...]
    """What of it stands in none of them."""
    quote: str | None
    """The passage in which most of it stands."""
    start: int
    end: int
    """Its place in the report."""


@dataclass(frozen=True, eq=False)
class CheckedReport(Sequence[CheckedClaim]):
    """The claims of a report, in order, and figures over them."""

    answer: ParsedAnswer
    sources: tuple[Source, ...]
    """Those given, and those cited of which nothing is known."""
    citations: CitationReport

    @cached_property
    def claims(self) -> tuple[CheckedClaim, ...]:
        """What is known of each sentence that cites."""
        marks = {start: cited for start, _, cited in sentences_of(self.answer)}
        urls = {source.id: source.url for source in self.sources}

        def checked(claim: Claim) -> CheckedClaim:
            best = max(claim.evidence, key=lambda evidence: evidence.score, default=None)
            written = (self.answer.text[mark.start : mark.end] for mark in marks[claim.start])
            return CheckedClaim(
                sentence=self.answer.plain(claim.start, claim.end),
                marks=tuple(dict.fromkeys(written)),
                sources=tuple(dict.fromkeys(urls[source] for source in claim.sources)),
                status=claim.status,
                missing=claim.missing,
                quote=best.quote if best else None,
                start=claim.start,
                end=claim.end,
            )

        return tuple(map(checked, self.citations.claims))

    @property
    def accuracy(self) -> float | None:
        """Claims that hold, as a share of those of which anything is known."""
        return self.citations.accuracy

    @property
    def counts(self) -> Mapping[ClaimStatus, int]:
        return self.citations.counts

    @overload
    def __getitem__(self, at: int) -> CheckedClaim: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[CheckedClaim, ...]: ...
    def __getitem__(self, at: int | slice) -> CheckedClaim | tuple[CheckedClaim, ...]:
        return self.claims[at]

    def __len__(self) -> int:
        return len(self.claims)


def check_report(report: str, sources: Iterable[Source | Mapping[str, Any]]) -> CheckedReport:
    """Check each cited sentence of a report against the texts of its sources.

    `sources` are records or mappings with `url`, `title` and `text`. A citation is resolved by the
    report's own list (its addresses, else its titles), by its address, or as the place of a source
    among them, from 1. What it leads to and is not among them is not checkable.

    Raises CitationsNotUnderstood when no citation leads anywhere, ConfigurationError for a report
    or a source that is none.
    """
    if not isinstance(report, str):
        raise ConfigurationError(f"the report is {type(report).__name__}, not text")
    answer = parse_answer(report)
    records = [_source(number, each) for number, each in enumerate(sources, 1)]
    records += _unknown(answer, records)
    citations = verify_report(answer, records)
    if (cause := not_understood(answer, citations)) is not None:
        raise CitationsNotUnderstood(cause)
    return CheckedReport(answer, tuple(records), citations)


def cited_addresses(report: str) -> list[str]:
    """The addresses that the report's citations lead to by the report itself, each once."""
    answer = parse_answer(report)
    addresses = (answer.address(citation) for citation in answer.citations)
    return list({same_address(url): url for url in addresses if url}.values())


def _source(number: int, given: Source | Mapping[str, Any]) -> Source:
    if isinstance(given, Source):
        return given.model_copy(update={"id": number})
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"source {number} is no mapping with url, title and text")
    url, title, text = (given.get(field) or "" for field in _FIELDS)
    if not url:
        raise ConfigurationError(f"source {number} has no url: each needs url, title and text")
    try:
        return Source.of(id=number, url=url, title=title, text=text, read=True)
    except (ValidationError, TypeError, AttributeError) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else "text is no string"
        raise ConfigurationError(f"source {number}: {fault}") from error


def _unknown(answer: ParsedAnswer, records: Sequence[Source]) -> Iterator[Source]:
    """The cited addresses of which nothing is known."""
    known = {same_address(record.url) for record in records}
    addresses = {same_address(url): url for url in map(answer.address, answer.citations) if url}
    unknown = (url for address, url in addresses.items() if address not in known)
    return (Source.of(id=n, url=url, text="") for n, url in enumerate(unknown, len(records) + 1))


def not_understood(answer: ParsedAnswer, citations: CitationReport) -> str | None:
    """Why nothing in a report can be checked: none of its citations leads anywhere."""
    if any(claim.sources for claim in citations.claims):
        return None
    if not answer.text.strip():
        return "the report is empty"
    if not citations.claims:
        listed = len(answer.references) or len(answer.entries)
        return (
            f"no citation was read in {citations.sentences} sentences"
            f"{f', beside a list of {listed} sources' if listed else ''}: cite as [1] with a list "
            "of references, or as [title](https://…)"
        )
    dangling = ", ".join(dict.fromkeys(m for claim in citations.claims for m in claim.dangling))
    return (
        f"{len(citations.claims)} sentences cite what leads nowhere, such as {dangling[:200]}: "
        "give the report a list with their addresses, or the sources in the order of their numbers"
    )
