"""The deterministic check of a report: does what a cited sentence states stand in its sources?

Every quote, figure and name of the sentence must stand in one of the sources it cites, figures
exactly, and the sentence must share enough of its content terms with a passage there. Not covered:
negation and other changes of meaning that keep all words. A claim in another script than its
source is judged by its quotes, figures and Latin names in Chinese text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.claim_parts import Parts, checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from oresearch_graph.trace.record import CitationReport, Claim, Evidence, Source
from oresearch_graph.trace.references import (
    Ledger,
    Mark,
    Reference,
    body_span,
    citation_marks,
    reference_list,
    same_address,
)
from oresearch_graph.trace.report_form import find_sections

OVERLAP_WITH_PARTS: Final = 0.3
"""Share of a sentence's terms in the best passages when its checkable parts were found. The
planted wrong sources of the tests reach 0.25 at most, paraphrases with figures 0.4 at least."""
OVERLAP_ALONE: Final = 0.55
"""The same without any checkable part."""
OVERLAP_ALONE_CJK: Final = 0.45
"""Bigrams at word borders differ between paraphrases: less is asked."""
NEARBY: Final = 0.3
"""Share of a sentence's terms that must stand around a figure for it to be the same figure."""

_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_HEADING: Final = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*]+\*\*[:：]?$)")


class _Sentence(NamedTuple):
    start: int
    end: int
    marks: tuple[Mark, ...]


def verify_report(report: str, sources: Sequence[Source]) -> CitationReport:
    """Check every cited sentence of a report; spans index into `report` exactly."""
    sentences = _sentences(report)
    references = reference_list(report)
    judge = _Judge(Ledger(sources), references, detect_language(report))
    claims = [judge.claim(report, sentence) for sentence in sentences if sentence.marks]
    return CitationReport(claims=tuple(claims), sentences=len(sentences))


def _sentences(report: str) -> list[_Sentence]:
    """The body's sentences with their marks; headings, fences and bare marks are none."""
    _, end = body_span(report)
    headings = {section.heading_start for section in find_sections(report)}
    spans: list[tuple[int, int]] = []
    for start, stop in sentence_spans(report[:end]):
        text = report[start:stop]
        if start in headings or _FENCE.match(text) or _HEADING.match(text):
            continue
        if not _has_words(text):
            if spans:
                spans[-1] = (spans[-1][0], stop)
            continue
        spans.append((start, stop))
    return list(_with_marks(spans, citation_marks(report)))


def _has_words(text: str) -> bool:
    return re.search(r"[^\W\d_]", text) is not None


def _with_marks(spans: Sequence[tuple[int, int]], marks: Sequence[Mark]) -> Iterator[_Sentence]:
    starts = [start for start, _ in spans]
    held: dict[int, list[Mark]] = {}
    for mark in marks:
        held.setdefault(bisect_right(starts, mark.start) - 1, []).append(mark)
    for i, (start, end) in enumerate(spans):
        yield _Sentence(start, end, tuple(m for m in held.get(i, ()) if m.end <= end))


class _Judge:
    """Looks claims up; indexes a source when it is first cited."""

    def __init__(self, ledger: Ledger, references: dict[int, Reference], language: str) -> None:
        self.ledger, self.references, self.language = ledger, references, language
        self.indexes: dict[int, SourceIndex] = {}
        self.records: dict[str, list[Source]] = {}
        for source in ledger.by_id.values():
            self.records.setdefault(same_address(source.url), []).append(source)

    def claim(self, report: str, sentence: _Sentence) -> Claim:
        cited, dangling = self._resolved(report, sentence.marks)
        text = report[sentence.start : sentence.end]
        if not cited:
            return Claim(start=sentence.start, end=sentence.end, text=text, sources=(),
                         dangling=dangling, status="dangling")  # fmt: skip
        records = self._all_shown(cited)
        missing, evidence, enough = _looked_up(checkable_parts(text, self.language), records)
        return Claim(
            start=sentence.start, end=sentence.end, text=text, dangling=dangling,
            sources=tuple(source.id for source in cited), missing=missing, evidence=evidence,
            status="supported" if enough and not missing else "unsupported",
        )  # fmt: skip

    def _resolved(self, report: str, marks: Sequence[Mark]) -> tuple[list[Source], tuple[str, ...]]:
        cited: dict[int, Source] = {}
        dangling: list[str] = []
        for mark in marks:
            source = self.ledger.resolve(mark.number, self.references)
            if source is None:
                alone = report[mark.start : mark.end].strip("[]【】 ").isdigit()
                dangling.append(report[mark.start : mark.end] if alone else f"[{mark.number}]")
            else:
                cited[source.id] = source
        return list(cited.values()), tuple(dict.fromkeys(dangling))

    def _all_shown(self, cited: Sequence[Source]) -> list[SourceIndex]:
        """Every record of the cited addresses: branches see different passages of one page."""
        addresses = dict.fromkeys(same_address(source.url) for source in cited)
        return [self._index(source) for a in addresses for source in self.records[a]]

    def _index(self, source: Source) -> SourceIndex:
        if source.id not in self.indexes:
            self.indexes[source.id] = SourceIndex(source)
        return self.indexes[source.id]


def _looked_up(
    parts: Parts, cited: Sequence[SourceIndex]
) -> tuple[tuple[str, ...], tuple[Evidence, ...], bool]:
    """What is missing, where the rest stands, and whether enough terms are shared."""
    order = terms(parts.prose)
    wanted = frozenset(order)
    foreign = all(has_cjk(parts.prose) != has_cjk(index.source.text) for index in cited)
    nearby = 0.0 if foreign else NEARBY
    missing = [quote for quote in parts.quotes if not any(i.quotes(quote) for i in cited)]
    missing += [
        f.text for f in parts.figures if not any(i.states(f, wanted, nearby) for i in cited)
    ]
    if not foreign or has_cjk(parts.prose):
        missing += [name for name in parts.names if not any(i.names(name) for i in cited)]
    found = [evidence for i in cited if (evidence := i.align(parts.prose, order)) is not None]
    enough = _overlap(wanted, cited) >= _needed(parts, foreign=foreign)
    return tuple(missing), tuple(found), enough


def _needed(parts: Parts, *, foreign: bool) -> float:
    if parts.checkable:
        return 0.0 if foreign else OVERLAP_WITH_PARTS
    return OVERLAP_ALONE_CJK if has_cjk(parts.prose) else OVERLAP_ALONE


def _overlap(wanted: frozenset[str], cited: Sequence[SourceIndex]) -> float:
    """Share of the terms that stand around the best passage of each cited source, together."""
    if not wanted:
        return 0.0
    held: set[str] = set()
    for index in cited:
        best = max(
            (index.around(i) & wanted for i in index.ranked(sorted(wanted))[:4]),
            key=len,
            default=frozenset[str](),
        )
        held |= best
    return len(held) / len(wanted)
