"""The deterministic check of a report: does what a cited sentence states stand in its sources?

Every quote, figure and name of the sentence must stand in one of the sources it cites, figures
exactly, and the sentence must share enough of its content terms with a passage there. Not covered:
negation and other changes of meaning that keep all words. A claim in another script than its
source is judged by its quotes, figures and Latin names in Chinese text alone.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from oresearch_graph.evidence.claim_parts import Parts, checkable_parts
from oresearch_graph.evidence.figures import Figure, agrees, stated
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.passages import split_passages
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from oresearch_graph.trace.answer import Mark, ParsedAnswer, parse_answer
from oresearch_graph.trace.record import CitationReport, Claim, Evidence, Source, Trace
from oresearch_graph.trace.references import Ledger, same_address

OVERLAP_WITH_PARTS: Final = 0.3
"""Share of a sentence's terms in the best passages when its checkable parts were found. The
planted wrong sources of the tests reach 0.25 at most, paraphrases with figures 0.4 at least."""
OVERLAP_ALONE: Final = 0.55
"""The same without any checkable part."""
OVERLAP_ALONE_CJK: Final = 0.45
"""Bigrams at word borders differ between paraphrases: less is asked."""
NEARBY: Final = 0.3
"""Share of a sentence's terms that must stand around a figure for it to be the same figure."""
PASSAGE_TOKENS: Final = 120
NAME_AT_LEAST: Final = 90.0
QUOTE_AT_LEAST: Final = 92.0
"""rapidfuzz partial ratio: one changed word in a quote of ten falls below, a changed comma does
not."""

_FENCE: Final = re.compile(r"\s*(?:```|~~~)")
_HEADING: Final = re.compile(r"\s*(?:#{1,6}\s|\*\*[^*]+\*\*[:：]?$)")
_LETTER: Final = re.compile(r"[^\W\d_]")
_SPACE: Final = re.compile(r"\s+")


class AnswerSentence(NamedTuple):
    """A span of an answer's text, and the marks in it."""

    start: int
    end: int
    marks: tuple[Mark, ...]


def verify_report(report: ParsedAnswer, sources: Sequence[Source]) -> CitationReport:
    """Check every cited sentence of a report; spans index into its text exactly."""
    sentences = list(sentences_of(report))
    check = _Check(report, Ledger(sources))
    claims = [check.claim(sentence) for sentence in sentences if sentence.marks]
    return CitationReport(claims=tuple(claims), sentences=len(sentences))


def citations_of(trace: Trace) -> CitationReport | None:
    """The check of the trace's answer: its own, else made here. None: there is no answer, or no
    text of its sources is known, so that nothing could be checked."""
    if trace.citations is not None or trace.answer is None:
        return trace.citations
    if not any(source.text for source in trace.sources or ()):
        return None
    return verify_report(parse_answer(trace.answer.text), trace.sources or ())


def sentences_of(report: ParsedAnswer) -> Iterator[AnswerSentence]:
    """The body's sentences with their marks; headings, fences and bare marks are none."""
    headings = {heading.start for heading in report.headings}
    spans: list[tuple[int, int]] = []
    for start, stop in sentence_spans(report.body):
        text = report.text[start:stop]
        if start in headings or _FENCE.match(text) or _HEADING.match(text):
            continue
        if _LETTER.search(text):
            spans.append((start, stop))
        elif spans:
            spans[-1] = (spans[-1][0], stop)
    starts = [start for start, _ in spans]
    marks: list[list[Mark]] = [[] for _ in spans]
    for mark in report.marks:
        at = bisect_right(starts, mark.start) - 1
        if at >= 0 and mark.end <= spans[at][1]:
            marks[at].append(mark)
    for (start, end), of_sentence in zip(spans, marks, strict=True):
        yield AnswerSentence(start, end, tuple(of_sentence))


