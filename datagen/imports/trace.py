"""What every import claims of a trace, and nothing beyond: outcome, dialect, who wrote; and the
sources of one that brought no ledger: every address that its observations show, with their text.

Four forms of observation are read: this project's own (their numbers stay), lists of results as
JSON, lists of results as text, and pages that were asked for by address. Ids are this project's:
branch i counts from i * 1000 + 1, so that a bare `[3]` never resolves by chance."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.ledger import SourceLedger, read_observation
from oresearch_graph.text.language import detect_language
from oresearch_graph.trace import Dialect, Outcome, Protocol, Role, Source, Step, Trace, read_call
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.plain_text import storable
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


class Sighting(NamedTuple):
    """What one observation shows of one address."""

    url: str
    text: str = ""
    title: str = ""
    read: bool = False
    published: str | None = None


def shown_sources(steps: Sequence[Step]) -> tuple[Source, ...]:
    """The ledger that the observations tell, by id. A link inside a page is a source when the
    policy speaks of it."""
    sources = {same_address(source.url): source for source in _own(steps)}
    mentions = {
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
            ledger = SourceLedger(branch, sources.values())
        for record in _shown(before, step, mentions):
            source = ledger.show(record.url, record.text, title=record.title, read=record.read,
                                 published=record.published)  # fmt: skip
            sources[same_address(source.url)] = source
    return tuple(sorted(sources.values(), key=lambda source: source.id))


def _own(steps: Iterable[Step]) -> list[Source]:
    """The sources of observations in this project's form, under the numbers they showed."""
    sources: dict[int, Source] = {}
    for before, step in pairwise([None, *steps]):
        if step is None or step.kind != "observation":
            continue
        opened = before is not None and before.kind == "crawl_page"
        for record in read_observation(step.text):
            earlier = sources.get(record.id)
            if earlier is not None and same_address(earlier.url) != same_address(record.url):
                continue
            text = f"{earlier.text}\n{record.text}" if earlier and earlier.text else record.text
            sources[record.id] = Source.of(
                id=record.id, url=record.url, title=record.title, text=text, branch=step.branch,
                read=opened or (earlier is not None and earlier.read),
            )  # fmt: skip
    return list(sources.values())


def _shown(call: Step | None, observation: Step, mentions: Collection[str]) -> Iterator[Sighting]:
    """The addresses of an observation, those that it is about first."""
    text = observation.text
    requests = read_call(call).items if call is not None and call.kind == "crawl_page" else ()
    records = list(_pages(text, requests)) if requests else list(_json_results(text))
    yield from records
    have = {same_address(record.url) for record in records}
    urls = (source.url for source in seen_sources(_pair(call, observation)))
    rest = [url for url in urls if same_address(url) not in have]
    if requests or records:
        yield from (Sighting(url) for url in rest if same_address(url) in mentions)
    else:
        yield from _listed(text, rest)


def _pair(call: Step | None, observation: Step) -> list[Step]:
    return [observation] if call is None else [call, observation]


def _pages(text: str, requests: Sequence[str]) -> Iterator[Sighting]:
    """Pages that were asked for. Of several, each begins where its address stands."""
    if len(requests) == 1:
        yield Sighting(requests[0], text.strip(), read=_was_read(text))
        return
    found_at = _places(text)
    places = {url: found_at[url] for url in requests if url in found_at}
    ends = [*sorted(places.values()), len(text)]
    for url in requests:
        if url not in places:
            yield Sighting(url)
            continue
        end = ends[bisect_right(ends, places[url], hi=len(ends) - 1)]
        page = text[places[url] : end].removeprefix(url).strip()
        yield Sighting(url, page, read=_was_read(page))


def _places(text: str) -> dict[str, int]:
    """Where each address stands first, of the web or of another kind."""
    starts: dict[str, int] = {}
    for word in _BARE.finditer(text):
        starts.setdefault(word[0].rstrip(".,;:!?"), word.start())
    for at, address in addresses(text):
        starts[address] = min(at, starts.get(address, at))
    return starts


def _was_read(page: str) -> bool:
    return bool(page.strip()) and not (len(page) < _SHORT and _FAULT.search(page))


def _json_results(text: str) -> Iterator[Sighting]:
    if not text.lstrip().startswith(("[", "{")):
        return
    try:
        whole = json.loads(text)
        json.dumps(whole, ensure_ascii=False).encode()  # raises on the escape of a lone surrogate
    except (ValueError, RecursionError):
        return
    yield from _results_in(whole)


