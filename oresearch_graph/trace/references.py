"""Citations in an answer's text: its marks, its own reference list, and what they resolve to."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple

from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.plain_text import spelled_address
from oresearch_graph.trace.record import Source
from oresearch_graph.trace.report_form import Section, fence_spans, find_sections, lines_of
from oresearch_graph.trace.step import Step

_NUMBER: Final = r"\^?\d{1,7}"
_MARK: Final = re.compile(
    r"(?P<code>`[^`\n]+`)"
    rf"|[\[［](?P<numbers>{_NUMBER}(?:\s*+[,，、;–-]\s*+{_NUMBER})*+)[\]］](?!\(|:[ \t]*\w{{1,20}}://)"
    r"|【(?P<wide>\d{1,7})(?:†[^】\n]{0,80})?】"
)
_PART: Final = re.compile(r"(\d+)(?:\s*[–-]\s*\^?(\d+))?")
_LISTED: Final = re.compile(
    r"[ \t]*(?:[-*+][ \t]+)?"
    r"(?:\\?[\[［【]\^?(?P<mark>\d{1,7})\\?[\]］】](?!\[)[.:：]?"
    r"|(?P<plain>\d{1,7})(?:[.)](?=[ \t])|、))"
    r"(?P<text>.*)"
)
_DELIVERED: Final = re.compile(r"(?P<url>\S+) - (?P<title>.*)")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_STOPS: Final = r"\s<>\"'`“”，。；、（）【】《》「」"
_WEB: Final = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{{0,30}}://[^{_STOPS}]+")
_OTHER: Final = re.compile(
    rf"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{{1,30}}:[^/{_STOPS}][^{_STOPS}]*"
)


class Mark(NamedTuple):
    """One cited number: `[3]`, or the 3 of `[1, 3]`; the span is that of the whole bracket."""

    start: int
    end: int
    number: int


class Reference(NamedTuple):
    """One line of an answer's own reference list; `url` is empty where the line has none."""

    number: int
    url: str
    title: str


class Listed(NamedTuple):
    """A line that begins with a number, with its place in the text."""

    start: int
    end: int
    reference: Reference
    bracketed: bool
    number: tuple[int, int]
    """Where its number stands."""


def same_address(url: str) -> str:
    """The form in which two spellings of an address are equal."""
    scheme, colon, rest = spelled_address(url).partition(":")
    host, slash, path = rest.removeprefix("//").partition("/")
    scheme = "https" if scheme.lower() == "http" else scheme.lower()
    return f"{scheme}{colon}{host.lower()}{slash}{path}".rstrip("/.,;")


def body_span(text: str) -> tuple[int, int]:
    """Where the answer's prose stands: all that comes before its reference list."""
    return 0, _listing(text)[1][0]


def citation_marks(text: str) -> list[Mark]:
    """Every cited number in the prose, in order; code and the reference list are left out."""
    start, end = _listing(text)[1]
    left_out = [*fence_spans(text), (start, end)]
    marks = []
    for piece_start, piece_end in _between(left_out, len(text)):
        for match in _MARK.finditer(text, piece_start, piece_end):
            if match["code"] is None:
                numbers = _numbers(match["numbers"] or match["wide"])
                marks += [Mark(match.start(), match.end(), number) for number in numbers]
    return marks


def reference_list(text: str) -> dict[int, Reference]:
    """The answer's own list by number. Of two lines with one number, one with an address wins."""
    found: dict[int, Reference] = {}
    for entry in listed_lines(text):
        number, url, _ = entry.reference
        if number not in found or (url and not found[number].url):
            found[number] = entry.reference
    return found


def listed_lines(text: str) -> list[Listed]:
    """The lines of the answer's own list, in order."""
    entries, (start, end) = _listing(text)
    return [entry for entry in entries if start <= entry.start < end]


# The rules and checks of one answer each ask for its marks, its list and its body.
@lru_cache(maxsize=32)
def _listing(text: str) -> tuple[tuple[Listed, ...], tuple[int, int]]:
    """The lines that could be references, and where the list stands."""
    entries = tuple(_entries(text))
    return entries, _list_span(text, entries)


def _numbers(written: str) -> Iterator[int]:
    """`1, 3-5` is 1, 3, 4, 5. A range of years, or of ledger ids, is no citation of each."""
    for first, last in _PART.findall(written):
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


def _entries(text: str) -> Iterator[Listed]:
    """Lines that begin with a number, each with an address that stands alone on the next line."""
    lines = list(lines_of(text))
    for at, (start, line) in enumerate(lines):
        if (match := _LISTED.match(line)) is None:
            continue
        body, end = match["text"].strip(), start + len(line)
        if _address(body) is None and at + 1 < len(lines):
            after, address = lines[at + 1]
            if (below := _address(address)) and below[0] == len(address) - len(address.lstrip()):
                body, end = f"{body} {address.strip()}", after + len(address)
        number = int(match["mark"] or match["plain"])
        place = match.span("mark" if match["mark"] else "plain")
        yield Listed(
            start, end, _reference(number, body), match["mark"] is not None,
            (start + place[0], start + place[1]),
        )  # fmt: skip