class _Check:
    """Looks the claims of one report up; indexes a source when it is first cited."""

    def __init__(self, report: ParsedAnswer, ledger: Ledger) -> None:
        self.report, self.ledger = report, ledger
        self.language = detect_language(report.text)
        self.indexes: dict[int, SourceIndex] = {}
        self.records: dict[str, list[Source]] = {}
        for source in ledger.by_id.values():
            self.records.setdefault(same_address(source.url), []).append(source)

    def claim(self, sentence: AnswerSentence) -> Claim:
        sources, dangling = self._resolved(sentence.marks)
        text = self.report.text[sentence.start : sentence.end]
        if not sources:
            return Claim(start=sentence.start, end=sentence.end, text=text, sources=(),
                         dangling=dangling, status="dangling")  # fmt: skip
        records = self._all_shown(sources)
        missing, evidence, enough = _looked_up(checkable_parts(text, self.language), records)
        return Claim(
            start=sentence.start, end=sentence.end, text=text, dangling=dangling,
            sources=tuple(source.id for source in sources), missing=missing, evidence=evidence,
            status="supported" if enough and not missing else "unsupported",
        )  # fmt: skip

    def _resolved(self, marks: Sequence[Mark]) -> tuple[list[Source], tuple[str, ...]]:
        """The sources that the marks stand for, and the marks that stand for none."""
        sources: dict[int, Source] = {}
        dangling: list[str] = []
        for mark in marks:
            source = self.report.resolve(mark.number, self.ledger)
            if source is None:
                bracket = self.report.text[mark.start : mark.end]
                alone = bracket.strip("[]【】 ").isdigit()
                dangling.append(bracket if alone else f"[{mark.number}]")
            else:
                sources[source.id] = source
        return list(sources.values()), tuple(dict.fromkeys(dangling))

    def _all_shown(self, sources: Sequence[Source]) -> list[SourceIndex]:
        """Every record of the cited addresses: branches see different passages of one page."""
        addresses = dict.fromkeys(same_address(source.url) for source in sources)
        return [self._index(source) for a in addresses for source in self.records[a]]

    def _index(self, source: Source) -> SourceIndex:
        if source.id not in self.indexes:
            self.indexes[source.id] = SourceIndex(source)
        return self.indexes[source.id]


def _looked_up(
    parts: Parts, indexes: Sequence[SourceIndex]
) -> tuple[tuple[str, ...], tuple[Evidence, ...], bool]:
    """What is missing, where the rest stands, and whether enough terms are shared."""
    order = terms(parts.prose)
    distinct = frozenset(order)
    foreign = all(has_cjk(parts.prose) != has_cjk(index.source.text) for index in indexes)
    nearby = 0.0 if foreign else NEARBY
    missing = [quote for quote in parts.quotes if not any(i.quotes(quote) for i in indexes)]
    missing += [
        f.text for f in parts.figures if not any(i.states(f, distinct, nearby) for i in indexes)
    ]
    if not foreign or has_cjk(parts.prose):
        missing += [name for name in parts.names if not any(i.names(name) for i in indexes)]
    evidence = [place for i in indexes if (place := i.align(parts.prose, order)) is not None]
    enough = _overlap(distinct, indexes) >= _needed(parts, foreign=foreign)
    return tuple(missing), tuple(evidence), enough


def _needed(parts: Parts, *, foreign: bool) -> float:
    if parts.checkable:
        return 0.0 if foreign else OVERLAP_WITH_PARTS
    return OVERLAP_ALONE_CJK if has_cjk(parts.prose) else OVERLAP_ALONE


def _overlap(distinct: frozenset[str], indexes: Sequence[SourceIndex]) -> float:
    """Share of the terms that stand around the best passage of each cited source, together."""
    if not distinct:
        return 0.0
    shared: set[str] = set()
    for index in indexes:
        shared |= max(
            (index.around(i) & distinct for i in index.ranked(sorted(distinct))[:4]),
            key=len,
            default=frozenset[str](),
        )
    return len(shared) / len(distinct)


