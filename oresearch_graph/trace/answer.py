"""ParsedAnswer: the text of an answer, read once, and handed to all who need what stands in it.

Marks, the reference list, headings and code fences, each with its place. The checks of form, the
verification of claims, delivery, pages, filters and exports all look at this one value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from oresearch_graph.trace.record import Source, Trace
from oresearch_graph.trace.references import (
    Ledger,
    Reference,
    ReferenceLine,
    numbered_lines,
    same_address,
)
from oresearch_graph.trace.report_form import (
    Heading,
    Section,
    fence_spans,
    find_headings,
    lines_of,
    sections_under,
)
from oresearch_graph.trace.step import ANSWER_KINDS

_NUMBER: Final = r"\^?\d{1,7}"
_MARK: Final = re.compile(
    rf"""
    (?P<code> `[^`\n]+` )
    | [\[［]
      (?P<numbers> {_NUMBER} (?: \s*+ [,，、;–-] \s*+ {_NUMBER} )*+ )
      [\]］]
      (?! \( | :[ \t]*\w{{1,20}}:// )          # a link, or its definition
    | 【 (?P<wide>\d{{1,7}}) (?: † [^】\n]{{0,80}} )? 】
    """,
    re.VERBOSE,
)
NUMBER_OR_RANGE: Final = re.compile(r"(\d+)(?:\s*[–-]\s*\^?(\d+))?")
"""One part of a mark's bracket."""


class Mark(NamedTuple):
    """One cited number: `[3]`, or the 3 of `[1, 3]`; the span is that of the whole bracket."""

    start: int
    end: int
    number: int


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer's text and what stands where in it; every place is a span of `text`."""

    text: str
    fences: tuple[tuple[int, int], ...]
    """Fenced code blocks, fences included."""
    headings: tuple[Heading, ...]
    marks: tuple[Mark, ...]
    """Every cited number in the prose, in order; code and the reference list are left out."""
    reference_lines: tuple[ReferenceLine, ...]
    """The lines of the answer's own reference list, in order."""
    references: Mapping[int, Reference]
    """That list by number. Of two lines with one number, one with an address wins."""
    list_span: tuple[int, int]
    """Where the list stands, heading included; the end of the text where there is none."""
    lists_addresses: bool
    """True when the list says what its numbers stand for."""

    @property
    def body_end(self) -> int:
        return self.list_span[0]

    @property
    def body(self) -> str:
        """The answer's prose: all that comes before its reference list."""
        return self.text[: self.body_end]

    def sections(self, language: str | None = None) -> list[Section]:
        """The headings in order, the required ones named; those of `language` are preferred."""
        return sections_under(self.headings, len(self.text), language)

    def resolve(self, number: int, ledger: Ledger) -> Source | None:
        """What `[number]` means in this answer; None when it leads nowhere.

        Through the answer's own list if it has one, else as a ledger id. A list without any
        address says no more than the ids themselves.
        """
        if not self.lists_addresses:
            return ledger.by_id.get(number)
        line = self.references.get(number)
        return ledger.by_address.get(same_address(line.url)) if line and line.url else None


def parse_answer(text: str) -> ParsedAnswer:
    """Any text read as an answer; linear in its length."""
    lines = lines_of(text)
    fences = tuple(fence_spans(lines))
    headings = tuple(find_headings(lines, fences))
    numbered = tuple(numbered_lines(lines))
    start, end = _list_span(text, headings, numbered)
    reference_lines = tuple(line for line in numbered if start <= line.start < end)
    references: dict[int, Reference] = {}
    for line in reference_lines:
        number, url, _ = line.reference
        if number not in references or (url and not references[number].url):
            references[number] = line.reference
    prose = _between([*fences, (start, end)], len(text))
    return ParsedAnswer(
        text=text,
        fences=fences,
        headings=headings,
        marks=tuple(_marks(text, prose)),
        reference_lines=reference_lines,
        references=references,
        list_span=(start, end),
        lists_addresses=any(reference.url for reference in references.values()),
    )


def parsed_answers(trace: Trace) -> dict[int, ParsedAnswer]:
    """Every answer of the trace, by the place of its step; equal texts are read once."""
    texts = {at: step.text for at, step in enumerate(trace.steps) if step.kind in ANSWER_KINDS}
    by_text = {text: parse_answer(text) for text in set(texts.values())}
    return {at: by_text[text] for at, text in texts.items()}


def _marks(text: str, spans: Iterable[tuple[int, int]]) -> Iterator[Mark]:
    for start, end in spans:
        for match in _MARK.finditer(text, start, end):
            if match["code"] is None:
                for number in _numbers(match["numbers"] or match["wide"]):
                    yield Mark(match.start(), match.end(), number)


def _numbers(bracket: str) -> Iterator[int]:
    """`1, 3-5` is 1, 3, 4, 5. A range of years, or of ledger ids, is no citation of each."""
    for first, last in NUMBER_OR_RANGE.findall(bracket):
        low, high = int(first), int(last or first)
        if low <= high < min(low + 30, 1000):
            yield from range(low, high + 1)
        elif not last:
            yield low


def _between(spans: Iterable[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """The pieces of a text that no span covers."""
    at = 0
    for start, end in sorted(spans):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < length:
        yield at, length


def _list_span(
    text: str, headings: Sequence[Heading], numbered: Sequence[ReferenceLine]
) -> tuple[int, int]:
    """Where the reference list stands, heading included; the end of the text where there is none.

    It is the last section of references that lists something, with any just above it. Without a
    heading it is the run of `[n] address` lines that ends the text.
    """
    sections = sections_under(headings, len(text))
    starts = [line.start for line in numbered]
    last = None
    for at, section in enumerate(sections):
        if section.name == "references" and _lists(text, sections[at : at + 2], numbered, starts):
            last = at
    if last is None:
        return _trailing(text, numbered), len(text)
    first, end = last, last
    while first and sections[first - 1].name == "references":
        first -= 1
    while end + 1 < len(sections) and _addresses_in(sections[end + 1], numbered, starts):
        end += 1
    return sections[first].heading_start, sections[end].end


def _addresses_in(
    section: Section, numbered: Sequence[ReferenceLine], starts: Sequence[int]
) -> bool:
    """True when a line with an address stands in the section."""
    low, high = bisect_left(starts, section.start), bisect_left(starts, section.end)
    return any(line.reference.url for line in numbered[low:high])


def _lists(
    text: str, sections: Sequence[Section], numbered: Sequence[ReferenceLine], starts: Sequence[int]
) -> bool:
    """True when the first section holds an address, itself or in a part below it, or nothing but
    numbered lines."""
    section = sections[0]
    if _addresses_in(section, numbered, starts):
        return True
    low, high = bisect_left(starts, section.start), bisect_left(starts, section.end)
    filled = sum(1 for _, line in lines_of(text[section.start : section.end]) if line.strip())
    if not filled:
        return any(_addresses_in(below, numbered, starts) for below in sections[1:])
    return filled == high - low


def _trailing(text: str, numbered: Sequence[ReferenceLine]) -> int:
    """The start of the run of `[n] address` lines that ends the text, else the text's end."""
    run = len(text)
    for line in reversed(numbered):
        if not (line.bracketed and line.reference.url) or text[line.end : run].strip():
            break
        run = line.start
    return run
