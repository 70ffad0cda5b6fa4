"""The report that people read, made from the answer as the policy wrote it.

Citations are renumbered by first appearance, those that lead nowhere are removed and named, claims
that something in their sources speaks against are marked, what a reader of Markdown would act upon
is disarmed (no pictures that call home, no links but the web's, no HTML), and the references are
rendered from the ledger. The policy's own step is left as it is.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from langchain_core.messages.content import Citation, create_citation
from markdown_it import MarkdownIt
from markdown_it.token import Token

from oresearch_graph.evidence.citations import verify_report, with_verdicts
from oresearch_graph.evidence.notices import Notices, notices
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.marks import Link, Mark
from oresearch_graph.trace.plain_text import (
    WEB_SCHEMES,
    admissible_address,
    body_text,
    without_overrides,
)
from oresearch_graph.trace.record import (
    HARMLESS,
    CitationReport,
    Claim,
    Failure,
    Source,
    Trace,
)
from oresearch_graph.trace.references import Ledger, same_address
from oresearch_graph.trace.report_form import fence_spans, heading_for, lines_of

_ACTIVE: Final = re.compile(r"[*_`\[\]<\\~]|&(?=#?\w{1,32};)")
_CODE: Final = re.compile(r"(?<!`)(?P<ticks>`{1,3})(?!`)[^`\n]++(?P=ticks)(?!`)")
_PICTURE: Final = re.compile(r"!(?=\[)")
_HTML: Final = re.compile(r"<(?!https?://[^\s<>`]*>)(?=[A-Za-z/!?])", re.IGNORECASE)
_BEYOND: Final = r"[\s<>]*+ (?!https?://) (?=[A-Za-z0-9+.-]{0,40} [:&\\])"
"""Before an address that has a scheme, in whatever spelling, and not the web's."""
_LINK: Final = re.compile(rf"\]\( {_BEYOND}", re.IGNORECASE | re.VERBOSE)
_DEFINITION: Final = re.compile(rf"\]: {_BEYOND}", re.IGNORECASE | re.VERBOSE)
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_QUOTED: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNTOLD: Final = HARMLESS | {"citations_not_understood"}
"""Failures that no report tells: nothing is missing from it, or it comes to light in it."""
_LONGEST: Final = 60_000
_BRACKETS: Final = 10_000
"""Beyond these markdown-it may take seconds (50,000 of `[`: 1.6 s): all is disarmed unread."""


class Delivered(NamedTuple):
    """A report as delivered; `[n]` in it is `references[n - 1]`."""

    answer: ParsedAnswer
    references: tuple[Source, ...]
    dangling: tuple[str, ...]
    """Citation marks that were removed, as written."""

    @property
    def report(self) -> str:
        return self.answer.text


def delivered_answer(answer: ParsedAnswer, trace: Trace) -> tuple[CitationReport, Delivered]:
    """An answer of the trace, checked against its sources, with a model's verdicts that the trace
    has; and the report made of it."""
    sources: Sequence[Source] = trace.sources or ()
    citations = verify_report(answer, sources)
    if trace.citations is not None:
        citations = with_verdicts(citations, trace.citations, sources)
    missing = [_missing(f, trace.subtasks) for f in trace.failures if f.name not in _UNTOLD]
    delivered = deliver(
        answer,
        sources,
        citations,
        language=trace.language,
        not_covered=missing,
        extractive=trace.extractive,
    )
    return citations, delivered


def _missing(failure: Failure, subtasks: Sequence[str]) -> str:
    """A failure as readers of the report are told it: what it left out, and why."""
    if failure.branch is None or failure.branch > len(subtasks):
        return failure.message
    return f"{subtasks[failure.branch - 1]} ({failure.message})"


