"""SFT rows: a trace as the columns that `rl.sft` reads, with where it comes from beside them.

Columns beyond those of `oresearch_graph.rows.sft.SFTRow`: `seed`, `language`, `domain`, `models`,
`quality`; `sources`, the ledger without its texts (`id` joins them to the configuration `sources`;
`number` is what stands in this row's brackets, None where it is not shown); `citations`, the
report's claims: `start` and `end` count characters of all segments joined, `evidence` points into
the text of a source. `sha256` is over the row's other columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from datagen.export.prepared import PreparedTrace
from oresearch_graph.rows.files import Row
from oresearch_graph.rows.sft import RowsMode, ThreadPart, thread_parts, thread_row
from oresearch_graph.trace import Claim, Source, Trace, open_tag, render_steps
from oresearch_graph.trace.references import same_address


class About(NamedTuple):
    """What is known of a trace beyond itself."""

    seed: str
    domain: str | None
    quality: float | None


def about_row(trace: Trace, about: About) -> Row:
    """The columns about a trace that every kind of row has."""
    return {
        "seed": about.seed,
        "language": trace.language,
        "domain": about.domain,
        "models": [{"role": role, "name": name} for role, name in sorted(trace.models.items())],
        "quality": about.quality,
    }


def sft_rows(prepared: PreparedTrace, system: str, mode: RowsMode, about: About) -> Iterator[Row]:
    """The rows of a trace; for a linear one it must be whole. Raises UnclearThreads."""
    trace = prepared.trace
    numbers = prepared.numbers if mode == "linear" else None
    for part in thread_parts(trace, mode):
        row = thread_row(trace, part, system)
        if row.policy_text:
            yield {
                **row.model_dump(mode="json"),
                **about_row(trace, about),
                "sources": [_source(s, numbers) for s in _sources(trace, part)],
                "citations": _citations(trace, part),
            }


def assistant_text(row: Row) -> str:
    """All segments joined: what citations' places count in."""
    return "".join(segment["text"] for segment in row["segments"])


def _sources(trace: Trace, part: ThreadPart) -> Sequence[Source]:
    """A researcher's own sources; all of them where the report is written; none for the plan."""
    sources = trace.sources or ()
    if part.role == "planner":
        return ()
    if part.role == "researcher":
        return [source for source in sources if source.branch == part.branch]
    return sources


def _source(source: Source, numbers: Mapping[str, int] | None) -> Row:
    number = source.id if numbers is None else numbers.get(same_address(source.url))
    return {
        "id": source.id,
        "number": number,
        "url": source.url,
        "title": source.title,
        "sha256": source.sha256,
    }


def _citations(trace: Trace, part: ThreadPart) -> list[Row]:
    place = _answer_place(trace, part)
    if place is None or trace.citations is None:
        return []
    return [_claim(claim, place) for claim in trace.citations.claims]


def _answer_place(trace: Trace, part: ThreadPart) -> int | None:
    """Where the report's text begins in the row; None in a row without it."""
    steps = (*part.context, *part.steps)
    at = next((i for i in reversed(range(len(steps))) if steps[i] is trace.answer), None)
    if at is None:
        return None
    step = steps[at]
    head = len(step.lead) + (len(open_tag(step.kind)) if step.opened is not None else 0)
    return len(render_steps(steps[:at], trace.protocol.tools)) + head


def _claim(claim: Claim, place: int) -> Row:
    return {
        "start": place + claim.start,
        "end": place + claim.end,
        "text": claim.text,
        "status": claim.status,
        "sources": list(claim.sources),
        "evidence": [evidence.model_dump(mode="json") for evidence in claim.evidence],
    }


def source_row(trace: Trace, seed: str) -> Row:
    """The ledger of a trace with its texts."""
    columns = {"id", "url", "title", "text", "sha256", "read", "published"}
    return {
        "trace_id": trace.id,
        "seed": seed,
        "sources": [
            source.model_dump(mode="json", include=columns) for source in trace.sources or ()
        ],
    }
