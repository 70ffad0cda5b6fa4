"""What citations lead to: lines of a reference list, web addresses, and the sources of a run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Final, NamedTuple
from urllib.parse import unquote

from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.plain_text import TITLE, WEB_SCHEMES, spelled_address
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
_LABELLED: Final = re.compile(r"[ \t]*\[\^?(?P<label>[^\s\[\]]{1,60}+)\][:：]")
_ITEM: Final = re.compile(r"^[ \t]*(?:[-*+•–]|\|)[ \t]+")
_MARKED: Final = re.compile(r"\[\d{1,7}\]")
_NAME: Final = re.compile(r"[A-ZÀ-ÞĀ-ſА-ЯΑ-Ω][\w’'-]+|[一-鿿]{2,4}")
_YEAR: Final = re.compile(r"(?<!\d)(?:19|20)\d\d[a-z]?(?![\dA-Za-z])")
_ARTICLES: Final = frozenset(("the", "an", "der", "die", "das", "le", "la", "les", "el", "los"))
_AUTHORS: Final = 120
"""Characters of an entry in which its authors stand."""
_DELIVERED: Final = re.compile(r"(?P<url>\S+) - (?P<title>.*)")
_ESCAPED: Final = re.compile(r"\\([!-/:-@\[-`{-~])")
_ROUTES: Final = ("!", "/")
"""What a place within a page begins with where it names a page of its own."""
_CAMPAIGN: Final = re.compile(r"(?:utm_\w{1,20}|gclid|fbclid|msclkid|mc_[ce]id)=", re.IGNORECASE)
_AMPERSAND: Final = "&amp%3B"
"""`&amp;` as `spelled_address` leaves it."""
_PERCENT: Final = re.compile(r"(?:%[0-9A-Fa-f]{2})++")
_SYNTAX: Final = re.compile(r"%(?:2[356BF]|3[BDF]|40|0\d|1\d|7F)", re.IGNORECASE)
_TITLE_WORD: Final = re.compile(r"[\w+#]+")
_TITLE_ENDS: Final = re.compile(
    r"[.?!](?=\s|$)|[,;:]\s|\s[|–—-]\s|[\"“”«»„*_《》「」『』〈〉，。；：、]"
)
_STOPS: Final = r"\s<>|\"'`“”，。；、！？：（）【】《》「」"
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


class UnnumberedLine(NamedTuple):
    """A line with an address that begins with no number."""

    start: int
    end: int
    label: str
    """Of `[^label]: …` and `[label]: …`, in lower case; empty without one."""
    url: str
    text: str
    """The line, with the one above where the address stands alone."""
    alone: bool
    """The address stands alone in its line."""
    listed: bool
    """The line may be one of a list: it is an item, or its address stands at an end."""

    @property
    def address(self) -> tuple[int, int]:
        """Where its address stands."""
        at = self.text.rindex("\n") + 1 if "\n" in self.text else 0
        first = self.start + self.text.index(self.url, at) - at
        return first, first + len(self.url)


@dataclass(frozen=True, slots=True)
class Listed:
    """An answer's reference list, by all that a citation may name."""

    by_number: Mapping[int, Reference]
    """Of two lines with one number, one with an address wins."""
    by_label: Mapping[str, str]
    """Addresses by a footnote's label; empty where the footnote has none."""
    by_author: Mapping[tuple[str, str], str]
    """Addresses by each name before an entry's year, in lower case, and that year; empty where it
    is that of several."""
    counted: bool
    """The list has no numbers: its entries were counted."""

    @property
    def has_addresses(self) -> bool:
        """True when the list says what its numbers stand for."""
        return any(reference.url for reference in self.by_number.values())


def listed(
    lines: Sequence[ReferenceLine],
    entries: Sequence[UnnumberedLine],
    labels: Mapping[str, str],
    filled: int,
) -> Listed:
    """What a list of so many filled lines holds, and the labels that stand anywhere. One without
    any number is counted, if each entry has its address."""
    by_number: dict[int, Reference] = {}
    for number, url, title in (line.reference for line in lines):
        if number not in by_number or (url and not by_number[number].url):
            by_number[number] = Reference(number, url, title)
    plain = [entry for entry in entries if not entry.label]
    authors = [(each.title, each.url) for each in by_number.values() if each.url]
    authors += [(entry.text, entry.url) for entry in plain]
    each = 2 if all(entry.alone for entry in plain) else 1
    counted = not lines and bool(plain) and filled in {len(plain), each * len(plain)}
    if counted:
        by_number = {n: Reference(n, entry.url, "") for n, entry in enumerate(plain, 1)}
    by_author: dict[tuple[str, str], str] = {}
    for text, url in authors:
        if (year := _YEAR.search(text, 0, _AUTHORS)) is not None:
            names = {name.casefold() for name in _NAME.findall(text[: year.start()])}
            for name in names - _ARTICLES:
                known = by_author.setdefault((name, year[0]), url)
                by_author[name, year[0]] = url if known == url else ""
    return Listed(by_number, labels, by_author, counted)