def folded(text: str) -> str:
    """Lower-cased when that keeps every character in its place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


class _Text:
    """What a title and a text hold, by passage."""

    def __init__(self, title: str, text: str) -> None:
        self.passages = split_passages(text, PASSAGE_TOKENS)
        self.title_terms = frozenset(terms(title))
        self.words = [frozenset(terms(passage.text)) for passage in self.passages]
        self.figures = [stated(passage.text) for passage in self.passages]
        self.flat = _SPACE.sub(" ", folded(f"{title}\n{text}"))
        self.stating: dict[str, list[int]] = {}
        for i, keys in enumerate(self.figures):
            for key in {key for key, _ in keys}:
                self.stating.setdefault(key, []).append(i)
        self.postings: dict[str, list[int]] = {}
        for i, words in enumerate(self.words):
            for word in words:
                self.postings.setdefault(word, []).append(i)


# Not a report's but a page's: the rollouts and candidates of one question cite the same pages.
_indexed = lru_cache(maxsize=256)(_Text)


class SourceIndex:
    """One source made ready for claims to be looked up in: its passages by term and figure."""

    def __init__(self, source: Source) -> None:
        self.source = source
        text = _indexed(source.title, source.text)
        self.passages, self.title_terms, self.words = text.passages, text.title_terms, text.words
        self.figures, self.flat, self.postings = text.figures, text.flat, text.postings
        self.stating = text.stating

    def ranked(self, query: Sequence[str]) -> list[int]:
        """Passages that hold any term of the query, most first."""
        hits: Counter[int] = Counter()
        for term, often in Counter(query).items():
            for i in self.postings.get(term, ()):
                hits[i] += often
        return sorted(hits, key=lambda i: (-hits[i], i))

    def around(self, i: int) -> frozenset[str]:
        """Terms of a passage, its neighbours and the title."""
        return self.title_terms | self._near_terms(i)

    def _near_terms(self, i: int) -> frozenset[str]:
        return frozenset().union(*self.words[max(i - 1, 0) : i + 2])

    def states(self, figure: Figure, context: frozenset[str], nearby: float) -> bool:
        """True when a passage states the figure and, with its neighbours, holds at least the share
        `nearby` of the context's terms: the same number about something else does not count."""
        others = context - {figure.key}
        return any(
            agrees(figure, self.figures[i])
            and (len(others) < 3 or len(others & self._near_terms(i)) >= nearby * len(others))
            for i in self.stating.get(figure.key, ())
        )

    def quotes(self, quote: str) -> bool:
        plain = _SPACE.sub(" ", folded(quote)).strip()
        return plain in self.flat or self._aligns(plain, QUOTE_AT_LEAST)

    def names(self, name: str) -> bool:
        plain = _SPACE.sub(" ", folded(name)).strip("() .`")
        if not plain or plain in self.flat:
            return True
        words = terms(name)
        if words and all(word in self.postings or word in self.title_terms for word in words):
            return True
        return len(plain) > 5 and self._aligns(plain, NAME_AT_LEAST)

    def _aligns(self, plain: str, at_least: float) -> bool:
        return any(
            len(text) >= len(plain) and fuzz.partial_ratio(plain, text) >= at_least
            for i in self.ranked(terms(plain))[:3]
            if (text := _SPACE.sub(" ", folded(self._near(i))))
        )

    def _near(self, i: int) -> str:
        """The text of a passage and its neighbours."""
        near = self.passages[max(i - 1, 0) : i + 2]
        return self.source.text[near[0].start : near[-1].end]

    def align(self, prose: str, query: Sequence[str]) -> Evidence | None:
        """Where the sentence stands best: whole sentences of its best passage."""
        best = next(iter(self.ranked(query)), None)
        if best is None:
            return None
        passage = self.passages[best]
        match = fuzz.partial_ratio_alignment(folded(prose), folded(passage.text))
        low, high = (match.dest_start, match.dest_end) if match else (0, len(passage.text))
        touched = [
            span for span in sentence_spans(passage.text) if span[0] < high and span[1] > low
        ]
        start = passage.start + min((span[0] for span in touched), default=0)
        end = passage.start + max((span[1] for span in touched), default=len(passage.text))
        score = match.score / 100 if match else 0.0
        return Evidence(source=self.source.id, start=start, end=end,
                        quote=self.source.text[start:end], score=round(score, 4))  # fmt: skip
