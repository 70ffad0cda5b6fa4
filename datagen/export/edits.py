"""Edits: a text with pieces replaced, and where every place of the old text went."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import NamedTuple


class Edit(NamedTuple):
    """`text[start:end]` becomes `put`."""

    start: int
    end: int
    put: str


class Edits:
    """Replacements in one text; of two that overlap the one that begins first is made."""

    def __init__(self, text: str, edits: Iterable[Edit]) -> None:
        self.made: list[Edit] = []
        for edit in sorted(edits):
            if not self.made or edit.start >= self.made[-1].end:
                self.made.append(edit)
        self._starts = [edit.start for edit in self.made]
        self._shifts = [0]
        """How far text has moved before the first edit, after the first, and so on."""
        for edit in self.made:
            self._shifts.append(self._shifts[-1] + len(edit.put) - (edit.end - edit.start))
        self.text = self._rewritten(text) if self.made else text

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Where a span went; one that cuts into a replaced piece takes all of what it became."""
        return self._place(start, end=False), self._place(end, end=True)

    def _place(self, at: int, *, end: bool) -> int:
        before = bisect_right(self._starts, at - 1 if end else at)
        if before and at < self.made[before - 1].end:
            edit = self.made[before - 1]
            begins = edit.start + self._shifts[before - 1]
            return begins + len(edit.put) if end else begins
        return at + self._shifts[before]

    def _rewritten(self, text: str) -> str:
        pieces, at = list[str](), 0
        for edit in self.made:
            pieces += [text[at : edit.start], edit.put]
            at = edit.end
        return "".join([*pieces, text[at:]])