def deliver(
    answer: ParsedAnswer,
    sources: Sequence[Source],
    citations: CitationReport,
    *,
    language: str | None,
    not_covered: Sequence[str] = (),
    extractive: bool = False,
) -> Delivered:
    """The report of an answer; `citations` is `verify_report(answer, sources)`."""
    words = notices(language)
    numbering = _Numbering(answer, Ledger(sources))
    doubtful = [claim for claim in citations.claims if claim.warns]
    text = numbering.rewrite(0, answer.body_end, doubtful, words.differs)
    if rest := numbering.rewrite(_after_references(answer), len(answer.text)):
        text = f"{text.rstrip()}\n\n{rest}"
    notes = _notes(text, words, numbering.dangling, not_covered, extractive=extractive)
    text = "\n\n".join(part for part in (text.strip(), notes) if part)
    unused = "" if answer.citations else answer.text[slice(*answer.list_span)]
    text = safe_markdown(without_overrides(body_text(f"{text}\n\n{unused}".strip())))
    references = _references(numbering.sources, language)
    report = "\n\n".join(part for part in (text, references) if part) + "\n"
    return Delivered(
        parse_answer(report), tuple(numbering.sources), tuple(dict.fromkeys(numbering.dangling))
    )


def _after_references(answer: ParsedAnswer) -> int:
    """Where sections that follow the reference list begin; the end of the text without any. Empty
    ones that are named as the list is are none."""
    return min(
        (
            section.heading_start
            for section in answer.sections()
            if section.heading_start >= answer.list_span[1]
            and (section.name != "references" or answer.text[section.start : section.end].strip())
        ),
        default=len(answer.text),
    )


def _references(sources: Sequence[Source], language: str | None) -> str:
    if not sources:
        return ""
    lines = [
        f"[{number}]. {source.url} - {markdown_text(source.title) or source.url}"
        for number, source in enumerate(sources, 1)
    ]
    # A paragraph each: Markdown joins lines that nothing stands between.
    return "\n\n".join([f"## {heading_for('references', language)}", *lines])


def _notes(
    text: str, words: Notices, dangling: Sequence[str], not_covered: Sequence[str],
    *, extractive: bool,
) -> str:  # fmt: skip
    lines = []
    if words.differs in text:
        lines.append(words.differs_note)
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

    def __init__(self, answer: ParsedAnswer, ledger: Ledger) -> None:
        self.answer, self.ledger = answer, ledger
        self.sources: list[Source] = []
        self.dangling: list[str] = []
        self._numbers: dict[str, int] = {}

    def rewrite(
        self, start: int, end: int, doubtful: Sequence[Claim] = (), warning: str = ""
    ) -> str:
        """The answer's text from `start` to `end` with its marks renumbered; the last one of each
        doubtful claim is followed by the warning."""
        text = self.answer.text
        clusters = _clusters(text, [c for c in self.answer.citations if start <= c.start < end])
        starts = [cluster[0].start for cluster in clusters]
        places = [(claim, bisect_left(starts, claim.end) - 1) for claim in doubtful]
        last = {starts[at] for claim, at in places if at >= 0 and starts[at] >= claim.start}
        pieces: list[str] = []
        for cluster in clusters:
            before = text[start : cluster[0].start]
            first = cluster[0]
            words = first.words if isinstance(first, Link) else ""
            numbers = dict.fromkeys(n for cited in cluster if (n := self._number(cited)))
            bracket = "".join(f"[{number}]" for number in numbers)
            if not numbers and isinstance(first, Link) and (first.bare or not self.dangles(first)):
                words = text[first.start : cluster[-1].end]  # it may be told, not cited
            bracket = " ".join(filter(None, (words, bracket)))
            before = before if bracket else before.rstrip(" \t")
            if cluster[0].start in last:
                bracket += warning if warning.startswith("（") else f" {warning}"
            pieces += [before, bracket]
            start = cluster[-1].end
        return "".join([*pieces, text[start:end]])

    def dangles(self, link: Link) -> bool:
        return self.answer.dangles(link, self.ledger)

    def _number(self, citation: Mark | Link) -> int | None:
        source = self.answer.source(citation, self.ledger)
        if source is None:
            if isinstance(citation, Mark):
                self.dangling.append(f"[{citation.number}]")
            elif not citation.bare and self.dangles(citation):
                self.dangling.append(self.answer.name(citation))
            return None
        address = same_address(source.url)
        if address not in self._numbers:
            self.sources.append(source)
            self._numbers[address] = len(self.sources)
        return self._numbers[address]


