"""The source ledger of a run and the observations that show it to a policy.

Ids are unique across branches without coordination: branch i counts from i * 1000 + 1. A source
keeps exactly the text that observations showed, for a claim can rest on nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.passages import best_passages
from oresearch_graph.known_secrets import without_known
from oresearch_graph.trace import Source
from oresearch_graph.trace.references import same_address

BLOCK: Final = 1000
GAP: Final = "[…]"
NOTICE: Final = "Notice: "
_HEADER: Final = re.compile(r"^\[(\d{4,})\] (.*)\n(\S+)$", re.MULTILINE)
_QUERY: Final = "## Query: "


class SourceLedger:
    """The sources that one branch knows, its own and earlier ones, by address."""

    def __init__(self, branch: int, known: Iterable[Source] = ()) -> None:
        self.branch = branch
        self._by_address: dict[str, Source] = {same_address(s.url): s for s in known}
        own = [s.id for s in self._by_address.values() if s.id // BLOCK == branch]
        self._next = max(own, default=branch * BLOCK) + 1
        self._changed: dict[int, Source] = {}

    def get(self, url: str) -> Source | None:
        return self._by_address.get(same_address(url))

    def show(
        self, url: str, text: str, *, title: str = "", read: bool = False,
        published: str | None = None,
    ) -> Source:  # fmt: skip
        """Record that `text` of this address is being shown, and return its record."""
        url, text, title = without_known(url), without_known(text), without_known(title)
        known = self.get(url)
        if known is None:
            source = Source.of(id=self._next, url=url, text=text, title=_line(title), read=read,
                               branch=self.branch, published=published)  # fmt: skip
            self._next += 1
        else:
            both = known.text if text in known.text else f"{known.text}\n{GAP}\n{text}".strip()
            source = Source.of(id=known.id, url=known.url, text=both,
                               title=known.title or _line(title), read=known.read or read,
                               branch=known.branch,
                               published=known.published or published)  # fmt: skip
        self._by_address[same_address(url)] = source
        self._changed[source.id] = source
        return source

    def take_changed(self) -> list[Source]:
        """The sources that are new or grew since the last call."""
        changed, self._changed = list(self._changed.values()), {}
        return changed


def merge_sources(left: Sequence[Source], right: Sequence[Source]) -> list[Source]:
    """Both ledgers by id; of two records of one id the one that was shown more wins."""
    merged = {source.id: source for source in left}
    for source in right:
        known = merged.get(source.id)
        if known is None or len(source.text) >= len(known.text):
            merged[source.id] = source
    return [merged[number] for number in sorted(merged)]


def query_heading(query: str) -> str:
    """The line above the results of one query."""
    return f"{_QUERY}{_line(query)}"


def source_block(source: Source, text: str) -> str:
    """A source as an observation shows it: number and title, address, then the text."""
    dated = f"{source.published}\n" if source.published else ""
    title = source.title or source.url
    return f"[{source.id}] {title}\n{source.url}\n{dated}{text.strip()}".strip()


def cut_to(text: str, focus: str, tokens: int) -> str:
    """The passages of `text` that matter most to `focus`, in page order, gaps marked."""
    chosen = best_passages(text, focus, tokens)
    parts: list[str] = []
    end = 0
    for passage in chosen:
        if passage.start > end and text[end : passage.start].strip():
            parts.append(GAP)
        parts.append(passage.text.strip())
        end = passage.end
    if text[end:].strip() and parts:
        parts.append(GAP)
    return "\n".join(parts)


class SourceHead(NamedTuple):
    """The two lines above a source's text in an observation, from `[` to the address's end."""

    start: int
    end: int
    id: int
    url: str


def source_heads(text: str) -> list[SourceHead]:
    """Whatever looks like the head of a source, in order; a page's text may imitate one."""
    return [SourceHead(*m.span(), int(m[1]), m[3]) for m in _HEADER.finditer(text)]


class ShownSource(NamedTuple):
    """A source as read back from an observation."""

    id: int
    title: str
    url: str
    text: str


def read_observation(text: str) -> list[ShownSource]:
    """The sources that an observation shows, in order."""
    heads = list(_HEADER.finditer(text))
    shown = []
    for head, following in zip(heads, [*heads[1:], None][: len(heads)], strict=True):
        end = following.start() if following else len(text)
        body = text[head.end() : end]
        for stop in (f"\n{_QUERY}", f"\n{NOTICE}"):
            body = body.split(stop)[0]
        shown.append(ShownSource(int(head[1]), head[2], head[3], body.strip()))
    return shown


def _line(text: str) -> str:
    return " ".join(text.split())
