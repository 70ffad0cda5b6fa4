"""Two indexes of questions: NearIndex, which so far is nearly this one, among a hundred thousand;
and Benchmarks, the questions that must not be trained on.

MinHash over character shingles names the candidates (datasketch), rapidfuzz throws out those that
are not alike, `same_question` decides. In 16 bands of 4 a pair that shares 0.7 of its shingles is a
candidate in 98 of 100 cases; a pair of which a tenth of the characters differ shares about as much.

A question is contaminated when it is nearly a benchmark's question, when it holds one, or when one
holds it: benchmarks are often quoted with an instruction around them, or cut to their core.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final

from rapidfuzz import fuzz, process

from datagen.questions.likeness import Wording, holds, same_question, wording
from oresearch_graph.text.words import token_count

if TYPE_CHECKING:
    from datasketch import MinHash  # type: ignore[import-untyped]  # no stubs

_PERMUTATIONS: Final = 64
_BANDS: Final = (16, 4)
"""Bands, and rows in each."""
_SHARED: Final = 0.75
"""Share of the shorter one's rare shingles that the longer one must have to be looked at."""
_HELD: Final = 0.9
_SHORTEST: Final = 6
"""Tokens: a shorter question stands in many a longer one without being it."""
_COMMON: Final = 0.02
_FEW: Final = 8
"""A shingle in more than this share of the benchmark questions, and in more than so many, is a
template's, and tells nothing."""


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


class Benchmarks:
    """An index of benchmark questions."""

    def __init__(self, questions: Iterable[str], least: float) -> None:
        """`least`: see `same_question`."""
        self._near = NearIndex(least)
        self._held: list[Wording] = []
        self._rare: list[int] = []
        self._places: dict[str, list[int]] = {}
        self._common: set[str] = set()
        for question in questions:
            self._add(wording(question))
        self._drop_common()

    def __len__(self) -> int:
        return len(self._held)

    def find(self, sought: Wording) -> str | None:
        """The benchmark question that this one repeats, holds, or is a part of."""
        near = self._near.find(sought)
        if near is not None or token_count(sought.text) < _SHORTEST:
            return near
        rare = sought.pieces - self._common
        places = (self._places[piece] for piece in rare if piece in self._places)
        shared = Counter(chain.from_iterable(places))
        for number, count in sorted(shared.items()):
            least = _SHARED * min(self._rare[number], len(rare))
            if count >= least and self._one_holds_other(sought, self._held[number]):
                return self._held[number].question
        return None

    def _one_holds_other(self, sought: Wording, benchmark: Wording) -> bool:
        shorter, longer = sorted((sought, benchmark), key=lambda one: len(one.text))
        return token_count(shorter.text) >= _SHORTEST and holds(longer, shorter, _HELD)

    def _add(self, question: Wording) -> None:
        number = len(self._held)
        self._near.add(question)
        self._held.append(question)
        for piece in question.pieces:
            self._places.setdefault(piece, []).append(number)

    def _drop_common(self) -> None:
        most = max(_FEW, _COMMON * len(self._held))
        self._common = {piece for piece, places in self._places.items() if len(places) > most}
        for piece in self._common:
            del self._places[piece]
        self._rare = [len(one.pieces - self._common) for one in self._held]
