"""The delivered report as HTML: its claims can be pointed at, its citations lead to passages."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.delivery import Delivered
from oresearch_graph.trace.answer import ParsedAnswer
from oresearch_graph.trace.marks import Link
from oresearch_graph.trace.record import Claim, text_hash
from oresearch_graph.view.markup import Html, escaped, joined, rendered, tag

_MARKS: Final = re.compile(r"(?:[ \t]*\[\d+\])*")
LONGEST: Final = 200_000
"""Characters of a report that are read as Markdown; a longer one is shown as plain text."""
_PREFIX: Final = re.compile(r"[ \t>|]{0,200}+(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)?(?:#{1,6}[ \t]+)?")
_WORD: Final = re.compile(r"\w")


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
    """The body of one delivered report; its references are shown by `sources`."""

    def __init__(
        self, key: str, answer: ParsedAnswer, delivered: Delivered, claims: Sequence[Claim]
    ) -> None:
        self.key, self.claims, self.delivered = key, claims, delivered.answer
        alignment = Alignment(answer, delivered.report)
        self.spans = [alignment.span(claim.start, claim.end) for claim in claims]
        self._placed = sorted((span[0], n) for n, span in enumerate(self.spans) if span)
        self.marks: list[Cited] = []
        self._secret = text_hash(delivered.report)[:16]
        self._token = re.compile(rf"⸪([ocm])(\d+)x{self._secret}⸫")

    def html(self) -> Html:
        """The report up to its reference list."""
        body = self.delivered.body
        if len(body) > LONGEST:
            return tag("pre", body, class_="foreign", dir="auto")
        return rendered(self._with_tokens(body), self)

    def _with_tokens(self, body: str) -> str:
        """The Markdown with a token for each claim's border and each mark."""
        inserted: list[tuple[int, int, str]] = []
        for number, span in enumerate(self.spans):
            if span is not None and span[1] <= len(body):
                start, end = _inside(body, *span)
                inserted.append((start, start, self._mark("o", number)))
                inserted.append((end, end, self._mark("c", number)))
        for start, end, tokens in self._citations(body):
            inserted.append((start, end, tokens))
        pieces, at = [], 0
        for start, end, token in sorted(inserted, key=lambda each: each[:2]):
            pieces += [body[at : max(at, start)], token]
            at = max(at, end)
        return "".join([*pieces, body[at:]])

    def _citations(self, body: str) -> list[tuple[int, int, str]]:
        """One token for each cited number, together in place of their bracket."""
        by_span: dict[tuple[int, int], str] = {}
        for mark in self.delivered.marks:
            if mark.end <= len(body):
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
