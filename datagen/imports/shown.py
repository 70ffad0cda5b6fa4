"""The sources of a trace that brought no ledger: every address that its observations show, with
the text they show of it.

Four forms are read: this project's own observations (their numbers stay), lists of results as
JSON, lists of results as text, and pages that were asked for by address. Ids are this project's:
branch i counts from i * 1000 + 1, so that a bare `[3]` never resolves by chance.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from oresearch_graph.evidence.ledger import SourceLedger, read_observation
from oresearch_graph.trace import Source, Step, read_call
from oresearch_graph.trace.references import addresses, same_address, seen_sources

_ADDRESS_KEYS: Final = ("url", "link", "href", "source_url")
_TITLE_KEYS: Final = ("title", "name")
_TEXT_KEYS: Final = (
    "raw_content", "content", "text", "snippet", "description", "summary", "body", "markdown",
)  # fmt: skip
_ISO_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}")
_RESULT: Final = re.compile(r"(?<!\s)\s*+(?:\d{1,3}[.)、]|[-*+•]|[\[【]\d{1,4}[\]】]|#{1,4}\s)")
_LABELLED: Final = re.compile(
    r"\W*(?:url|link|source|address|链接|来源|网址)\W*[:：]", re.IGNORECASE
)
_TITLE: Final = re.compile(r"\W*(?:title|标题)\W*[:：]\s*(.*)", re.IGNORECASE)
_QUERY: Final = re.compile(r"^#+ Query: .*$", re.MULTILINE)
_FAULT: Final = re.compile(
    r"\b(?:error|failed|failure|timed out|timeout|40[0-9]|50[0-9]|forbidden|not found)\b",
    re.IGNORECASE,
)
_BARE: Final = re.compile(r"[^\s<>()\[\]\"']++")
_LONG: Final = 2_000
"""Characters on each side that are shown of a line: every address of one endless line has it."""
_SHORT: Final = 400
"""Characters: a page that is shorter and speaks of an error was not read."""


class Shown(NamedTuple):
    """What one observation shows of one address."""

    url: str
    text: str = ""
    title: str = ""
    read: bool = False
    published: str | None = None


def shown_sources(steps: Sequence[Step]) -> tuple[Source, ...]:
    """The ledger that the observations tell, by id. A link inside a page is a source when the
    policy speaks of it."""
    known = {same_address(source.url): source for source in _own(steps)}
    spoken = {
        same_address(address)
        for step in steps
        if step.author == "policy"
        for _, address in addresses(step.text)
    }
    branch, ledger = 0, SourceLedger(1)
    for before, step in pairwise([None, *steps]):
        if step is None or step.kind != "observation" or read_observation(step.text):
            continue
        if branch != (step.branch or 1):
            branch = step.branch or 1
            ledger = SourceLedger(branch, known.values())
        for shown in _shown(before, step, spoken):
            source = ledger.show(shown.url, shown.text, title=shown.title, read=shown.read,
                                 published=shown.published)  # fmt: skip
            known[same_address(source.url)] = source
    return tuple(sorted(known.values(), key=lambda source: source.id))


def _own(steps: Iterable[Step]) -> list[Source]:
    """The sources of observations in this project's form, under the numbers they showed."""
    found: dict[int, Source] = {}
    for before, step in pairwise([None, *steps]):
        if step is None or step.kind != "observation":
            continue
        opened = before is not None and before.kind == "crawl_page"
        for shown in read_observation(step.text):
            known = found.get(shown.id)
            if known is not None and same_address(known.url) != same_address(shown.url):
                continue
            text = f"{known.text}\n{shown.text}" if known and known.text else shown.text
            found[shown.id] = Source.of(
                id=shown.id, url=shown.url, title=shown.title, text=text, branch=step.branch,
                read=opened or (known is not None and known.read),
            )  # fmt: skip
    return list(found.values())


def _shown(call: Step | None, observation: Step, spoken: Collection[str]) -> Iterator[Shown]:
    """The addresses of an observation, those that it is about first."""
    text = observation.text
    asked = read_call(call).items if call is not None and call.kind == "crawl_page" else ()
    told = list(_pages(text, asked)) if asked else list(_json_results(text))
    yield from told
    have = {same_address(shown.url) for shown in told}
    seen = (source.url for source in seen_sources(_pair(call, observation)))
    rest = [url for url in seen if same_address(url) not in have]
    if asked or told:
        yield from (Shown(url) for url in rest if same_address(url) in spoken)
    else:
        yield from _listed(text, rest)