def _results_in(value: Any, depth: int = 20) -> Iterator[Sighting]:  # noqa: ANN401
    """What lies more than `left` lists or objects deep is no result."""
    if isinstance(value, list) and depth:
        for each in value:
            yield from _results_in(each, depth - 1)
    if not isinstance(value, dict) or not depth:
        return
    url = _first(value, _ADDRESS_KEYS)
    if re.match(r"[A-Za-z][\w+.-]*:\S+$", url):
        dated = _ISO_DATE.match(_first(value, ("published_date", "published", "date")))
        texts = (value[key] for key in _TEXT_KEYS if isinstance(value.get(key), str))
        yield Sighting(url, "\n".join(dict.fromkeys(texts)), _first(value, _TITLE_KEYS),
                    published=dated[0] if dated else None)  # fmt: skip
        return
    for each in value.values():
        yield from _results_in(each, depth - 1)


def _first(value: dict[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if isinstance(text := value.get(name), str) and text), "")


class _Head(NamedTuple):
    start: int
    end: int
    url: str
    title: str


def _listed(text: str, urls: Sequence[str]) -> Iterator[Sighting]:
    """Results in a list of text: a result's head is a marked line with its address, an address
    that is labelled, or one that stands alone; what follows is said of it. Of an address inside
    other text only its line is."""
    heads, loose, places = [], [], _places(text)
    for url in urls:
        start, end = _line_around(text, places.get(url, 0))
        head = _head(text, start, end, url)
        if head is None:
            loose.append(Sighting(url, text[start:end].strip()))
        else:
            heads.append(head)
    heads.sort()
    stops = [*(head.start for head in heads), len(text)]
    for head, stop in zip(heads, stops[1:], strict=True):
        text_below = _QUERY.split(text[head.end : max(stop, head.end)])[0].strip()
        yield Sighting(head.url, text_below, head.title)
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
    title_line = _TITLE.match(text[above:start].strip("\n")) if above < start else None
    marked = _RESULT.match(text[above:start]) if above < start else None
    if title_line is None and marked is None:
        return _Head(start, end, url, "")
    heading = title_line[1] if title_line else _RESULT.sub("", text[above:start], count=1)
    return _Head(above, end, url, heading.strip())


class ImportFault(Exception):
    """Why a row is no trace, and what would mend it."""


def trace_of(
    question: str,
    steps: Sequence[Step],
    *,
    prompt: str = "",
    tools: Sequence[str] = (),
    model: str | None = None,
) -> Trace:
    """A Trace of steps that one growing context held: sequential. Sources are what observations
    show; citations are checked against that; an unnamed model stays unnamed."""
    steps = with_branches(steps)
    question = storable(question)
    sources = shown_sources(steps)
    protocol = Protocol(
        dialect=_dialect(steps), execution="sequential", prompt=prompt, tools=tuple(tools)
    )
    trace = Trace(
        question=question,
        language=detect_language(question),
        protocol=protocol,
        steps=tuple(steps),
        sources=sources,
        models=dict.fromkeys(_roles(steps), storable(model)) if model else {},
    )
    report = trace.answer
    citations = None if report is None else verify_report(parse_answer(report.text), sources)
    return trace.model_copy(update={"outcome": _outcome(trace), "citations": citations})


def with_branches(steps: Sequence[Step]) -> list[Step]:
    """The steps with their subtask's number: a branch begins at each `subtask`."""
    numbered: list[Step] = []
    last, branch = 0, None
    for step in steps:
        if step.kind == "subtask":
            last += 1
            branch = last
        elif step.kind == "suggested_answer":
            branch = None
        number = None if step.kind == "subtask_list" else branch
        numbered.append(
            step if step.branch == number else step.model_copy(update={"branch": number})
        )
    return numbered


def _dialect(steps: Sequence[Step]) -> Dialect:
    """Of the calls as they are written."""
    texts = [step.text.lstrip() for step in steps if step.kind in {"web_search", "crawl_page"}]
    return "released" if any(text.startswith(("query=", "url=")) for text in texts) else "paper"


def _roles(steps: Sequence[Step]) -> list[Role]:
    kinds = {step.kind for step in steps if step.author == "policy"}
    roles: list[Role] = ["planner"] if "subtask_list" in kinds else []
    if kinds & {"think", "plan", "web_search", "crawl_page", "tool_call", "subtask_answer"}:
        roles.append("researcher")
    return [*roles, "summarizer"] if "suggested_answer" in kinds else roles


def _outcome(trace: Trace) -> Outcome:
    """complete: a report, and an answer to every subtask. partial: one without the other. failed:
    neither."""
    answered = [
        any(step.kind == "subtask_answer" and step.text.strip() for step in steps)
        for steps in trace.branches.values()
    ]
    report = trace.answer
    reported = report is not None and bool(report.text.strip()) and report.closed is not None
    whole = all(answered) and len(answered) >= len(trace.subtasks)
    if reported and whole:
        return "complete"
    return "partial" if any(answered) or (report and report.text.strip()) else "failed"
