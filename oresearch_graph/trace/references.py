"""What citations lead to: lines of a reference list, web addresses, and the sources of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.plain_text import spelled_address
from oresearch_graph.trace.record import Source
from oresearch_graph.trace.step import Step

_LISTED: Final = re.compile(
    r"""
    [ \t]* (?: [-*+] [ \t]+ )?
    (?: \\? [\[［【] \^? (?P<mark>\d{1,7}) \\? [\]］】] (?!\[) [.:：]?
    |   (?P<plain>\d{1,7}) (?: [.)] (?=[ \t]) | 、 ) )
    (?P<text>.*)
    """,
    re.VERBOSE,
)
_DELIVERED: Final = re.compile(r"(?P<url>\S+) - (?P<title>.*)")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_STOPS: Final = r"\s<>\"'`“”，。；、（）【】《》「」"
_WEB: Final = re.compile(rf"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{{0,30}}://[^{_STOPS}]+")
_OTHER: Final = re.compile(
    rf"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{{1,30}}:[^/{_STOPS}][^{_STOPS}]*"
)


class Reference(NamedTuple):
    """One line of an answer's own reference list; `url` is empty where the line has none."""

    number: int
    url: str
    title: str


class ReferenceLine(NamedTuple):
    """A line that begins with a number, with its place in the text."""

    start: int
    end: int
    reference: Reference
    bracketed: bool
    number: tuple[int, int]
    """Where its number stands."""
    address: tuple[int, int] | None
    """Where its address stands."""


def same_address(url: str) -> str:
    """The form in which two spellings of an address are equal."""
    scheme, colon, rest = spelled_address(url).partition(":")
    host, slash, path = rest.removeprefix("//").partition("/")
    scheme = "https" if scheme.lower() == "http" else scheme.lower()
    return f"{scheme}{colon}{host.lower()}{slash}{path}".rstrip("/.,;")


def numbered_lines(lines: Sequence[tuple[int, str]]) -> Iterator[ReferenceLine]:
    """Lines that begin with a number, each with an address that stands alone on the next line."""
    for at, (start, line) in enumerate(lines):
        if (match := _LISTED.match(line)) is None:
            continue
        body, end = match["text"].strip(), start + len(line)
        first = start + match.start("text") + len(match["text"]) - len(match["text"].lstrip())
        if (place := _address(body)) is not None:
            first += place[0]
        elif at + 1 < len(lines):
            after, below = lines[at + 1]
            indent = len(below) - len(below.lstrip())
            if (place := _address(below)) and place[0] == indent:
                body, end, first = f"{body} {below.strip()}", after + len(below), after + indent
        number = "plain" if match["mark"] is None else "mark"
        reference = _reference(int(match[number]), body)
        yield ReferenceLine(
            start, end, reference, number == "mark",
            (start + match.start(number), start + match.end(number)),
            (first, first + len(reference.url)) if reference.url else None,
        )  # fmt: skip


def _reference(number: int, line: str) -> Reference:
    if (place := _address(line)) is None:
        return Reference(number, "", line.strip(" -–—:"))
    start, end = place
    if start == 0 and (match := _DELIVERED.fullmatch(line)):
        return Reference(number, match["url"], _ESCAPED.sub(r"\1", match["title"]))
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


class Ledger:
    """The sources of a run as citations find them: by id and by address."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.by_id: dict[int, Source] = {}
        self.by_address: dict[str, Source] = {}
        for source in sources:
            self.by_id[source.id] = source
            address = same_address(source.url)
            other = self.by_address.get(address)
            if other is None or (source.read and not other.read):
                self.by_address[address] = source


def addresses(text: str) -> Iterator[tuple[int, str]]:
    """Where each web address of the text begins, and the address without what surrounds it."""
    for match in _WEB.finditer(text):
        yield match.start(), _trimmed(match[0])


def seen_sources(steps: Iterable[Step]) -> list[Source]:
    """A ledger for a trace that came from bare text: every address that its observations show,
    and those it asked to read and got an answer for."""
    sources: dict[str, Source] = {}
    for before, step in pairwise([None, *steps]):
        if step is None or step.kind != "observation":
            continue
        requests = read_call(before).items if before and before.kind == "crawl_page" else ()
        for url in [*requests, *(address for _, address in addresses(step.text))]:
            if (address := same_address(url)) not in sources:
                sources[address] = Source(id=len(sources) + 1, url=url)
    return list(sources.values())
