"""The source ledger of a run and the observations that show it to a policy.

Ids are unique across branches without coordination (`source_id`). A source keeps exactly the text
that observations showed, for a claim can rest on nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from oresearch_graph.known_secrets import Secrets, all_without_known
from oresearch_graph.text.passages import best_passages
from oresearch_graph.trace import Source
from oresearch_graph.trace.plain_text import title_line
from oresearch_graph.trace.references import same_address

BLOCK: Final = 1000
"""Branch i counts from i * 1000 + 1."""
_BRANCHES: Final = 100
"""Branches below this have a block; ids from `_BRANCHES * BLOCK` on are no block's."""
GAP: Final = "[…]"
_BETWEEN: Final = f"\n{GAP}\n"
NOTICE: Final = "Notice: "
_HEADER: Final = re.compile(r"^\[(\d{4,12})\] (.*)\n(\S+)$", re.MULTILINE)
_QUERY: Final = "## Query: "
_HEADING: Final = 1_000
"""Characters of a query."""


class SourceLedger:
    """The sources that one branch knows, its own and earlier ones, by address."""

    def __init__(self, branch: int, sources: Iterable[Source] = ()) -> None:
        self.branch = branch
        sources = list(sources)
        self._by_address: dict[str, Source] = {same_address(s.url): s for s in sources}
        self._ids = {source.id for source in sources}
        self._count = max((_nth(branch, number) for number in self._ids), default=0)
        self._changed: dict[int, Source] = {}

    def get(self, url: str) -> Source | None:
        return self._by_address.get(same_address(url))

    def show(
        self, url: str, text: str, *, title: str = "", read: bool = False,
        published: str | None = None, secrets: Secrets | None = None,
    ) -> Source:  # fmt: skip
        """Record that `text` of this address is being shown, and return its record. It is without
        `secrets`, or without those that are known at this moment."""
        url, text, title = all_without_known(url, text, title, secrets=secrets)
        record = self.get(url)
        if record is None:
            source = Source.of(id=self._new_id(), url=url, text=text, title=title, read=read,
                               branch=self.branch, published=published)  # fmt: skip
        else:
            source = Source.of(id=record.id, url=record.url, text=_together(record.text, text),
                               title=record.title or title, read=record.read or read,
                               branch=record.branch,
                               published=record.published or published)  # fmt: skip
        self._by_address[same_address(url)] = source
        self._changed[source.id] = source
        return source

    def copy(self) -> SourceLedger:
        """The same sources, to go on with apart."""
        other = SourceLedger(self.branch)
        other._by_address, other._ids = dict(self._by_address), set(self._ids)
        other._count, other._changed = self._count, dict(self._changed)
        return other

    def reshow(self, before: str, after: str, earlier: SourceLedger | None = None) -> list[int]:
        """An observation that showed `before` shows `after` in its place: sources keep what stands
        there or was shown elsewhere, and those of which nothing does are forgotten. One that
        `after` does not show is as an `earlier` ledger has it. The ids that `after` shows."""
        later = self._bodies(after)
        for number, body in self._bodies(before).items():
            address, now = same_address(body.url), later.get(number)
            record = self._by_address[address]
            if now is None and earlier is not None and (was := earlier.get(body.url)) is not None:
                self._by_address[address] = self._changed[number] = was
                continue
            stretches = record.text.split(_BETWEEN)
            texts = [s for s in stretches if s.strip() not in before or s.strip() in after]
            if now is not None and len(texts) < len(stretches):
                texts = [*(s for s in texts if s.strip() not in now.text), now.text]
            if now is None and not any(map(str.strip, texts)):
                del self._by_address[address]
                self._changed.pop(number, None)
                continue
            title = now.title if now is not None else record.title
            if (texts, title) != (stretches, body.title):
                facts = record.model_dump(include={"id", "url", "read", "branch", "published"})
                record = Source.of(**facts, text=_BETWEEN.join(texts), title=title)
                self._by_address[address] = self._changed[number] = record
        return list(later)

    @property
    def sources(self) -> list[Source]:
        return list(self._by_address.values())

    def _bodies(self, text: str) -> dict[int, ShownSource]:
        """The sources of this ledger that an observation shows, by id."""
        bodies: dict[int, ShownSource] = {}
        for each in read_observation(text, {s.id: s.url for s in self._by_address.values()}):
            record = self.get(each.url)
            dated = f"{record.published}\n" if record and record.published else ""
            body = each._replace(text=each.text.removeprefix(dated))
            bodies.setdefault(each.id, body)
        return bodies

    def _new_id(self) -> int:
        while True:
            self._count += 1
            number = source_id(self.branch, self._count)
            if number not in self._ids:
                self._ids.add(number)
                return number

    def take_changed(self) -> list[Source]:
        """The sources that are new or grew since the last call."""
        changed, self._changed = list(self._changed.values()), {}
        return changed


