"""The sources with the passages that claims rest on, and a card for each claim."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from oresearch_graph.trace.marks import unmarked
from oresearch_graph.trace.record import Claim, ClaimStatus, Evidence, Source
from oresearch_graph.trace.references import same_address
from oresearch_graph.view.markup import Html, joined, outside_link, tag
from oresearch_graph.view.report import card_id, reference_id

LONGEST: Final = 100_000
"""Characters of one text that are shown whole; of a longer one its passages and the beginning."""
_AROUND: Final = 240
"""Characters of context on each side of a passage, in a card and in a text too long to show."""

_STATUS: Final[Mapping[ClaimStatus, str]] = {
    "quoted": "✓ quoted",
    "supported": "✓ supported",
    "found": "✓ found; meaning not checked",
    "unchecked": "… unchecked",
    "missing": "⚠ missing",
    "contradicted": "⚠ contradicted",
    "unsupported": "⚠ unsupported",
    "dangling": "✗ dangling",
    "not_checkable": "… not checkable",
}


class _Lit(NamedTuple):
    """A passage of one source, and the claims that rest on it."""

    start: int
    end: int
    claims: tuple[int, ...]


class SourceShelf:
    """The sources of a trace as its page shows them: those cited by number, then the others."""

    def __init__(
        self, key: str, sources: Sequence[Source], references: Sequence[Source],
        claims: Sequence[Claim],
    ) -> None:  # fmt: skip
        self.key, self.claims = key, claims
        self.by_id = {source.id: source for source in sources}
        self.numbers = {same_address(s.url): n for n, s in enumerate(references, 1)}
        places: dict[int, dict[tuple[int, int], list[int]]] = {}
        for number, claim in enumerate(claims):
            for evidence in claim.evidence:
                if self.holds(evidence):
                    place = (evidence.start, evidence.end)
                    lit = places.setdefault(evidence.source, {})
                    lit.setdefault(place, []).append(number)
        self._lit = {source: list(_disjoint(lit)) for source, lit in places.items()}
        self._starts = {source: [p.start for p in lit] for source, lit in self._lit.items()}

    def holds(self, evidence: Evidence) -> bool:
        """True when the passage stands in its source, to the letter."""
        source = self.by_id.get(evidence.source)
        within = source is not None and 0 <= evidence.start < evidence.end <= len(source.text)
        if source is None or not within:
            return False
        return source.text[evidence.start : evidence.end] == evidence.quote

    def html(self) -> Html:
        """Every source, folded; an entry for each address."""
        addresses: dict[str, list[Source]] = {}
        for source in self.by_id.values():
            addresses.setdefault(same_address(source.url), []).append(source)
        numbers = [a for a in self.numbers if a in addresses]
        others = [a for a in addresses if a not in self.numbers]
        return tag(
            "div",
            tag("ol", *(self._entry(a, addresses[a]) for a in numbers), class_="references"),
            tag("details", tag("summary", f"Seen and not cited: {len(others)}"),
                tag("ul", *(self._entry(a, addresses[a]) for a in others), class_="references"),
            ) if others else None,
        )  # fmt: skip

    def _entry(self, address: str, records: Sequence[Source]) -> Html:
        number = self.numbers.get(address)
        first = records[0]
        title = next((s.title for s in records if s.title), "") or first.url
        label = "" if number is None else f"[{number}] "
        return tag(
            "li",
            tag("details",
                tag("summary", tag("span", f"{label}{title}", dir="auto")),
                tag("p", outside_link(first.url, first.url), class_="small"),
                *(self._record(source) for source in records)),
            id=None if number is None else reference_id(self.key, number),
        )  # fmt: skip

    def _record(self, source: Source) -> Html:
        facts = [f"record {source.id}", "page read" if source.read else "search result only"]
        facts += [f"subtask {source.branch}"] if source.branch is not None else []
        facts += [f"published {source.published}"] if source.published else []
        return joined(
            tag("p", " · ".join(facts), class_="small"),
            tag("div", *self._lit_text(source), class_="foreign passage", dir="auto", tabindex="0",
                role="region", aria_label=f"Text of source record {source.id}")
            if source.text else tag("p", "No text of it was kept.", class_="small"),
        )  # fmt: skip

    def _lit_text(self, source: Source) -> list[Html]:
        lit = self._lit.get(source.id, [])
        starts = [passage.start for passage in lit]
        parts: list[Html] = []
        at = 0
        for start, end in _windows(len(source.text), lit):
            parts.append(_left_out(start - at))
            at = start
            for passage in lit[bisect_left(starts, start) : bisect_left(starts, end)]:
                if passage.end <= end:
                    parts.append(joined(source.text[at : passage.start]))
                    parts.append(self._mark(source, passage))
                    at = passage.end
            parts.append(joined(source.text[at:end]))
            at = end
        return [*parts, _left_out(len(source.text) - at)]

    def _mark(self, source: Source, passage: _Lit) -> Html:
        cards = " ".join(card_id(self.key, claim) for claim in passage.claims)
        return tag("mark", source.text[passage.start : passage.end], data_claims=cards,
                   id=f"{self.key}-passage-{source.id}-{passage.start}")  # fmt: skip

    def _passage_of(self, evidence: Evidence) -> str:
        """The id of the lit passage that holds the evidence."""
        starts = self._starts[evidence.source]
        first = starts[bisect_right(starts, evidence.start) - 1]
        return f"{self.key}-passage-{evidence.source}-{first}"

    def cards(self) -> Html:
        """A card for each claim: what the check says of it, with the passages in their context."""
        return joined(*(self._card(n, claim) for n, claim in enumerate(self.claims)))

    def _card(self, number: int, claim: Claim) -> Html:
        passages: dict[tuple[str, str], Html] = {}
        for evidence in claim.evidence:
            source = self.by_id.get(evidence.source)
            if source is not None:
                passages.setdefault(
                    (same_address(source.url), evidence.quote), self._quoted(evidence)
                )
        missing = "; ".join(claim.missing)
        dangling = ", ".join(claim.dangling)
        return tag(
            "article",
            tag("p", tag("strong", _STATUS[claim.status], class_=f"status {claim.status}")),
            tag("blockquote", unmarked(claim.text), dir="auto", class_="statement"),
            tag("p", f"Not found in the cited sources: {missing}", dir="auto") if missing else None,
            tag("p", f"Leads to no source: {dangling}", dir="auto") if dangling else None,
            *passages.values(),
            tag("p", "No passage was found.", class_="small") if not passages else None,
            class_="card", id=card_id(self.key, number), tabindex="-1",
        )  # fmt: skip

    def _quoted(self, evidence: Evidence) -> Html:
        source = self.by_id[evidence.source]
        if not self.holds(evidence):
            return tag("p", f"⚠ record {source.id} does not hold the quote at its place: ",
                       tag("q", evidence.quote, dir="auto"))  # fmt: skip
        number = self.numbers.get(same_address(source.url))
        before = source.text[max(0, evidence.start - _AROUND) : evidence.start]
        after = source.text[evidence.end : evidence.end + _AROUND]
        label = f"record {source.id}" if number is None else f"[{number}]"
        return joined(
            tag("p", "…", before, tag("mark", evidence.quote, class_="lit"), after, "…",
                class_="foreign", dir="auto"),
            tag("p", tag("a", f"The whole text of {label}", class_="jump",
                         href=f"#{self._passage_of(evidence)}"),
                f" · alignment {evidence.score:.2f}", class_="small"),
        )  # fmt: skip


def _left_out(count: int) -> Html:
    return tag("em", f" … {count:,} characters left out … ") if count > 0 else Html()


def _disjoint(places: dict[tuple[int, int], list[int]]) -> Iterable[_Lit]:
    """Passages in order; one that overlaps the last is joined to it."""
    current: _Lit | None = None
    for (start, end), claims in sorted(places.items()):
        if current is None or start >= current.end:
            if current is not None:
                yield current
            current = _Lit(start, end, tuple(claims))
        else:
            current = _Lit(current.start, max(current.end, end), (*current.claims, *claims))
    if current is not None:
        yield current


def _windows(length: int, lit: Sequence[_Lit]) -> list[tuple[int, int]]:
    """What is shown of a text: all of it, or its beginning and what stands around passages."""
    if length <= LONGEST:
        return [(0, length)]
    spans = [(0, LONGEST // 4)]
    spans += [(max(0, p.start - _AROUND), min(length, p.end + _AROUND)) for p in lit]
    windows: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(end, windows[-1][1]))
        else:
            windows.append((start, end))
    return windows