def _reference(number: int, line: str) -> Reference:
    if (place := _address(line)) is None:
        return Reference(number, "", line.strip(" -–—:"))
    start, end = place
    if start == 0 and (written := _DELIVERED.fullmatch(line)):
        return Reference(number, written["url"], _ESCAPED.sub(r"\1", written["title"]))
    title = f"{line[:start]}{line[end:]}"
    for around in ("()", "[]", "<>", "（）"):
        title = title.replace(around, "")
    title = title.strip(" -–—:").removesuffix(" .").strip()
    if title.startswith("[") and title.rstrip(".").endswith("]"):
        title = title.rstrip(".")[1:-1]
    return Reference(number, line[start:end], title)


def _address(text: str) -> tuple[int, int] | None:
    """Where the first address of the text stands, without the punctuation around it."""
    match = _WEB.search(text) or _OTHER.search(text)
    return None if match is None else (match.start(), match.start() + len(_trimmed(match[0])))


def _trimmed(address: str) -> str:
    """The address without a sentence's punctuation and without brackets it does not open."""
    surplus = {c: address.count(c) - address.count(o) for o, c in ("()", "[]")}
    end = len(address)
    while end:
        last = address[end - 1]
        if surplus.get(last, 0) > 0:
            surplus[last] -= 1
        elif last not in ".,;:!?*":
            break
        end -= 1
    return address[:end]


def _list_span(text: str, entries: Sequence[Listed]) -> tuple[int, int]:
    """Where the reference list stands, heading included; the end of the text where there is none.

    It is the last section of references that lists something, with any just above it. Without a
    heading it is the run of `[n] address` lines that ends the text.
    """
    sections = find_sections(text)
    starts = [entry.start for entry in entries]
    last = None
    for at, section in enumerate(sections):
        if section.name == "references" and _lists(text, sections[at : at + 2], entries, starts):
            last = at
    if last is None:
        start = _trailing(text, entries)
        return start, len(text)
    first, end = last, last
    while first and sections[first - 1].name == "references":
        first -= 1
    while end + 1 < len(sections) and _held(sections[end + 1], entries, starts):
        end += 1
    return sections[first].heading_start, sections[end].end


def _held(section: Section, entries: Sequence[Listed], starts: Sequence[int]) -> list[Listed]:
    """The lines with an address in a section."""
    low, high = bisect_left(starts, section.start), bisect_left(starts, section.end)
    return [entry for entry in entries[low:high] if entry.reference.url]


def _lists(
    text: str, sections: Sequence[Section], entries: Sequence[Listed], starts: Sequence[int]
) -> bool:
    """True when the first section holds an address, itself or in a part below it, or nothing but
    numbered lines."""
    section = sections[0]
    if _held(section, entries, starts):
        return True
    low, high = bisect_left(starts, section.start), bisect_left(starts, section.end)
    filled = sum(1 for _, line in lines_of(text[section.start : section.end]) if line.strip())
    if not filled:
        return any(_held(below, entries, starts) for below in sections[1:])
    return filled == high - low


def _trailing(text: str, entries: Sequence[Listed]) -> int:
    """The start of the run of `[n] address` lines that ends the text, else the text's end."""
    run = len(text)
    for entry in reversed(entries):
        if not (entry.bracketed and entry.reference.url) or text[entry.end : run].strip():
            break
        run = entry.start
    return run


class Ledger:
    """The sources of a run as citations find them: by id and by address."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.by_id: dict[int, Source] = {}
        self.by_address: dict[str, Source] = {}
        for source in sources:
            self.by_id[source.id] = source
            known = self.by_address.get(same_address(source.url))
            if known is None or (source.read and not known.read):
                self.by_address[same_address(source.url)] = source

    def resolve(self, number: int, references: dict[int, Reference]) -> Source | None:
        """What `[number]` means in an answer with these `references` of its own.

        Through the answer's list if it has one, else as a ledger id (DESIGN section 4). A list
        without any address says no more than the ids themselves.
        """
        if not any(reference.url for reference in references.values()):
            return self.by_id.get(number)
        listed = references.get(number)
        return self.by_address.get(same_address(listed.url)) if listed and listed.url else None


def resolve(number: int, answer: str, sources: Sequence[Source]) -> Source | None:
    """The source that `[number]` in `answer` resolves to; None when it dangles."""
    return Ledger(sources).resolve(number, reference_list(answer))


def addresses(text: str) -> Iterator[tuple[int, str]]:
    """Where each web address of the text begins, and the address without what surrounds it."""
    for match in _WEB.finditer(text):
        yield match.start(), _trimmed(match[0])


def seen_sources(steps: Iterable[Step]) -> list[Source]:
    """A ledger for a trace that came from bare text: every address that its observations show,
    and those it asked to read and got an answer for."""
    found: dict[str, Source] = {}
    for before, step in pairwise([None, *steps]):
        if step is None or step.kind != "observation":
            continue
        shown = [address for _, address in addresses(step.text)]
        asked = read_call(before).items if before and before.kind == "crawl_page" else ()
        for url in [*asked, *shown]:
            if same_address(url) not in found:
                found[same_address(url)] = Source(id=len(found) + 1, url=url)
    return list(found.values())
