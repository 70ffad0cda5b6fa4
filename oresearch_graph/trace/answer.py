"""ParsedAnswer: the text of an answer, read once, and handed to all who need what stands in it.

Marks, the reference list, headings and code fences, each with its place. The checks of form, the
verification of claims, delivery, pages, filters and exports all look at this one value.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from oresearch_graph.trace.marks import Link, Mark, find_marks
from oresearch_graph.trace.record import Source, Trace
from oresearch_graph.trace.references import (
    Ledger,
    Reference,
    ReferenceLine,
    UnnumberedLine,
    listed,
    numbered_lines,
    remarks,
    same_address,
    unnumbered_entries,
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


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """An answer's text and what stands where in it; every place is a span of `text`."""

    text: str
    fences: tuple[tuple[int, int], ...]
    """Fenced code blocks, fences included."""
    headings: tuple[Heading, ...]
    marks: tuple[Mark, ...]
    """Every cited number in the prose, in order; code and the reference list are left out."""
    links: tuple[Link, ...]
    """The same of what is cited by its address."""
    citations: tuple[Mark | Link, ...]
    """Both, in order."""
    reference_lines: tuple[ReferenceLine, ...]
    """The lines of the answer's own reference list, in order."""
    references: Mapping[int, Reference]
    """That list by number; one without numbers is counted."""
    entries: tuple[UnnumberedLine, ...]
    """Its lines with an address and no number."""
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

    def source(self, citation: Mark | Link, ledger: Ledger) -> Source | None:
        """What a citation leads to; None when it leads nowhere."""
        if isinstance(citation, Mark):
            return self.resolve(citation.number, ledger)
        return ledger.by_address.get(same_address(citation.url)) if citation.url else None

    def dangles(self, citation: Mark | Link, ledger: Ledger) -> bool:
        """True for a citation that leads nowhere. Words of the sentence that are a link, in an
        answer that cites by numbers, may be told, not cited."""
        prose = isinstance(citation, Link) and citation.words and self.marks
        return not prose and self.source(citation, ledger) is None

    def address(self, citation: Mark | Link) -> str:
        """The address that a citation has by the answer itself; empty where it tells none."""
        if isinstance(citation, Link):
            return citation.url
        listed = self.references.get(citation.number)
        return listed.url if listed else ""

    def name(self, citation: Mark | Link) -> str:
        """How a citation is told to people: as it stands, or the one number of its bracket."""
        written = self.text[citation.start : citation.end]
        if isinstance(citation, Link):
            return citation.url or written
        return written if written.strip("[]【】 ").isdigit() else f"[{citation.number}]"

    def plain(self, start: int, end: int) -> str:
        """The text between two places without its citations and the blanks before them."""
        pieces, at = list[str](), start
        for citation in self._within(start, end):
            if citation.start < at:
                continue
            words = citation.words if isinstance(citation, Link) else ""
            before = self.text[at : citation.start]
            pieces += [before if words else before.rstrip(), words]
            at = citation.end
        return "".join([*pieces, self.text[at:end]])

    def _within(self, start: int, end: int) -> Sequence[Mark | Link]:
        first, last = (
            bisect_left(self.citations, at, key=lambda each: each.start) for at in (start, end)
        )
        return self.citations[first:last]

    def resolve(self, number: int, ledger: Ledger) -> Source | None:
        """What `[number]` means in this answer; None when it leads nowhere.

        Through the answer's own list if it has one, by address, or by title where it has no
        addresses; else as a ledger id.
        """
        line = self.references.get(number)
        if not self.lists_addresses:
            return ledger.by_titles(self.references).get(number) or ledger.by_id.get(number)
        return ledger.by_address.get(same_address(line.url)) if line and line.url else None


def _place(citation: Mark | Link) -> tuple[int, int]:
    return citation.start, citation.end


def parse_answer(text: str) -> ParsedAnswer:
    """Any text read as an answer; linear in its length."""
    lines = lines_of(text)
    fences = tuple(fence_spans(lines))
    headings = tuple(find_headings(lines, fences))
    numbered = tuple(numbered_lines(lines))
    entries = tuple(unnumbered_entries(lines, numbered))
    start, end = _list_span(text, headings, _Lines(numbered, entries))
    reference_lines = tuple(line for line in numbered if start <= line.start < end)
    in_list = tuple(entry for entry in entries if start <= entry.start < end)
    labels = [entry for entry in entries if entry.label]
    notes = [note for note in remarks(lines) if not note[2].isdigit()]
    by_label = {label: "" for _, _, label in notes} | {each.label: each.url for each in labels}
    filled = _filled(text, start, end) - 1
    reference_list = listed(reference_lines, in_list, by_label, filled)
    definitions = [(entry.start, entry.end) for entry in labels]
    definitions += [(note_start, note_end) for note_start, note_end, _ in notes]
    prose = _between([*fences, *definitions, (start, end)], len(text))
    marks, links = find_marks(text, prose, reference_list)
    return ParsedAnswer(
        text=text,
        fences=fences,
        headings=headings,
        marks=tuple(marks),
        links=tuple(links),
        citations=tuple(sorted([*marks, *links], key=_place)),
        reference_lines=reference_lines,
        references=reference_list.by_number,
        entries=in_list,
        list_span=(start, end),
        lists_addresses=reference_list.has_addresses,
    )