def unnumbered_entries(
    lines: Sequence[tuple[int, str]], numbered: Iterable[ReferenceLine]
) -> Iterator[UnnumberedLine]:
    """Lines with an address that belong to no number."""
    inside = iter([(line.start, line.end) for line in numbered])
    nearest = next(inside, None)
    above = ""
    for start, line in lines:
        while nearest is not None and nearest[1] < start:
            nearest = next(inside, None)
        place = None if nearest is not None and start >= nearest[0] else _address(line)
        if place is not None:
            label, rest = _LABELLED.match(line), line[place[1] :].strip(" \t.,;)>]*_|")
            first = _ITEM.sub("", line[: place[0]]).strip(" \t(<[*_|")
            alone = not (label or first or rest)
            is_listed = _ITEM.match(line) is not None or not (first and rest)
            yield UnnumberedLine(
                start, start + len(line), label["label"].casefold() if label else "",
                line[slice(*place)], f"{above}\n{line}" if alone and above else line, alone,
                is_listed and _MARKED.search(line, place[1]) is None,
            )  # fmt: skip
        above = line.strip() if place is None else ""


def remarks(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, int, str]]:
    """Footnotes that have no address: where each stands, and its label."""
    for start, line in lines:
        label = _LABELLED.match(line)
        if label and line.lstrip()[1] == "^" and _address(line) is None:
            yield start, start + len(line), label["label"].casefold()


def same_address(url: str) -> str:
    """The form in which two spellings of an address are equal. Of a page of the web the place
    within it, a campaign's marks, `www.` and escapes that change nothing do not count."""
    return _comparable(spelled_address(url))


@lru_cache(maxsize=4_096)  # each call of a branch looks all of its sources up
def _comparable(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    scheme, rest = scheme.lower(), rest.removeprefix("//")
    if scheme not in WEB_SCHEMES:
        host, slash, path = rest.partition("/")
        return f"{scheme}{colon}{host.lower()}{slash}{path}".rstrip("/.,;")
    page, _, within = rest.replace(_AMPERSAND, "&").partition("#")
    page, _, query = page.partition("?")
    host, slash, path = page.partition("/")
    query = "&".join(part for part in query.split("&") if not _CAMPAIGN.match(part))
    place = _decoded(f"{slash}{path}".rstrip("/" if query else "/.,;"))
    asked = f"?{_decoded(query.rstrip('/.,;'))}" if query else ""
    route = f"#{within.rstrip('/.,;')}" if within.startswith(_ROUTES) else ""
    return f"https:{host.lower().removeprefix('www.').rstrip('.,;')}{place}{asked}{route}"


def _decoded(text: str) -> str:
    """Without the escapes that stand for no sign of an address's syntax, and Markdown's."""
    return _ESCAPED.sub(r"\1", _PERCENT.sub(_unescaped, text))


def _unescaped(escapes: re.Match[str]) -> str:
    if _SYNTAX.search(escapes[0]):
        return escapes[0].upper()
    try:
        return unquote(escapes[0], errors="strict")
    except UnicodeDecodeError:
        return escapes[0].upper()


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
    return (
        None if match is None else (match.start(), match.start() + len(trimmed_address(match[0])))
    )


def trimmed_address(address: str) -> str:
    """An address without a sentence's punctuation and without brackets it does not open."""
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
    """The sources of a run as citations find them: by id, by address and by title."""

    def __init__(self, sources: Iterable[Source]) -> None:
        self.by_id: dict[int, Source] = {}
        self.by_address: dict[str, Source] = {}
        self._by_title: dict[str, Source | None] = {}
        self._last_list: tuple[Mapping[int, Reference], Mapping[int, Source]] | None = None
        for source in sources:
            self.by_id[source.id] = source
            address = same_address(source.url)
            other = self.by_address.get(address)
            if other is None or (source.read and not other.read):
                self.by_address[address] = source
            title = _title_words(source.title)
            named = self._by_title.setdefault(title, source)
            if named is None or same_address(named.url) != address:
                self._by_title[title] = None

    def by_titles(self, references: Mapping[int, Reference]) -> Mapping[int, Source]:
        """What the numbers of a list without addresses lead to where each entry names a source of
        its own by its title; else nothing."""
        if self._last_list is None or self._last_list[0] is not references:
            named = {number: self._titled(line.title) for number, line in references.items()}
            sources = {number: source for number, source in named.items() if source is not None}
            each_its_own = len({source.id for source in sources.values()}) == len(references)
            self._last_list = references, sources if each_its_own else {}
        return self._last_list[1]

    def _titled(self, entry: str) -> Source | None:
        """The one source whose title an entry is, or has between two stops."""
        entry = entry[:TITLE]
        whole = self._by_title.get(_title_words(entry))
        if whole is not None:
            return whole
        pieces = {words for piece in _TITLE_ENDS.split(entry) if (words := _title_words(piece))}
        found = [source for words in pieces if (source := self._by_title.get(words)) is not None]
        return found[0] if len(found) == 1 else None


def _title_words(title: str) -> str:
    return " ".join(_TITLE_WORD.findall(title.casefold())[:TITLE])


def addresses(text: str, start: int = 0, end: int | None = None) -> Iterator[tuple[int, str]]:
    """Where each web address of the text begins, and the address without what surrounds it."""
    for match in _WEB.finditer(text, start, len(text) if end is None else end):
        at = match.start()
        for piece in match[0].split("]["):  # two in brackets, side by side
            if "://" in piece:
                yield at, trimmed_address(piece)
            at += len(piece) + 2


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
