"""A report as JSON: the shape that programs read. Fields are only ever added; `version` tells when
one changes its meaning. docs/report.md has them all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from oresearch_graph.prompts import own_question
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.marks import unmarked
from oresearch_graph.trace.plain_text import admissible_address
from oresearch_graph.trace.record import (
    HARMLESS,
    CitationReport,
    Claim,
    ClaimStatus,
    FailureName,
    Fault,
    Outcome,
    Source,
    Trace,
    known_sum,
)
from oresearch_graph.trace.references import same_address
from oresearch_graph.trace.validation import FrozenModel

_ACTIVE: Final = re.compile(
    "[<>&\x7f-\x9f\u2028\u2029"
    # Unicode's category Cf and Default_Ignorable_Code_Point
    "\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\uffff"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)


class RunCost(FrozenModel):
    """What a run has cost. Empty: not known."""

    model_calls: int
    """Requests to models, every try counted."""
    verifier_calls: int
    """Those among them that read the report against its sources."""
    unanswered: int
    """Tries among them that brought no answer."""
    tool_calls: int
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    estimated_tokens: int | None
    """Of what no server told; not among the tokens above."""
    cost: float | None
    """US dollars."""

    @classmethod
    def of(cls, trace: Trace) -> RunCost:
        """All roles together; what the extractive policy did is no call of a model."""
        calls = [usage for usage in trace.usage if usage.model != "extractive"]
        return cls(
            model_calls=sum(usage.calls for usage in calls),
            verifier_calls=sum(usage.calls for usage in trace.usage if usage.role == "verifier"),
            unanswered=sum(usage.unanswered for usage in calls),
            tool_calls=sum(usage.tool_calls for usage in trace.usage),
            prompt_tokens=known_sum(usage.prompt_tokens for usage in calls),
            cached_tokens=known_sum(usage.cached_tokens for usage in calls),
            completion_tokens=known_sum(usage.completion_tokens for usage in calls),
            estimated_tokens=known_sum(usage.estimated_tokens for usage in calls),
            cost=known_sum(c for usage in calls for c in (usage.cost, usage.estimated_cost)),
        )

    def in_words(self) -> str:
        """Calls, tokens and money; what is unknown, and what no model did, is left out."""
        if not self.model_calls:
            return f"{self.tool_calls} tool calls"
        tokens = known_sum((self.prompt_tokens, self.completion_tokens))
        notes = [f"{self.verifier_calls} to verify"] if self.verifier_calls else []
        notes += [f"{self.unanswered} unanswered"] if self.unanswered else []
        noted = f" ({', '.join(notes)})" if notes else ""
        parts = [f"{self.model_calls} model calls{noted}", f"{self.tool_calls} tool calls"]
        cached = f" ({self.cached_tokens:,} cached)" if self.cached_tokens else ""
        parts += [] if tokens is None else [f"{tokens:,.0f} tokens{cached}"]
        estimated = self.estimated_tokens
        parts += [f"about {estimated:,} tokens that were not told"] if estimated else []
        parts += [] if self.cost is None else [f"${self.cost:.4f}"]
        return ", ".join(parts)


class ReportQuote(FrozenModel):
    """Words of a source on which a claim rests."""

    source: int | None
    """Its number in `sources`."""
    text: str


class ReportClaim(FrozenModel):
    """A sentence that cites."""

    text: str
    """As its model wrote it, without its citations."""
    status: ClaimStatus
    """What is known of it: docs/evidence.md."""
    sources: tuple[int, ...]
    """Numbers in `sources` that it cites."""
    quotes: tuple[ReportQuote, ...]
    missing: tuple[str, ...]
    """What of it stands in none of them."""
    dangling: tuple[str, ...]
    """Its citations that lead nowhere, as written."""


class ReportSource(FrozenModel):
    """What `[number]` in the report leads to."""

    number: int
    url: str | None
    """Of the web or of your own documents; empty for all others."""
    title: str
    read: bool
    """The page was opened, not seen in a search result alone."""
    published: str | None


class MissingPart(FrozenModel):
    """Something that went wrong and left its mark."""

    name: FailureName
    fault: Fault
    """Whose."""
    message: str
    subtask: str | None
    """The one that it left out."""


class ReportRecord(FrozenModel):
    """A run as those see it who read its report."""

    version: Literal[1] = 1
    question: str
    language: str | None
    """ISO 639-1."""
    outcome: Outcome
    report: str | None
    """Markdown without pictures, HTML and links but the web's; empty where there is none. All other
    texts are plain, and may hold anything."""
    claims: tuple[ReportClaim, ...]
    sources: tuple[ReportSource, ...]
    missing: tuple[MissingPart, ...]
    accuracy: float | None
    """Claims that hold, as a share of those of which anything is known."""
    coverage: float | None
    """Sentences that cite a source and that nothing speaks against, as a share of all."""
    cost: RunCost
    models: dict[str, str]
    """Which model wrote, by role; `extractive` is none."""
    created: str | None
    """When the run began, ISO 8601."""
    trace_id: str

    @classmethod
    def of(cls, trace: Trace, report: str | None, citations: CitationReport | None) -> ReportRecord:
        """The record of a run from its parts."""
        ledger = {source.id: source for source in trace.sources or ()}
        sources = _sources(report, ledger) if report is not None else ()
        numbers = {same_address(source.url): source.number for source in sources if source.url}
        return cls(
            question=own_question(trace.question),
            language=trace.language,
            outcome=trace.outcome,
            report=report,
            claims=tuple(_claim(each, ledger, numbers) for each in citations.claims)
            if citations and report is not None else (),
            sources=sources,
            missing=tuple(_missing(trace)),
            accuracy=citations.accuracy if citations else None,
            coverage=citations.coverage if citations else None,
            cost=RunCost.of(trace),
            models=trace.models,
            created=trace.created,
            trace_id=trace.id,
        )  # fmt: skip

    def json_text(self) -> str:
        """Indented JSON in which nothing is markup, commands a terminal or cannot be seen: such
        characters are escaped."""
        text = self.model_dump_json(indent=2)
        return _ACTIVE.sub(_escaped, text) + "\n"


def _escaped(match: re.Match[str]) -> str:
    """JSON escapes UTF-16."""
    units = match[0].encode("utf-16-be").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


def _sources(report: str, ledger: Mapping[int, Source]) -> tuple[ReportSource, ...]:
    """The report's own list, with what the ledger knows of each address."""
    records: dict[str, list[Source]] = {}
    for source in ledger.values():
        records.setdefault(same_address(source.url), []).append(source)
    sources = []
    for number, reference in sorted(parse_answer(report).references.items()):
        same = records.get(same_address(reference.url), []) if reference.url else []
        published = next((source.published for source in same if source.published), None)
        sources.append(
            ReportSource(
                number=number,
                url=admissible_address(reference.url),
                title=reference.title,
                read=any(source.read for source in same),
                published=published,
            )
        )
    return tuple(sources)


def _claim(claim: Claim, ledger: Mapping[int, Source], numbers: Mapping[str, int]) -> ReportClaim:
    def number_of(source: int) -> int | None:
        return numbers.get(same_address(ledger[source].url)) if source in ledger else None

    cited = (number for source in claim.sources if (number := number_of(source)) is not None)
    quotes = {(number_of(each.source), each.quote): None for each in claim.evidence}
    return ReportClaim(
        text=unmarked(claim.text),
        status=claim.status,
        sources=tuple(dict.fromkeys(cited)),
        quotes=tuple(ReportQuote(source=source, text=text) for source, text in quotes),
        missing=claim.missing,
        dangling=claim.dangling,
    )


def _missing(trace: Trace) -> list[MissingPart]:
    subtasks = dict(enumerate(trace.subtasks, 1))
    return [
        MissingPart(
            name=failure.name,
            fault=failure.fault,
            message=failure.message,
            subtask=subtasks.get(failure.branch or 0),
        )
        for failure in trace.failures
        if failure.name not in HARMLESS
    ]
