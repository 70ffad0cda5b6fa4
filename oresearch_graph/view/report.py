"""The delivered report as HTML: beside its evidence, where claims can be pointed at and citations
lead to passages; or alone, where citations lead to its references."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.delivery import Delivered
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.marks import Link
from oresearch_graph.trace.record import Claim, Trace, text_hash
from oresearch_graph.trace.references import ReferenceLine
from oresearch_graph.trace.report_form import lines_of
from oresearch_graph.view.markup import (
    Html,
    escaped,
    joined,
    outside_link,
    rendered,
    rendered_line,
    tag,
)

_MARKS: Final = re.compile(r"(?:[ \t]*\[\d+\])*")
LONGEST: Final = 200_000
"""Characters of a report that are read as Markdown; a longer one is shown as plain text."""
_PREFIX: Final = re.compile(r"[ \t>|]{0,200}+(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:#{1,6}[ \t]+)?")
_WORD: Final = re.compile(r"\w")
_AFTER_NUMBER: Final = " \t\\]］】.:：)、"
_DASHES: Final = " \t-–—"
"""Between an entry's address and its title."""


class _Piece(NamedTuple):
    """`answer[start:end] == report[there:there + end - start]`."""

    start: int
    end: int
    there: int

    @property
    def there_end(self) -> int:
        return self.there + self.end - self.start