def _together(shown: str, text: str) -> str:
    """What was shown of a source, and now is: a stretch that stands in another is kept once; of two
    with the same words the later, for a search hit has lost its lines. Never shorter than before:
    of two records of a source the longer one is the later."""
    plain = _on_one_line(text)
    stretches = shown.split(_BETWEEN)
    before = [stretch for stretch in stretches if _on_one_line(stretch) not in plain]
    has_no_more_lines = text.count("\n") <= shown.count("\n")
    if any(plain in _on_one_line(each) for each in ([shown] if has_no_more_lines else before)):
        return shown
    once = _BETWEEN.join([*before, text])
    return once if len(once) >= len(shown) else _BETWEEN.join([*stretches, text])


def _on_one_line(text: str) -> str:
    return " ".join(text.split())


def source_id(branch: int, nth: int) -> int:
    """The id of a branch's `nth` source, both from 1: no two places have the same.

    The first 999 of a branch have its block. Above all blocks a row of a hundred ids holds one
    more source of each branch; the first id of a row is left to branches without a block.
    """
    if branch < _BRANCHES and nth < BLOCK:
        return branch * BLOCK + nth
    if branch < _BRANCHES:
        row, column = nth - BLOCK, branch
    else:
        diagonal = branch - _BRANCHES + nth
        row, column = diagonal * (diagonal + 1) // 2 + nth, 0
    return _BRANCHES * BLOCK + row * _BRANCHES + column


def _nth(branch: int, number: int) -> int:
    """Which of the branch's sources has this id; 0 for another branch's."""
    if number < _BRANCHES * BLOCK:
        return number % BLOCK if number // BLOCK == branch else 0
    row, column = divmod(number - _BRANCHES * BLOCK, _BRANCHES)
    return BLOCK + row if column == branch else 0


def merge_sources(earlier: Sequence[Source], later: Sequence[Source]) -> list[Source]:
    """Both ledgers by id; of two records of one id the one that was shown more wins."""
    merged = {source.id: source for source in earlier}
    for source in later:
        other = merged.get(source.id)
        if other is None or len(source.text) >= len(other.text):
            merged[source.id] = source
    return [merged[number] for number in sorted(merged)]


def query_heading(query: str) -> str:
    """The line above the results of one query."""
    return f"{_QUERY}{title_line(query, _HEADING)}"


def source_block(source: Source, text: str) -> str:
    """A source as an observation shows it: number and title, address, then the text. A `Source`
    has each of them on one line."""
    dated = f"{source.published}\n" if source.published else ""
    title = source.title or source.url
    return f"[{source.id}] {title}\n{source.url}\n{dated}{text.strip()}".strip()


def cut_to(text: str, focus: str, tokens: int) -> str:
    """The passages of `text` that matter most to `focus`, in page order, gaps marked."""
    passages = best_passages(text, focus, tokens)
    parts: list[str] = []
    end = 0
    for passage in passages:
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


def read_observation(text: str, urls: Mapping[int, str] | None = None) -> list[ShownSource]:
    """The sources that an observation shows, in order; with `urls`, those alone of the ids and
    addresses."""
    heads = [m for m in _HEADER.finditer(text) if urls is None or urls.get(int(m[1])) == m[3]]
    sources = []
    for head, following in zip(heads, [*heads[1:], None][: len(heads)], strict=True):
        end = following.start() if following else len(text)
        body = text[head.end() : end]
        for stop in (f"\n{_QUERY}", f"\n{NOTICE}"):
            body = body.split(stop)[0]
        sources.append(ShownSource(int(head[1]), head[2], head[3], body.strip()))
    return sources
