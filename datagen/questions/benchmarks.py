"""Benchmarks: the questions that must not be trained on, and which of them a question repeats.

A question is contaminated when it is nearly a benchmark's question, when it holds one, or when one
holds it: benchmarks are often quoted with an instruction around them, or cut to their core.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Final

from datagen.questions.likeness import Wording, holds, wording
from datagen.questions.near import NearIndex
from oresearch_graph.text.words import token_count

_SHARED: Final = 0.75
"""Share of the shorter one's rare shingles that the longer one must have to be looked at."""
_HELD: Final = 0.9
_SHORTEST: Final = 6
"""Tokens: a shorter question stands in many a longer one without being it."""
_COMMON: Final = 0.02
_FEW: Final = 8
"""A shingle in more than this share of the benchmark questions, and in more than so many, is a
template's, and tells nothing."""


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

    def _one_holds_other(self, sought: Wording, held: Wording) -> bool:
        shorter, longer = sorted((sought, held), key=lambda one: len(one.text))
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
