"""Citations in running text, in every form that models write: numbers and addresses.

Numbers stand in brackets (`[3]`, `[1, 4-6]`, `［3］`, `【3†L4】`, `[^3]`), in `<sup>`, as
superscripts, or glued to the end of a sentence that lost its formatting (`tides.3 The`). Addresses
stand in links (`[Tides](https://…)`, `[[3]](https://…)`) or bare, or are those of what a label, or
an author and a year, name in the answer's own list.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from oresearch_graph.trace.references import Listed, addresses, trimmed_address

_NUMBER: Final = r"\^?\d{1,7}"
_NUMBERS: Final = rf"""
    {_NUMBER} (?: \s*+ [,，、;；–-] \s*+ {_NUMBER} )*+
    (?: \s*+ [,，] \s*+ (?: pp?\. | S\. | 第 ) [^\[\]［］\n]{{0,20}}+ )?   # a page
"""
_WORDS: Final = r"(?: [^\[\]\n]{1,300}+ | \[ [^\[\]\n]{0,80}+ \] ){1,5}+"
_TARGET: Final = r"""
    \( \s*+ <? https?:// (?: [^\s()<>`]++ | \( [^\s()<>`]*+ \) )++ >?
    (?: \s++ "[^"\n]{0,300}" )? \s*+ \)"""
_MARK: Final = re.compile(
    rf"""
    (?P<code> `[^`\n]+` )
    | (?P<picture> !\[ [^\[\]\n]{{0,300}} \] \( [^\s()]{{0,2000}} \) )
    | (?P<together> \( \[ {_WORDS} \] {_TARGET} (?: \s*+ [,;] \s*+ \[ {_WORDS} \] {_TARGET} )*+ \) )
    | \[ \\?\[ {_NUMBER} \\?\] \] (?P<number> {_TARGET} )
    | \[ (?P<words> {_WORDS} ) \] (?P<link> {_TARGET} )
    | \\? [\[［] (?P<numbers> {_NUMBERS} ) \\? [\]］]
      (?: \( \# [^\s()]{{0,80}} \) )?                                   # a link within the page
      (?! \( | :[ \t]*\w{{1,20}}:// )                                   # a link's definition
    | \[ (?P<label> \^? [^\s\[\]\\/]{{1,60}}+ ) \] (?! \( )
    | 【 (?P<wide> \d{{1,7}} ) (?: † [^】\n]{{0,80}} )? 】
    | <sup> (?: <a [ ] [^<>\n]{{0,300}} > )? [ ]? \[? (?P<raised> {_NUMBERS} ) \]? [ ]? (?: </a> )?
      </sup>
    """,
    re.VERBOSE,
)
_LINKED: Final = re.compile(rf"\] (?P<link> {_TARGET} )", re.VERBOSE)
_ALONE: Final = re.compile(r"\s*(?:[.,;:!?)\]。，；）]|\[|$|[A-ZÀ-Þ])|\s*\n")
"""What follows a number in a link that is a mark: `[42](…) metres` is none."""
_ENDS: Final = re.compile(r"[\s.,;:!?)>\]。，；）】]*(?:\n|$|[A-ZÀ-Þ\[(<一-鿿぀-ヿ가-힣])")
"""What follows a bare address that ends its sentence."""
_BRACKETS: Final = {"(": ")", "（": "）", "[": "]", "<": ">"}
_RAISED: Final = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_SUPERSCRIPT: Final = re.compile(
    rf"""
    (?: (?<= [^\W\d_][^\W\d_][^\W\d_] ) | (?<= [.,;:!?)”"’»。，；、！？）] ) )
    [{_RAISED}]{{1,3}}+ (?: [,，⸴ ] [{_RAISED}]{{1,3}}+ )*+ (?! [{_RAISED}⁺⁻] )
    """,
    re.VERBOSE,
)
_DIGITS: Final = str.maketrans(_RAISED, "0123456789")
_FLATTENED: Final = re.compile(
    r"""
    (?: (?<= [^\W\d_][^\W\d_][.!?] ) | (?<= [)”"’»][.!?] ) | (?<= [.!?][)”"’»] ) )
    (?P<numbers> \d{1,3}+ (?: ,[ ]?\d{1,3}+ )*+ ) (?= \s+ [A-ZÀ-Þ] | \s* $ | \s*\n )
    """,
    re.VERBOSE,
)
_PARENTHESIS: Final = re.compile(r"[(（](?P<inside>[^()（）\n]{4,300}+)[)）]")
_AUTHOR_YEAR: Final = re.compile(
    r"(?:(?:see|cf\.?|e\.g\.,?|vgl\.|siehe)\s+)?(?P<name>[^\W\d_][\w’'-]*+)[^\d]*+(?P<year>\d{4}[a-z]?)"
    r"(?:[,，]\s*(?:pp?\.|S\.|第).{0,20})?"
)
_BEFORE: Final = re.compile(r"(?P<name>[^\W\d_][\w’'-]{0,40})(?: et al\.)?\s?$")
NUMBER_OR_RANGE: Final = re.compile(r"(\d+)(?:\s*[–-]\s*\^?(\d+))?")
"""One part of a mark's bracket."""

Spans = Sequence[tuple[int, int]]


class Mark(NamedTuple):
    """One cited number: `[3]`, or the 3 of `[1, 3]`; the span is that of the whole bracket."""

    start: int
    end: int
    number: int


class Link(NamedTuple):
    """A citation that states its address, or names what the answer's own list has it for."""

    start: int
    end: int
    url: str
    """Empty where a label is defined nowhere."""
    words: str = ""
    """What stays where the citation is taken away: of `[Tides](…)` the title."""
    bare: bool = False
    """An address as it stands."""


def find_marks(
    text: str, spans: Iterable[tuple[int, int]], listed: Listed
) -> tuple[list[Mark], list[Link]]:
    """The citations in these spans of a text, in order; `listed` is its reference list. Forms that
    prose has as well count only where no plainer one stands."""
    spans = list(spans)
    marks, links, taken = _written(text, spans, listed.by_label)
    numbered = {} if listed.counted else listed.by_number
    if not (marks or links):
        marks = list(_superscripts(text, spans, numbered))
    if not marks:
        links += _bare(text, spans, taken)
        links += _by_authors(text, spans, listed.by_author)
    if not (marks or links):
        flattened = list(_flattened(text, spans, numbered))
        marks = flattened if len({mark.number for mark in flattened}) > 1 else []
    return sorted(marks, key=_place), _apart(sorted(links, key=_place))


def _apart(links: Iterable[Link]) -> list[Link]:
    """The links without those that begin inside another."""
    apart: list[Link] = []
    for link in links:
        if not apart or link.start >= apart[-1].end or link.start == apart[-1].start:
            apart.append(link)
    return apart


def _place(citation: Mark | Link) -> tuple[int, int]:
    return citation.start, citation.end


def _written(
    text: str, spans: Spans, by_label: Mapping[str, str]
) -> tuple[list[Mark], list[Link], list[tuple[int, int]]]:
    """Marks and links that show what they are, and all that no bare address stands in."""
    marks, links, taken = list[Mark](), list[Link](), list[tuple[int, int]]()
    for start, end in spans:
        matches = list(_MARK.finditer(text, start, end))
        numbered = _are_marks(matches)
        for match in matches:
            place = match.span()
            taken.append(place)
            if match["together"]:
                links += [Link(*place, _url(link[1])) for link in _LINKED.finditer(match[0])]
            elif target := match["number"] or match["link"]:
                links.append(Link(*place, _url(target), _kept(text, match, numbered)))
            elif label := match["label"]:
                url = by_label.get(label.removeprefix("^").casefold())
                if url or (url is None and label[0] == "^"):
                    links.append(Link(*place, url or ""))
            elif numbers := match["numbers"] or match["wide"] or match["raised"]:
                marks += [Mark(*place, number) for number in _numbers(numbers)]
    return marks, links, taken


def unmarked(text: str) -> str:
    """A sentence without its marks and links and the blanks before them; of a link its words
    stay."""
    pieces, at = list[str](), 0
    for match in _MARK.finditer(text):
        label = match["label"] or "^"
        if match["code"] is None and label[0] == "^":
            words = _kept(text, match)
            before = text[at : match.start()]
            pieces += [before if words else before.rstrip(), words]
            at = match.end()
    return "".join([*pieces, text[at:]])


def _url(target: str) -> str:
    """The address of a link's parenthesis, which may hold a title as well."""
    return trimmed_address(target.strip()[1:-1].split()[0].strip("<>"))


def _kept(text: str, match: re.Match[str], numbered: bool = False) -> str:
    """The words of a link, unless they are an address, or a number that is a mark: `numbered`, all
    are, else those that end a part of a sentence."""
    words = (match["words"] or "").strip()
    if "://" in words:
        return ""
    number = words.strip("[]()^\\ ")
    marks = number.isdigit() and len(number) <= 3
    return "" if marks and (numbered or _ALONE.match(text, match.end())) else words


def _are_marks(matches: Sequence[re.Match[str]]) -> bool:
    """True when the numbers in the links count the addresses: each has its own, and none is
    large."""
    urls: dict[int, set[str]] = {}
    for match in matches:
        number = (match["words"] or "").strip("[]()^\\ ")
        if number.isdigit() and len(number) <= 3:
            urls.setdefault(int(number), set()).add(_url(match["link"]))
    return len(urls) > 1 and max(urls) <= 2 * len(urls) and all(len(u) == 1 for u in urls.values())


def _numbers(bracket: str) -> Iterator[int]:
    """`1, 3-5` is 1, 3, 4, 5. A range of years, or of ledger ids, is no citation of each."""
    for first, last in NUMBER_OR_RANGE.findall(bracket):
        low, high = int(first), int(last or first)
        if low <= high < min(low + 30, 1000):
            yield from range(low, high + 1)
        elif not last:
            yield low
        elif high < 1000:
            yield from (low, high)


def _superscripts(text: str, spans: Spans, listed: Collection[int]) -> Iterator[Mark]:
    for start, end in spans if listed else ():
        for match in _SUPERSCRIPT.finditer(text, start, end):
            numbers = [int(n) for n in re.split(r"\D", match[0].translate(_DIGITS))]
            if all(number in listed for number in numbers):
                yield from (Mark(*match.span(), number) for number in numbers)


def _flattened(text: str, spans: Spans, listed: Collection[int]) -> Iterator[Mark]:
    for start, end in spans if listed else ():
        for match in _FLATTENED.finditer(text, start, end):
            numbers = [int(number) for number in match["numbers"].split(",")]
            if all(number in listed for number in numbers):
                yield from (Mark(*match.span("numbers"), number) for number in numbers)


def _bare(text: str, spans: Spans, taken: Sequence[tuple[int, int]]) -> Iterator[Link]:
    """Addresses in brackets, or at the end of their sentence: others are told, not cited."""
    ahead = iter(taken)
    nearest = next(ahead, None)
    for start, end in spans:
        for at, url in addresses(text, start, end):
            while nearest is not None and nearest[1] <= at:
                nearest = next(ahead, None)
            inside = nearest is not None and nearest[0] <= at
            if inside or not url.startswith(("http://", "https://")):
                continue
            before, stop = text[max(start, at - 1) : at], at + len(url)
            if _BRACKETS.get(before) == text[stop : stop + 1]:
                yield Link(at - 1, stop + 1, url, bare=True)
            elif before not in {'"', "'", "="} and (
                (before in {"(", "（"} and text[stop : stop + 1] in {",", ";"})
                or _ENDS.match(text, stop, end)
            ):
                yield Link(at, stop, url, bare=True)


def _by_authors(text: str, spans: Spans, listed: Mapping[tuple[str, str], str]) -> Iterator[Link]:
    """`(Noor & Orme, 2019; see Quill 2020)` and `Noor (2019)`, where the list has all of them."""
    for start, end in spans if listed else ():
        for match in _PARENTHESIS.finditer(text, start, end):
            parts = [part.strip() for part in re.split("[;；]", match["inside"])]
            if len(parts) == 1 and parts[0][:4].isdigit() and len(parts[0]) <= 5:
                before = _BEFORE.search(text[max(start, match.start() - 60) : match.start()])
                parts = [f"{before['name']} {parts[0]}"] if before else []
            named = [_AUTHOR_YEAR.fullmatch(part) for part in parts]
            urls = [listed.get((m["name"].casefold(), m["year"]), "") if m else "" for m in named]
            if urls and all(urls):
                yield from (Link(*match.span(), url) for url in urls)
