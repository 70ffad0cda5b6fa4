"""Citations in an answer's text: its marks, its own reference list, and what they resolve to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from oresearch_graph.trace.record import Source
from oresearch_graph.trace.report_form import find_sections
from oresearch_graph.trace.step import Step

_CODE: Final = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]+`", re.DOTALL)
_MARK: Final = re.compile(r"\[(\d{1,6}(?:\s*[,，、]\s*\d{1,6})*)\](?![(:])|【(\d{1,6})】")
_LISTED: Final = re.compile(
    r"^[ \t]*(?:[-*+][ \t]+)?(?:\[(\d{1,6})\]|(\d{1,6})[.)、])[.:：]?[ \t]+(.*)$", re.MULTILINE
)
_NUMBERED: Final = re.compile(r"[ \t]*(?:[-*+][ \t]+)?(?:\[\d{1,6}\]|【\d{1,6}】|\d{1,6}[.)、])")
_ADDRESS: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?://)?[^\s<>\"'`）】]+")
_WEB: Final = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s<>\"'`）】)\]]+")


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


def same_address(url: str) -> str:
    """The form in which two spellings of an address are equal."""
    scheme, colon, rest = url.strip().partition(":")
    host, slash, path = rest.removeprefix("//").partition("/")
    scheme = "https" if scheme.lower() == "http" else scheme.lower()
    return f"{scheme}{colon}{host.lower()}{slash}{path}".rstrip("/.,;")


def body_span(text: str) -> tuple[int, int]:
    """Where the answer's prose stands: all that comes before its reference list."""
    listed = [match.start() for match in _LISTED.finditer(text) if _ADDRESS.search(match[3])]
    tail = [
        section.heading_start
        for section in find_sections(text)
        if section.name == "references"
        and (
            any(section.heading_start <= line for line in listed)
            or _only_numbers(text[section.start : section.end])
        )
    ]
    return 0, min([*tail, *_trailing(text, listed)], default=len(text))


def _only_numbers(text: str) -> bool:
    """True for a list whose every line begins with its number, addresses or not."""
    lines = [line for line in text.splitlines() if line.strip()]
    return bool(lines) and all(_NUMBERED.match(line) for line in lines)


def _trailing(text: str, listed: Sequence[int]) -> list[int]:
    """The start of an unheaded run of reference lines that ends the text."""
    first = None
    for start in reversed(listed):
        between = text[start : first if first is not None else len(text)]
        if len([line for line in between.splitlines() if line.strip()]) > 1:
            break
        first = start
    return [] if first is None else [first]


def citation_marks(text: str) -> list[Mark]:
    """Every cited number in the prose, in order; code and the reference list are left out."""
    _, end = body_span(text)
    code = [match.span() for match in _CODE.finditer(text, 0, end)]
    marks = []
    for match in _MARK.finditer(text, 0, end):
        if any(start <= match.start() < stop for start, stop in code):
            continue
        marks += [
            Mark(match.start(), match.end(), int(number))
            for number in re.findall(r"\d+", match[1] or match[2])
        ]
    return marks


def reference_list(text: str) -> dict[int, Reference]:
    """The answer's own list by number. Of two lines with one number, one with an address wins."""
    found: dict[int, Reference] = {}
    _, end = body_span(text)
    for match in _LISTED.finditer(text, end):
        number, line = int(match[1] or match[2]), match[3].strip()
        address = _ADDRESS.search(line)
        url = address[0].rstrip(".,;") if address else ""
        title = (line[: address.start()] + line[address.end() :] if address else line).strip(
            " -–—:"
        )
        if number not in found or (url and not found[number].url):
            found[number] = Reference(number, url, title)
    return found


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

        Through the answer's list if it has one, else as a ledger id (DESIGN section 4).
        """
        if not references:
            return self.by_id.get(number)
        listed = references.get(number)
        return self.by_address.get(same_address(listed.url)) if listed and listed.url else None


def resolve(number: int, answer: str, sources: Sequence[Source]) -> Source | None:
    """The source that `[number]` in `answer` resolves to; None when it dangles."""
    return Ledger(sources).resolve(number, reference_list(answer))


def seen_sources(steps: Iterable[Step]) -> list[Source]:
    """A ledger for a trace that came from bare text: every address its observations show."""
    found: dict[str, Source] = {}
    for step in steps:
        if step.kind == "observation":
            for match in _WEB.finditer(step.text):
                url = match[0].rstrip(".,;")
                if same_address(url) not in found:
                    found[same_address(url)] = Source(id=len(found) + 1, url=url)
    return list(found.values())