def _pair(call: Step | None, observation: Step) -> list[Step]:
    return [observation] if call is None else [call, observation]


def _pages(text: str, asked: Sequence[str]) -> Iterator[Shown]:
    """Pages that were asked for. Of several, each begins where its address stands."""
    if len(asked) == 1:
        yield Shown(asked[0], text.strip(), read=_was_read(text))
        return
    known = _places(text)
    places = {url: known[url] for url in asked if url in known}
    ends = [*sorted(places.values()), len(text)]
    for url in asked:
        if url not in places:
            yield Shown(url)
            continue
        end = ends[bisect_right(ends, places[url], hi=len(ends) - 1)]
        page = text[places[url] : end].removeprefix(url).strip()
        yield Shown(url, page, read=_was_read(page))


def _places(text: str) -> dict[str, int]:
    """Where each address stands first, of the web or of another kind."""
    found: dict[str, int] = {}
    for word in _BARE.finditer(text):
        found.setdefault(word[0].rstrip(".,;:!?"), word.start())
    for at, address in addresses(text):
        found[address] = min(at, found.get(address, at))
    return found


def _was_read(page: str) -> bool:
    return bool(page.strip()) and not (len(page) < _SHORT and _FAULT.search(page))


def _json_results(text: str) -> Iterator[Shown]:
    if not text.lstrip().startswith(("[", "{")):
        return
    try:
        whole = json.loads(text)
        json.dumps(whole, ensure_ascii=False).encode()  # raises on the escape of a lone surrogate
    except (ValueError, RecursionError):
        return
    yield from _results_in(whole)


def _results_in(value: Any, left: int = 20) -> Iterator[Shown]:  # noqa: ANN401
    """What lies more than `left` lists or objects deep is no result."""
    if isinstance(value, list) and left:
        for each in value:
            yield from _results_in(each, left - 1)
    if not isinstance(value, dict) or not left:
        return
    url = _first(value, _ADDRESS_KEYS)
    if re.match(r"[A-Za-z][\w+.-]*:\S+$", url):
        dated = _ISO_DATE.match(_first(value, ("published_date", "published", "date")))
        texts = (value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str))
        yield Shown(url, "\n".join(dict.fromkeys(texts)), _first(value, _TITLE_KEYS),
                    published=dated[0] if dated else None)  # fmt: skip
        return
    for each in value.values():
        yield from _results_in(each, left - 1)


def _first(value: dict[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if isinstance(text := value.get(name), str) and text), "")


class _Head(NamedTuple):
    start: int
    end: int
    url: str
    title: str


def _listed(text: str, urls: Sequence[str]) -> Iterator[Shown]:
    """Results in a list of text: a result's head is a marked line with its address, an address
    that is labelled, or one that stands alone; what follows is said of it. Of an address inside
    other text only its line is."""
    heads, loose, places = [], [], _places(text)
    for url in urls:
        start, end = _line_around(text, places.get(url, 0))
        head = _head(text, start, end, url)
        if head is None:
            loose.append(Shown(url, text[start:end].strip()))
        else:
            heads.append(head)
    heads.sort()
    stops = [*(head.start for head in heads), len(text)]
    for head, stop in zip(heads, stops[1:], strict=True):
        said = _QUERY.split(text[head.end : max(stop, head.end)])[0].strip()
        yield Shown(head.url, said, head.title)
    yield from loose


def _line_around(text: str, at: int) -> tuple[int, int]:
    """The line, or of a very long one what stands around the place."""
    low, high = max(0, at - _LONG), min(len(text), at + _LONG)
    start, end = text.rfind("\n", low, at), text.find("\n", at, high)
    return low if start < 0 else start + 1, high if end < 0 else end


def _head(text: str, start: int, end: int, url: str) -> _Head | None:
    line = text[start:end]
    labelled = _LABELLED.match(line) or line.strip(" <>()") == url
    if not (labelled or _RESULT.match(line)):
        return None
    title = _RESULT.sub("", line, count=1).replace(f"({url})", "").replace(url, "").strip(" -–:")
    if not labelled:
        return _Head(start, end, url, title.removeprefix("[").removesuffix("]"))
    above, _ = _line_around(text, max(0, start - 1))
    named = _TITLE.match(text[above:start].strip("\n")) if above < start else None
    marked = _RESULT.match(text[above:start]) if above < start else None
    if named is None and marked is None:
        return _Head(start, end, url, "")
    told = named[1] if named else _RESULT.sub("", text[above:start], count=1)
    return _Head(above, end, url, told.strip())