def parsed_answers(trace: Trace) -> dict[int, ParsedAnswer]:
    """Every answer of the trace, by the place of its step; equal texts are read once."""
    texts = {at: step.text for at, step in enumerate(trace.steps) if step.kind in ANSWER_KINDS}
    by_text = {text: parse_answer(text) for text in set(texts.values())}
    return {at: by_text[text] for at, text in texts.items()}


def _between(spans: Iterable[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """The pieces of a text that no span covers."""
    at = 0
    for start, end in sorted(spans):
        if start > at:
            yield at, start
        at = max(at, end)
    if at < length:
        yield at, length


class _Lines:
    """The lines that may belong to a reference list, found by their places."""

    def __init__(
        self, numbered: Sequence[ReferenceLine], entries: Sequence[UnnumberedLine]
    ) -> None:
        self.numbered, self.entries = numbered, entries
        self._starts = [line.start for line in numbered]
        self._entry_starts = [entry.start for entry in entries]

    def numbered_in(self, section: Section) -> Sequence[ReferenceLine]:
        low, high = (bisect_left(self._starts, at) for at in (section.start, section.end))
        return self.numbered[low:high]

    def entries_in(self, section: Section) -> Sequence[UnnumberedLine]:
        low, high = (bisect_left(self._entry_starts, at) for at in (section.start, section.end))
        return self.entries[low:high]


_LINES: Final = 3
"""Lines that an entry without a number may take: its title, its address, a remark."""
_REMARK: Final = 200
"""Characters of such a line."""


def _list_span(text: str, headings: Sequence[Heading], lines: _Lines) -> tuple[int, int]:
    """Where the reference list stands, heading included; the end of the text where there is none.

    It is the last section of references that lists something, with any just above it. Without a
    heading it is the run of `[n] address` lines that ends the text.
    """
    sections = sections_under(headings, len(text))
    last = None
    for at, section in enumerate(sections):
        if section.name == "references" and _lists(text, sections[at : at + 2], lines):
            last = at
    if last is None:
        return _trailing(text, lines), len(text)
    first, end = last, last
    while first and sections[first - 1].name == "references":
        first -= 1
    while end + 1 < len(sections) and _goes_on(text, sections[end + 1], lines):
        end += 1
    return sections[first].heading_start, sections[end].end


def _goes_on(text: str, section: Section, lines: _Lines) -> bool:
    """True for a section below the list that is a part of it."""
    if any(line.reference.url for line in lines.numbered_in(section)):
        return True
    entries = lines.entries_in(section)
    return bool(entries) and _filled(text, section.start, section.end) == len(entries)


def _addresses_in(text: str, section: Section, lines: _Lines) -> bool:
    """True when a numbered line with an address stands in the section, or entries make it up."""
    if any(line.reference.url for line in lines.numbered_in(section)):
        return True
    entries = lines.entries_in(section)
    if not entries or not all(entry.listed for entry in entries):
        return False
    others = {entry.start for entry in entries}
    rest = [
        line
        for at, line in lines_of(text[section.start : section.end])
        if line.strip() and section.start + at not in others
    ]
    few = len(rest) < _LINES * len(entries)
    return few and all(len(line) <= _REMARK and not _MARKED.search(line) for line in rest)


_MARKED: Final = re.compile(r"\[\d{1,7}\]")


def _filled(text: str, start: int, end: int) -> int:
    return sum(1 for _, line in lines_of(text[start:end]) if line.strip())


def _lists(text: str, sections: Sequence[Section], lines: _Lines) -> bool:
    """True when the first section holds an address, itself or in a part below it, or nothing but
    numbered lines."""
    section = sections[0]
    if _addresses_in(text, section, lines):
        return True
    if filled := _filled(text, section.start, section.end):
        return filled == len(lines.numbered_in(section))
    return any(_addresses_in(text, below, lines) for below in sections[1:])


def _trailing(text: str, lines: _Lines) -> int:
    """The start of the run of `[n] address` lines that ends the text, else the text's end."""
    places = [(n.start, n.end) for n in lines.numbered if n.bracketed and n.reference.url]
    places += [(entry.start, entry.end) for entry in lines.entries if entry.label]
    run = len(text)
    for start, end in sorted(places, reverse=True):
        if text[end:run].strip():
            break
        run = start
    return run
