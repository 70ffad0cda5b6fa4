"""NearIndex: which question so far is nearly this one, among a hundred thousand.

MinHash over character shingles names the candidates (datasketch), rapidfuzz throws out those that
are not alike, `same_question` decides. In 16 bands of 4 a pair that shares 0.7 of its shingles is a
candidate in 98 of 100 cases; a pair of which a tenth of the characters differ shares about as much.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rapidfuzz import fuzz, process

from datagen.questions.likeness import Wording, same_question

if TYPE_CHECKING:
    from datasketch import MinHash  # type: ignore[import-untyped]  # no stubs

_PERMUTATIONS: Final = 64
_BANDS: Final = (16, 4)
"""Bands, and rows in each."""


class NearIndex:
    """Questions in the order they came; about 7 kB each."""

    def __init__(self, least: float) -> None:
        """`least`: see `same_question`."""
        from datasketch import MinHash, MinHashLSH  # brings scipy: half a second to import

        self.least = least
        self._empty = MinHash(num_perm=_PERMUTATIONS, hashfunc=zlib.crc32)
        self._candidates = MinHashLSH(num_perm=_PERMUTATIONS, params=_BANDS)
        self._held: list[Wording] = []
        self._exact: dict[str, int] = {}
        self._last: tuple[str, MinHash] | None = None

    def __len__(self) -> int:
        return len(self._held)

    def find(self, sought: Wording) -> str | None:
        """The first question that this one repeats."""
        exact = self._exact.get(sought.text)
        if exact is not None:
            return self._held[exact].question
        near = sorted(self._candidates.query(self._hash(sought)))
        alike = self._alike(sought, near)
        same = (n for n in alike if same_question(sought, self._held[n], self.least))
        first = next(same, None)
        return None if first is None else self._held[first].question

    def add(self, wording: Wording) -> None:
        number = len(self._held)
        self._held.append(wording._replace(pieces=frozenset()))
        self._exact.setdefault(wording.text, number)
        self._candidates.insert(number, self._hash(wording), check_duplication=False)

    def _alike(self, sought: Wording, near: Sequence[int]) -> list[int]:
        """Those whose characters, or sorted words, are alike enough: thousands in a millisecond."""
        numbers: set[int] = set()
        for mine, theirs in (
            (sought.text, [self._held[n].text for n in near]),
            (sought.in_order, [self._held[n].in_order for n in near]),
        ):
            scored = process.extract(
                mine, theirs, scorer=fuzz.ratio, score_cutoff=100 * self.least, limit=None
            )
            numbers.update(near[place] for _, _, place in scored)
        return sorted(numbers)

    def _hash(self, wording: Wording) -> MinHash:
        """Kept for the `add` that follows a `find`."""
        if self._last is None or self._last[0] != wording.text:
            minhash = self._empty.copy()
            minhash.update_batch([piece.encode() for piece in wording.pieces])
            self._last = wording.text, minhash
        return self._last[1]
