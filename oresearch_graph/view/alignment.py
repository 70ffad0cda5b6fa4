"""Where a place of the answer, as the policy wrote it, stands in the delivered report.

Delivering changes nothing of the body but its citation marks, so the text between them stands in
both. The reference list, where no claim is, is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from typing import Final, NamedTuple

from oresearch_graph.trace.answer import ParsedAnswer

_MARKS: Final = re.compile(r"(?:[ \t]*\[\d+\])*")


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
        borders = [(mark.start, mark.end) for mark in answer.marks if mark.end <= stop]
        for start, end in [*dict.fromkeys(borders), (stop, stop)]:
            text = answer.text[at:start]
            found = report.find(text.strip(), cursor) if text.strip() else -1
            if found >= 0:
                first = at + len(text) - len(text.lstrip())
                self._pieces.append(_Piece(first, first + len(text.strip()), found))
                cursor = found + len(text.strip())
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