class Alignment:
    """Maps spans of an answer to spans of the report made of it."""

    def __init__(self, answer: ParsedAnswer, report: str) -> None:
        self._report = report
        self._pieces: list[_Piece] = []
        at = cursor = 0
        stop = answer.body_end
        borders = [
            (cited.start, cited.end, cited.words if isinstance(cited, Link) else "")
            for cited in answer.citations
            if cited.end <= stop
        ]
        for start, end, words in [*dict.fromkeys(borders), (stop, stop, "")]:
            text = answer.text[at:start]
            there = report.find(text.strip(), cursor) if text.strip() else -1
            if there >= 0:
                first = at + len(text) - len(text.lstrip())
                self._pieces.append(_Piece(first, first + len(text.strip()), there))
                cursor = there + len(text.strip())
            if words and (place := report.find(words, cursor)) >= 0:
                cursor = place + len(words)
            at = end
        self._starts = [piece.start for piece in self._pieces]
        self._ends = [piece.end for piece in self._pieces]

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """The span in the report; None where it is not there."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end) - 1
        if last < 0 or (first > last and first >= len(self._pieces)):
            return None
        begin = self._begin(first, start)
        stop = self._stop(last, end)
        return (begin, stop) if stop > begin else None

    def _begin(self, index: int, at: int) -> int:
        piece = self._pieces[index]
        if at >= piece.start:
            return piece.there + at - piece.start
        return self._pieces[index - 1].there_end if index else 0

    def _stop(self, index: int, at: int) -> int:
        piece = self._pieces[index]
        if at <= piece.end:
            return piece.there + at - piece.start
        after = self._pieces[index + 1 : index + 2]
        if after:
            return after[0].there
        marks = _MARKS.match(self._report, piece.there_end)
        return marks.end() if marks else piece.there_end


class Cited(NamedTuple):
    """A mark of the delivered report, and the claim it belongs to."""

    number: int
    claim: int | None


class ReportView:
    """The body of one delivered report; its references are shown by `sources`, or by `alone`."""

    def __init__(
        self, key: str, answer: ParsedAnswer, delivered: Delivered, claims: Sequence[Claim]
    ) -> None:
        self.key, self.claims, self.delivered = key, claims, delivered.answer
        self.numbers = frozenset(range(1, len(delivered.references) + 1))
        alignment = Alignment(answer, delivered.report)
        self.spans = [alignment.span(claim.start, claim.end) for claim in claims]
        self._placed = sorted((span[0], n) for n, span in enumerate(self.spans) if span)
        self.marks: list[Cited] = []
        self._secret = text_hash(delivered.report)[:16]
        self._token = re.compile(rf"⸪([ocm])(\d+)x{self._secret}⸫")

    def html(self) -> Html:
        """The report up to its reference list; with a list that no citation uses."""
        end = self.delivered.body_end if self.numbers else len(self.delivered.text)
        return self._between(0, end, below=2)

    def _between(self, start: int, end: int, *, below: int) -> Html:
        if end - start > LONGEST:
            return as_written(self.delivered.text[start:end])
        return rendered(self._with_tokens(start, end), self, below=below)

    def _with_tokens(self, first: int, last: int) -> str:
        """The Markdown between two places with a token for each claim's border and each mark."""
        body = self.delivered.text[:last]
        inserted: list[tuple[int, int, str]] = []
        for number, span in enumerate(self.spans):
            if span is not None and span[1] <= len(body):
                start, end = _inside(body, *span)
                inserted.append((start, start, self._mark("o", number)))
                inserted.append((end, end, self._mark("c", number)))
        for start, end, tokens in self._citations(first, last):
            inserted.append((start, end, tokens))
        pieces, at = [], first
        for start, end, token in sorted(inserted, key=lambda each: each[:2]):
            pieces += [body[at : max(at, start)], token]
            at = max(at, end)
        return "".join([*pieces, body[at:]])

    def _citations(self, first: int, last: int) -> list[tuple[int, int, str]]:
        """One token for each cited number, together in place of their bracket."""
        by_span: dict[tuple[int, int], str] = {}
        for mark in self.delivered.marks:
            if first <= mark.start and mark.end <= last:
                self.marks.append(Cited(mark.number, self._claim_at(mark.start)))
                token = self._mark("m", len(self.marks) - 1)
                place = (mark.start, mark.end)
                by_span[place] = by_span.get(place, "") + token
        return [(start, end, tokens) for (start, end), tokens in by_span.items()]

    def _claim_at(self, at: int) -> int | None:
        nearest = bisect_right(self._placed, (at, len(self.spans))) - 1
        if nearest < 0:
            return None
        number = self._placed[nearest][1]
        span = self.spans[number]
        return number if span is not None and at < span[1] else None

    def _mark(self, kind: str, number: int) -> str:
        return f"⸪{kind}{number}x{self._secret}⸫"

    def without_tokens(self, text: str) -> str:
        """The text where no token can be shown: code, addresses."""
        return self._token.sub(self._as_written, text)

    def _as_written(self, token: re.Match[str]) -> str:
        return f"[{self.marks[int(token[2])].number}]" if token[1] == "m" else ""

    def text(self, text: str, claim: int | None) -> tuple[Html, int | None]:
        """A run of text that begins inside `claim`; and the claim that it ends in."""
        parts: list[Html] = []
        at = 0
        for token in self._token.finditer(text):
            parts.append(self._claimed(text[at : token.start()], claim))
            number, at = int(token[2]), token.end()
            if token[1] == "o":
                claim = number
            elif token[1] == "m":
                parts.append(self._citation(self.marks[number]))
            else:
                parts.append(self._removed(number))
                claim = None
        return joined(*parts, self._claimed(text[at:], claim)), claim

    def _claimed(self, text: str, claim: int | None) -> Html:
        if claim is None or not text:
            return escaped(text)
        return tag("span", text, class_=f"claim {self.claims[claim].status}",
                   data_claim=card_id(self.key, claim))  # fmt: skip

    def _citation(self, citation: Cited) -> Html:
        if citation.claim is None and citation.number not in self.numbers:
            return escaped(f"[{citation.number}]")
        if citation.claim is None:
            return tag("a", f"[{citation.number}]", class_="cite",
                       href=f"#{reference_id(self.key, citation.number)}")  # fmt: skip
        status, card = self.claims[citation.claim].status, card_id(self.key, citation.claim)
        return tag("a", f"[{citation.number}]", class_=f"cite {status}", href=f"#{card}",
                   data_claim=card, data_reference=reference_id(self.key, citation.number),
                   aria_label=f"Source {citation.number}, {status}")  # fmt: skip

    def _removed(self, number: int) -> Html:
        claim = self.claims[number]
        card = card_id(self.key, number)
        return joined(*(
            tag("a", f"{mark} ✗", class_="cite dangling", href=f"#{card}", data_claim=card,
                aria_label=f"Citation {mark} was removed: it leads to no source")
            for mark in claim.dangling
        ))  # fmt: skip

    @classmethod
    def alone(cls, report: str, key: str) -> Html:
        """All of a report, its reference list as links; one that is too long is plain text."""
        if len(report) > LONGEST:
            return as_written(report)
        answer = parse_answer(report)
        view = cls(key, answer, Delivered(answer, (), ()), ())
        start, end = answer.list_span
        entries = view._entries(start, end)
        if entries is None:
            return view._between(0, len(report), below=0)
        view.numbers = frozenset(answer.references)
        after = view._between(end, len(report), below=0)
        return joined(view._between(0, start, below=0), *entries, after)

    def _entries(self, start: int, end: int) -> list[Html] | None:
        """The reference list; None where more stands in it than headings and numbered lines."""
        lines = {line.start: line for line in self.delivered.reference_lines}
        headings = {heading.start for heading in self.delivered.headings}
        parts: list[Html] = []
        items: dict[int, Html] = {}
        for at, text in lines_of(self.delivered.text[start:end]):
            line = lines.get(start + at)
            if line is not None and line.reference.number not in items:
                items[line.reference.number] = self._entry(line)
            elif start + at in headings and not items:
                parts.append(rendered(text, self, below=0))
            elif text.strip():
                return None
        return [*parts, tag("ol", *items.values(), class_="references")] if items else None

    def _entry(self, line: ReferenceLine) -> Html:
        text, number = self.delivered.text, line.reference.number
        first, last = line.address or (line.end, line.end)
        before = text[line.number[1] : first].lstrip(_AFTER_NUMBER).rstrip(_DASHES)
        words = f"{before} {text[last : line.end].lstrip(_DASHES)}".strip()
        url = text[first:last]
        return tag(
            "li", tag("span", f"[{number}] ", class_="number"),
            rendered_line(words, self) if words != url else None, " ",
            outside_link(url, url) if url else None, id=reference_id(self.key, number),
        )  # fmt: skip


def as_written(report: str) -> Html:
    """A report as plain text."""
    return tag("pre", report, class_="foreign", dir="auto")


def language_of(trace: Trace) -> str | None:
    """What the attribute `lang` says of a trace's report."""
    return trace.language if trace.language and trace.language.isascii() else None


def card_id(key: str, claim: int) -> str:
    """The id of a claim's card on the page."""
    return f"{key}-claim-{claim + 1}"


def reference_id(key: str, number: int) -> str:
    """The id of a reference's entry on the page."""
    return f"{key}-source-{number}"


def _inside(body: str, start: int, end: int) -> tuple[int, int]:
    """The span without what begins a line of Markdown, and without the end of a table's cell."""
    line_start = body.rfind("\n", 0, start) + 1
    if (prefix := _PREFIX.match(body, line_start)) and prefix.end() > start:
        start = prefix.end()
    word = _WORD.search(body, start, end)
    start = word.start() if word else start
    return start, max(start, start + len(body[start:end].rstrip(" \t\n|")))
