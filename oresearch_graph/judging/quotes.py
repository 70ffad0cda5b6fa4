"""Quotes by which a model proves a verdict: where they stand, and whether they can say it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

from oresearch_graph.evidence.source_index import flat, normal_words, stopped
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.polarity import denial_in
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import content
from oresearch_graph.trace.escaping import unescape_world
from oresearch_graph.trace.record import Evidence

_GAP: Final = re.compile(r"…|\.{3,}+")
_SHORTEST: Final = 3
"""Words of a quote, at least."""
_QUOTED: Final = 3
"""Sentences of a source that one quote may run over."""
_SHARED: Final = 0.3
"""Of a sentence's words in the quote that says it, at least."""


class Stretch(NamedTuple):
    """A stretch of a source, without a gap."""

    source: int
    title: str
    start: int
    text: str


def names_a_part(quote: str, sentence: str, passages: Iterable[Stretch]) -> bool:
    """True for words of the sentence that say something, and stand so in no passage."""
    words = flat(quote)
    if words not in flat(sentence) or all(word.stop for word in normal_words(quote)):
        return False
    return not any(words in flat(f"{shown.title}\n{shown.text}") for shown in passages)


def sentences_with(quote: str, shown: Stretch) -> Evidence | None:
    """The sentences of a passage, as few as have the quote; None where it does not stand there."""
    words = stopped(quote)
    if len(flat(quote).split()) < _SHORTEST or words not in stopped(shown.text):
        return None
    spans = sentence_spans(shown.text)
    for count in range(1, _QUOTED + 1):
        for first, last in zip(spans, spans[count - 1 :], strict=False):
            start, end = first[0], last[1]
            if words in stopped(shown.text[start:end]):
                return Evidence(
                    source=shown.source, start=shown.start + start, end=shown.start + end,
                    quote=shown.text[start:end], score=1.0,
                )  # fmt: skip
    return None


def says(quote: str, around: str, sentence: str) -> bool:
    """True where a quote may say the sentence: it has enough of its words, and the sentences that
    it stands in deny nothing that it does not."""
    words = normal_words(sentence)
    wanted = set(content(words))
    if len(wanted & {word.stem for word in normal_words(quote)}) < _SHARED * len(wanted):
        return False
    denial = denial_in(detect_language(sentence))
    said = [normal_words(around[start:end]) for start, end in sentence_spans(around)]
    if sum(map(denial.denied, said)) > denial.denied(words):
        return False
    return not denial.reversals(words, said, frozenset())


def pieces_of(quote: str) -> list[str]:
    """The words of a quote between its gaps, to be found in `flat` text; none of a quote that has
    fewer than two words."""
    pieces = [piece for part in _GAP.split(unescape_world(quote)) if (piece := flat(part)).strip()]
    return pieces if sum(len(piece.split()) for piece in pieces) > 1 else []
