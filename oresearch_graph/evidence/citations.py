"""Which sentences of a report cite what, and what is known of each by its sources."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.evidence.support import Support, support
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.marks import Link, Mark
from oresearch_graph.trace.record import CitationReport, Claim, ClaimStatus, Source, Trace
from oresearch_graph.trace.references import Ledger, same_address

_LONGEST: Final = 4_000
"""Characters of a sentence that are looked up."""
_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_HEADING: Final = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*]+\*\*[:：]?$)")
_QUOTE_MARK: Final = re.compile(r"^[ \t]*>+[ \t]?", re.MULTILINE)
_SEVERITY: Final[tuple[ClaimStatus, ...]] = (
    "quoted", "found", "not_checkable", "unchecked", "missing", "contradicted",
)  # fmt: skip
_READ: Final[frozenset[ClaimStatus]] = frozenset(("found", "unchecked", "not_checkable"))
_LETTER: Final = re.compile(r"[^\W\d_]")


class AnswerSentence(NamedTuple):
    """A span of an answer's text, and the marks in it."""

    start: int
    end: int
    marks: tuple[Mark | Link, ...]


def verify_report(report: ParsedAnswer, sources: Sequence[Source]) -> CitationReport:
    """Check every cited sentence of a report; spans index into its text exactly."""
    sentences = list(sentences_of(report))
    check = _Check(report, sources)
    claims = [claim for each in sentences if each.marks and (claim := check.claim(each))]
    return CitationReport(claims=tuple(claims), sentences=len(sentences))


def in_words(counts: Mapping[ClaimStatus, int]) -> str:
    """How many cited sentences have which status: `12 quoted, 3 not checkable`."""
    return ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in counts.items())


def citations_of(trace: Trace) -> CitationReport | None:
    """The check of the trace's answer: its own, else made here. None: there is no answer, or no
    text of its sources is known, so that nothing could be checked."""
    if trace.citations is not None or trace.answer is None:
        return trace.citations
    if not any(source.text for source in trace.sources or ()):
        return None
    return verify_report(parse_answer(trace.answer.text), trace.sources or ())


def undecided(claim: Claim) -> bool:
    """True for what a model can tell more of: words that are there word for word say themselves;
    what is nowhere there, or otherwise, needs no reader: people bear nine of ten such warnings out.
    """
    return claim.status in _READ and not claim.missing


def with_verdicts(
    citations: CitationReport, before: CitationReport, sources: Iterable[Source]
) -> CitationReport:
    """The check by words, with what a model said `before` of the same sentences with these sources:
    *supported* with its quote there, *unsupported* with its words in the sentence."""
    texts = {source.id: source.text for source in sources}
    verdicts = {(claim.text, claim.sources): claim for claim in before.claims}
    claims = []
    for claim in citations.claims:
        known = verdicts.get((claim.text, claim.sources))
        if known is not None and undecided(claim) and _proved(known, texts):
            names = ("status", "missing", "evidence")
            claim = claim.model_copy(update={name: getattr(known, name) for name in names})
        claims.append(claim)
    return citations.model_copy(update={"claims": tuple(claims)})


def _proved(claim: Claim, texts: Mapping[int, str]) -> bool:
    if claim.status == "unsupported":
        return bool(claim.missing)
    return (
        claim.status == "supported"
        and bool(claim.evidence)
        and all(
            texts.get(each.source, "")[each.start : each.end] == each.quote
            for each in claim.evidence
        )
    )


def sentences_of(report: ParsedAnswer) -> Iterator[AnswerSentence]:
    """The body's sentences with their marks; headings, fences and bare marks are none."""
    headings = {heading.start for heading in report.headings}
    spans: list[tuple[int, int]] = []
    for start, stop in _quotes(report, _whole(sentence_spans(report.body), report.citations)):
        text = report.text[start:stop]
        if start in headings or _FENCE.match(text) or _HEADING.match(text):
            continue
        if _LETTER.search(report.plain(start, stop)):
            spans.append((start, stop))
        elif spans:
            spans[-1] = (spans[-1][0], stop)
    starts = [start for start, _ in spans]
    marks: list[list[Mark | Link]] = [[] for _ in spans]
    for mark in report.citations:
        at = bisect_right(starts, mark.start) - 1
        if at >= 0 and mark.end <= spans[at][1]:
            marks[at].append(mark)
    for (start, end), of_sentence in zip(spans, marks, strict=True):
        yield AnswerSentence(start, end, tuple(of_sentence))


