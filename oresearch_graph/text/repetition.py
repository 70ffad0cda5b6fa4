"""Text that goes round in circles, as small models write it when nothing stops them."""

from __future__ import annotations

import re
from collections import Counter
from typing import Final

from oresearch_graph.text.sentences import sentence_spans

TIMES: Final = 3
"""A sentence that stands so often is a loop."""
_SHORTEST: Final = 20
"""Characters of a sentence that counts: headings and list marks may well return."""
_WORDS: Final = 12
"""Words of a sequence that counts, in text without an end of a sentence."""
_NO_WORDS: Final = re.compile(r"\[[\d, ]++\]|</?\w++>")
"""Citation marks and tags."""
_WORD: Final = re.compile(r"\w+")


def repetition(text: str, times: int = TIMES) -> int | None:
    """Where the repeated part of a text begins: a sentence that stands so many times, whatever it
    cites, or three times the same sequence of words. None where nothing is repeated. Linear."""
    seen: Counter[str] = Counter()
    run: int | None = None
    for start, end in sentence_spans(text):
        sentence = words_of(text[start:end])
        if len(sentence) < _SHORTEST:
            continue
        run = (start if run is None else run) if seen[sentence] else None
        seen[sentence] += 1
        if seen[sentence] == times:
            return run
    return _in_words(text)


_STUTTER: Final = 8
"""Words of a sentence that may stutter."""
_DISTINCT: Final = 0.4
"""Share of them that differ in one that does not."""


def stutter(text: str) -> int | None:
    """Where a sentence begins that says few words over and over: "109 kg, 109 kg, 109 kg …"."""
    for start, end in sentence_spans(text):
        words = words_of(text[start:end]).split()
        if len(words) >= _STUTTER and len(set(words)) < _DISTINCT * len(words):
            return start
    return None


def words_of(sentence: str) -> str:
    """The words of a sentence, whatever their case, and whatever it cites."""
    return " ".join(_WORD.findall(_NO_WORDS.sub("", sentence).casefold()))


def _in_words(text: str) -> int | None:
    """Where the second of three sequences of the same words begins, overlaps not counted."""
    places: dict[int, list[int]] = {}
    words, starts, at = text.split(), list[int](), 0
    for word in words:
        at = text.index(word, at)
        starts.append(at)
        at += len(word)
    for first in range(len(words) - _WORDS + 1):
        found = places.setdefault(hash(tuple(words[first : first + _WORDS])), [])
        if not found or first - found[-1] >= _WORDS:
            found.append(first)
        if len(found) == TIMES:
            return starts[found[1]]
    return None
