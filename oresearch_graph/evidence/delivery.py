"""The report that people read, made from the answer as the policy wrote it.

Citations are renumbered by first appearance, those that lead nowhere are removed and named, claims
that their sources do not bear out are marked, what a reader of Markdown would act upon is disarmed,
and the references are rendered from the ledger. The policy's own step is left as it is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from langchain_core.messages.content import Citation, create_citation

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.notices import Notices, notices
from oresearch_graph.evidence.safe_markdown import markdown_text, safe_markdown
from oresearch_graph.trace.plain_text import admissible_address, body_text, without_overrides
from oresearch_graph.trace.record import CitationReport, Claim, Source
from oresearch_graph.trace.references import (
    Ledger,
    Mark,
    Reference,
    body_span,
    citation_marks,
    reference_list,
    same_address,
)
from oresearch_graph.trace.report_form import find_sections, heading_for


class Delivered(NamedTuple):
    """A report as delivered; `[n]` in it is `references[n - 1]`."""

    report: str
    references: tuple[Source, ...]
    dangling: tuple[str, ...]
    """Citation marks that were removed, as written."""
    marks: tuple[Mark, ...]
    """The citations of the delivered report."""


def deliver(
    answer: str,
    sources: Sequence[Source],
    citations: CitationReport,
    *,
    language: str | None,
    not_covered: Sequence[str] = (),
    extractive: bool = False,
) -> Delivered:
    """The report of an answer; `citations` is `verify_report(answer, sources)`."""
    words = notices(language)
    numbering = _Numbering(Ledger(sources), reference_list(answer))
    body, rest = _without_references(answer)
    flagged = [claim for claim in citations.claims if claim.status != "supported"]
    text = numbering.rewrite(body, flagged, words.unverified)
    if rest:
        text = f"{text.rstrip()}\n\n{numbering.rewrite(rest, (), '')}"
    notes = _notes(text, words, numbering.dangling, not_covered, extractive=extractive)
    told = "\n\n".join(part for part in (text.strip(), notes) if part)
    told = safe_markdown(without_overrides(body_text(told)))
    listed = _references(numbering.sources, language)
    report = "\n\n".join(part for part in (told, listed) if part) + "\n"
    return Delivered(
        report,
        tuple(numbering.sources),
        tuple(dict.fromkeys(numbering.dangling)),
        tuple(citation_marks(report)),
    )


def _without_references(answer: str) -> tuple[str, str]:
    """The text before the reference list, and sections that follow it."""
    _, end = body_span(answer)
    sections = [section for section in find_sections(answer) if section.heading_start >= end]
    after = [s.heading_start for s in sections if s.name != "references"]
    return answer[:end], answer[min(after) :] if after else ""


def _references(sources: Sequence[Source], language: str | None) -> str:
    if not sources:
        return ""
    lines = [
        f"[{number}]. {source.url} - {markdown_text(source.title) or source.url}"
        for number, source in enumerate(sources, 1)
    ]
    return "\n".join([f"## {heading_for('references', language)}", "", *lines])


def _notes(
    text: str, words: Notices, dangling: Sequence[str], not_covered: Sequence[str],
    *, extractive: bool,
) -> str:  # fmt: skip
    lines = []
    if words.unverified in text:
        lines.append(words.unverified_note)
    if dangling:
        lines.append(
            words.removed.format(", ".join(f"`{mark}`" for mark in dict.fromkeys(dangling)))
        )
    if not_covered:
        lines.append(
            words.not_covered.format("; ".join(item.rstrip(".。") for item in not_covered))
        )
    if extractive and words.extractive not in text:
        lines.append(words.extractive)
    return "\n>\n".join(f"> {line}" for line in lines)


class _Numbering:
    """Numbers sources by first appearance; one address is one number."""

    def __init__(self, ledger: Ledger, references: dict[int, Reference]) -> None:
        self.ledger, self.references = ledger, references
        self.sources: list[Source] = []
        self.dangling: list[str] = []
        self._numbers: dict[str, int] = {}

    def rewrite(self, text: str, flagged: Sequence[Claim], flag: str) -> str:
        """The text with its marks renumbered, the last one of each flagged claim flagged."""
        clusters = _clusters(text, citation_marks(text))
        starts = [cluster[0].start for cluster in clusters]
        places = [(claim, bisect_left(starts, claim.end) - 1) for claim in flagged]
        last = {starts[at] for claim, at in places if at >= 0 and starts[at] >= claim.start}
        pieces: list[str] = []
        end = 0
        for cluster in clusters:
            before = text[end : cluster[0].start]
            numbers = dict.fromkeys(n for mark in cluster if (n := self._number(mark)))
            shown = "".join(f"[{number}]" for number in numbers)
            if cluster[0].start in last:
                shown += flag if flag.startswith("（") else f" {flag}"
            pieces += [before if numbers else before.rstrip(" \t"), shown]
            end = cluster[-1].end
        return "".join([*pieces, text[end:]])

    def _number(self, mark: Mark) -> int | None:
        source = self.ledger.resolve(mark.number, self.references)
        if source is None:
            self.dangling.append(f"[{mark.number}]")
            return None
        address = same_address(source.url)
        if address not in self._numbers:
            self.sources.append(source)
            self._numbers[address] = len(self.sources)
        return self._numbers[address]


def _within(mark: Mark, claim: Claim) -> bool:
    return claim.start <= mark.start < claim.end


def _clusters(text: str, marks: Sequence[Mark]) -> list[list[Mark]]:
    """Marks that stand side by side, with nothing but blanks between them."""
    clusters: list[list[Mark]] = []
    for _, group in groupby(marks, key=lambda mark: mark.start):
        bracket = list(group)
        gap = text[clusters[-1][-1].end : bracket[0].start] if clusters else "x"
        if clusters and not gap.strip(" \t"):
            clusters[-1] += bracket
        else:
            clusters.append(bracket)
    return clusters


def citation_annotations(report: str, references: Sequence[Source]) -> list[Citation]:
    """LangChain's standard citation annotations of a delivered report, one per mark; indexes are
    characters of `report`, `cited_text` is what of the source the sentence rests on."""
    claims = verify_report(report, references).claims
    starts = [claim.start for claim in claims]
    found = []
    for i, mark in enumerate(citation_marks(report)):
        if not 1 <= mark.number <= len(references):
            continue
        source = references[mark.number - 1]
        found.append(
            create_citation(
                id=f"citation-{i + 1}",
                url=admissible_address(source.url),
                title=source.title or None,
                start_index=mark.start,
                end_index=mark.end,
                cited_text=_cited_text(claims, bisect_right(starts, mark.start), mark, source),
            )
        )
    return found


def _cited_text(claims: Sequence[Claim], after: int, mark: Mark, source: Source) -> str | None:
    """What the mark's claim, the last that begins before `after` claims, rests on."""
    quotes = (
        evidence.quote
        for claim in claims[max(after - 1, 0) : after]
        if _within(mark, claim)
        for evidence in claim.evidence
        if evidence.source == source.id
    )
    return next(quotes, None)