def _whole(
    spans: Iterable[tuple[int, int]], citations: Iterable[Mark | Link]
) -> Iterator[tuple[int, int]]:
    """The spans, joined where the border of two stands inside a citation: a title may be a
    sentence."""
    ahead = iter(citations)
    cited = next(ahead, None)
    begun: tuple[int, int] | None = None
    for span in spans:
        if begun is not None:
            while cited is not None and cited.end <= begun[1]:
                cited = next(ahead, None)
            if cited is not None and cited.start < begun[1]:
                begun = begun[0], span[1]
                continue
            yield begun
        begun = span
    if begun is not None:
        yield begun


def _quotes(report: ParsedAnswer, spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """The spans, those of a block quote joined up to its citation, which is of all of them."""
    cited = [
        c.start for c in report.citations if isinstance(c, Mark) or not (c.words and report.marks)
    ]
    quote: list[tuple[int, int]] = []
    last: int | None = None
    for start, end in spans:
        begins = report.text[start] == ">"
        inside = last is not None and _goes_on(report.text[last:start], begins=begins)
        if not inside:
            yield from quote
            quote = []
        if not inside and not begins:
            last = None
            yield start, end
            continue
        last = end
        quote.append((start, end))
        if bisect_left(cited, start) < bisect_left(cited, end):
            yield quote[0][0], end
            quote = []
    yield from quote


def _goes_on(gap: str, *, begins: bool) -> bool:
    """True where a block quote has no line without its sign between two spans; the second one may
    begin with its own."""
    lines = gap.split("\n")[1:]
    return all(line.lstrip(" \t").startswith(">") for line in (lines[:-1] if begins else lines))


class _Check:
    """Looks the claims of one report up; indexes a source when it is first cited."""

    def __init__(self, report: ParsedAnswer, sources: Sequence[Source]) -> None:
        self.report, self.ledger = report, Ledger(sources)
        self.language = detect_language(report.text)
        self.indexes: dict[tuple[int, str, str], SourceIndex] = {}
        self.records: dict[str, list[Source]] = {}
        for source in sources:
            self.records.setdefault(same_address(source.url), []).append(source)

    def claim(self, sentence: AnswerSentence) -> Claim | None:
        """What is known of a sentence; None where what it tells is no citation."""
        sources, dangling = self._resolved(sentence.marks)
        text = self.report.text[sentence.start : sentence.end]
        if not sources and not dangling:
            return None
        if not sources:
            return Claim(start=sentence.start, end=sentence.end, text=text, sources=(),
                         dangling=dangling, status="dangling")  # fmt: skip
        records = self._all_shown(sources)
        prose = self.report.plain(sentence.start, sentence.end)
        line = self.report.text.rfind("\n", 0, sentence.start) + 1
        quote = self.report.text[line : sentence.start + 1].lstrip(" \t").startswith(">")
        status, missing, evidence = (self._block_quote if quote else self._sentence)(prose, records)
        return Claim(
            start=sentence.start, end=sentence.end, text=text, dangling=dangling, status=status,
            sources=tuple(source.id for source in sources), missing=missing, evidence=evidence,
        )  # fmt: skip

    def _block_quote(self, prose: str, records: Sequence[SourceIndex]) -> Support:
        """A block quote is quoted where a source has its words in a row; else of its sentences the
        one of which least is known tells."""
        lines = _QUOTE_MARK.sub("", prose)
        each = [lines[start:end] for start, end in sentence_spans(lines)]
        if len(each) > 1 and any(index.has_in_a_row(lines) for index in records):
            return self._sentence(lines, records)._replace(status="quoted", missing=())
        known = [self._sentence(sentence, records) for sentence in each or [lines]]
        return max(known, key=lambda found: _SEVERITY.index(found.status))

    def _sentence(self, prose: str, records: Sequence[SourceIndex]) -> Support:
        return support(checkable_parts(prose[:_LONGEST], self.language), records, self.language)

    def _resolved(self, marks: Sequence[Mark | Link]) -> tuple[list[Source], tuple[str, ...]]:
        """The sources that the marks stand for, and the marks that stand for none."""
        sources: dict[int, Source] = {}
        dangling: list[str] = []
        for mark in marks:
            source = self.report.source(mark, self.ledger)
            if source is not None:
                sources[source.id] = source
            elif self.report.dangles(mark, self.ledger):
                dangling.append(self.report.name(mark))
        return list(sources.values()), tuple(dict.fromkeys(dangling))

    def _all_shown(self, sources: Sequence[Source]) -> list[SourceIndex]:
        """Every record of the cited addresses: branches see different passages of one page."""
        addresses = dict.fromkeys(same_address(source.url) for source in sources)
        return [self._index(source) for a in addresses for source in self.records[a]]

    def _index(self, source: Source) -> SourceIndex:
        key = source.id, source.url, source.text
        if key not in self.indexes:
            self.indexes[key] = SourceIndex(source)
        return self.indexes[key]