def _clusters(text: str, citations: Sequence[Mark | Link]) -> list[list[Mark | Link]]:
    """Citations that stand side by side, with nothing but blanks between them. One that leaves
    words begins a cluster."""
    clusters: list[list[Mark | Link]] = []
    for _, group in groupby(citations, key=lambda each: each.start):
        bracket = list(group)
        gap = text[clusters[-1][-1].end : bracket[0].start] if clusters else "x"
        last = bracket[-1]
        speaks = isinstance(last, Link) and bool(last.words or last.bare)
        if clusters and not speaks and not gap.strip(" \t"):
            clusters[-1] += bracket
        else:
            clusters.append(bracket)
    return clusters


def citation_annotations(delivered: Delivered) -> list[Citation]:
    """LangChain's standard citation annotations of a delivered report, one per mark; indexes are
    characters of its text, `cited_text` is what of the source the sentence rests on."""
    references = delivered.references
    claims = verify_report(delivered.answer, references).claims
    starts = [claim.start for claim in claims]
    annotations = []
    for i, mark in enumerate(delivered.answer.marks, 1):
        if not 1 <= mark.number <= len(references):
            continue
        source = references[mark.number - 1]
        annotations.append(
            create_citation(
                id=f"citation-{i}",
                url=admissible_address(source.url),
                title=source.title or None,
                start_index=mark.start,
                end_index=mark.end,
                cited_text=_cited_text(claims, bisect_right(starts, mark.start), mark, source),
            )
        )
    return annotations


def _cited_text(claims: Sequence[Claim], after: int, mark: Mark, source: Source) -> str | None:
    """What the mark's claim, the last that begins before `after` claims, rests on."""
    quotes = (
        evidence.quote
        for claim in claims[max(after - 1, 0) : after]
        if claim.start <= mark.start < claim.end
        for evidence in claim.evidence
        if evidence.source == source.id
    )
    return next(quotes, None)


def markdown_text(line: str) -> str:
    """A stranger's line as Markdown that shows it as it is."""
    return _ACTIVE.sub(r"\\\g<0>", line)


def safe_markdown(text: str) -> str:
    """The Markdown without pictures, HTML and links beyond the web: they are shown as text."""
    if len(text) > _LONGEST or text.count("[") > _BRACKETS:
        return disarmed(text)
    ways = (str, partial(_outside_code, prose=True), _outside_code)
    return next((safe for way in ways if not _acts(safe := way(text))), disarmed(text))


def disarmed(text: str, *, prose: bool = False) -> str:
    """The Markdown with all that a reader of it might act upon as text, code too."""
    """`prose`: what might be a link's definition is left, for it may as well be a sentence."""
    # Entities, not backslashes: one may stand before it already, and would undo it.
    text = _HTML.sub("&lt;", _PICTURE.sub("&#33;", text))
    text = _LINK.sub(r"\g<0>#", text)
    return text if prose else _DEFINITION.sub(r"\g<0>#", text)


def _outside_code(text: str, *, prose: bool = False) -> str:
    pieces, at = [], 0
    for start, end in _code_spans(text):
        pieces += [disarmed(text[at:start], prose=prose), text[start:end]]
        at = end
    return "".join([*pieces, disarmed(text[at:], prose=prose)])


def _code_spans(text: str) -> Iterator[tuple[int, int]]:
    at = 0
    for start, end in [*fence_spans(lines_of(text)), (len(text), len(text))]:
        yield from (code.span() for code in _CODE.finditer(text, at, start))
        yield start, end
        at = end


_READER: Final = MarkdownIt("commonmark").enable("table")
_READER.validateLink = lambda url: True  # type: ignore[method-assign]  # noqa: ARG005  # see all


def _acts(text: str) -> bool:
    """True when a reader of Markdown finds a picture, HTML or a link beyond the web in it."""
    return any(map(_active, _tokens(_READER.parse(text))))


def _tokens(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from _tokens(token.children or ())


def _active(token: Token) -> bool:
    if token.type == "link_open":
        scheme, colon, _ = str(token.attrGet("href") or "").partition(":")
        scheme = _QUOTED.sub("", scheme)  # a browser drops line ends and tabs from a scheme
        has_scheme = bool(colon) and _SCHEME.fullmatch(scheme) is not None
        return has_scheme and scheme.lower() not in WEB_SCHEMES
    return token.type in {"image", "html_inline", "html_block"}
