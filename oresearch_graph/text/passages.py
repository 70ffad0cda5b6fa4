"""Passages of a page and which of them matter for a focus: how a long page fits an observation.

Ranking is BM25 over the page's own passages. Not covered: synonyms, other languages than the
focus's own.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from oresearch_graph.text.scripts import CJK
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms, token_count

_BREAK: Final = re.compile(rf"[\s{CJK}]")
_WORD: Final = 40
"""Characters of a word that is not cut."""
_GAP = re.compile(r"\n[ \t]*\n\s*")
_RANKED: Final = 200_000
"""Characters that are split and ranked: half a second of work."""
_REMEMBERED: Final = 2_000
"""Characters of a paragraph whose parts, and of a passage whose terms are remembered: all together
50 MB at most."""
_WINDOW: Final = 2_000
_TERMS: Final = 20
_OFTEN: Final = 5
"""Times a word counts in one window."""
_SHORT: Final = 240
"""Tokens below which single sentences are chosen: in 150 tokens of a page that holds it 104 of 108
facts of three planted worlds are shown, of longer stretches 98."""
_K1: Final = 1.2
_B: Final = 0.6


class Passage(NamedTuple):
    """A stretch of a text: `text == whole[start:end]`."""

    start: int
    end: int
    text: str
    score: float


def split_passages(text: str, tokens: int = 180, longest: int | None = None) -> list[Passage]:
    """The whole text as passages of at most `tokens`, cut at paragraphs, else at sentences, else
    anywhere. A heading stays with what follows it. A sentence of at most `longest` tokens stays
    whole."""
    spans: list[tuple[int, int]] = []
    run: list[tuple[int, int]] = []
    size = 0
    for start, end, count in _pieces(text, tokens, max(tokens, longest or 0)):
        piece, cost = (start, end), count + 1
        if run and size + cost > tokens:
            carried = [run.pop()] if len(run) > 1 and _is_heading(text, run[-1]) else []
            spans.append((run[0][0], run[-1][1]))
            run, size = carried, sum(token_count(text[a:b]) + 1 for a, b in carried)
        run.append(piece)
        size += cost
    if run:
        spans.append((run[0][0], run[-1][1]))
    return [Passage(start, end, text[start:end], 0.0) for start, end in spans]


def _is_heading(text: str, span: tuple[int, int]) -> bool:
    line = text[span[0] : span[1]].strip()
    return len(line) < 80 and "\n" not in line and not line.endswith((".", "。", ":", "!", "?"))


def _pieces(text: str, tokens: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """Beginning, end, and size in tokens."""
    for start, end in _paragraphs(text):
        cut = _pieces_before if end - start <= _REMEMBERED else _pieces_of
        for low, high, count in cut(text[start:end], tokens, longest):
            yield start + low, start + high, count


def _pieces_of(paragraph: str, tokens: int, longest: int) -> list[tuple[int, int, int]]:
    if (count := token_count(paragraph)) < tokens:
        return [(0, len(paragraph), count)]
    sentences = sentence_spans(paragraph)
    cut = (piece for low, high in sentences for piece in _cut(paragraph, low, high, longest))
    return [(low, high, token_count(paragraph[low:high])) for low, high in cut]


# A corpus has the same paragraphs for many queries, of a run and of all rollouts of a worker.
_pieces_before: Final = lru_cache(maxsize=4_096)(_pieces_of)


@lru_cache(maxsize=16_384)
def _terms_before(text: str) -> tuple[str, ...]:
    return tuple(terms(text))


def _paragraphs(text: str) -> Iterator[tuple[int, int]]:
    start = len(text) - len(text.lstrip())
    end = len(text.rstrip())
    for gap in _GAP.finditer(text, start, end):
        if gap.start() > start:
            yield start, gap.start()
        start = gap.end()
    if start < end:
        yield start, end


def _cut(text: str, start: int, end: int, tokens: int) -> Iterator[tuple[int, int]]:
    """Pieces that surely fit: a token is never less than one character here."""
    if token_count(text[start:end]) < tokens:
        yield start, end
        return
    step, low = max(tokens - 1, 1), start
    while low < end:
        high = min(low + step, end)
        if high < end:
            high = _between_words(text, low, high)
        yield low, high
        low = high


def _between_words(text: str, low: int, high: int) -> int:
    """The last place up to `high` that cuts no word or figure, if one is near."""
    near = range(high, max(low, high - _WORD), -1)
    return next((at for at in near if _BREAK.search(text[at - 1 : at + 1])), high)


def best_passages(text: str, focus: str, tokens: int) -> list[Passage]:
    """The passages most relevant to `focus` that fit `tokens` together, in page order, neighbours
    joined. A text that fits is one passage; without any match the page's beginning is taken."""
    if token_count(text) <= tokens:
        return [Passage(0, len(text), text, 1.0)] if text.strip() else []
    longest = max(min(180, tokens // 2), 1)
    size = max(tokens // 4, 1) if tokens < _SHORT else longest
    pieces = [
        Passage(start + piece.start, start + piece.end, piece.text, 0.0)
        for start, end in _windows(text, focus)
        for piece in split_passages(text[start:end], size, longest)
    ]
    if not pieces:
        return []
    scores = bm25([_terms(piece.text) for piece in pieces], _terms(focus))
    order = sorted(range(len(pieces)), key=lambda i: (-scores[i], i))
    relevant = [i for i in order if scores[i] > 0] or order
    return _joined(text, pieces, scores, _affordable(text, pieces, relevant, tokens))


def _terms(passage: str) -> Sequence[str]:
    return _terms_before(passage) if len(passage) <= _REMEMBERED else terms(passage)


def _windows(text: str, focus: str) -> list[tuple[int, int]]:
    """The whole text; of one too long to be split and ranked in a second, in order, the stretches
    that name the focus most often."""
    if len(text) <= _RANKED:
        return [(0, len(text))]
    windows, start = list[tuple[int, int]](), 0
    while start < len(text):
        line_end = text.find("\n", start + _WINDOW, start + 2 * _WINDOW)
        end = line_end + 1 or min(start + _WINDOW, len(text))
        windows.append((start, end))
        start = end
    query = list(dict.fromkeys(terms(focus)))[:_TERMS]
    hits = []
    for start, end in windows:
        stretch = text[start:end].lower()
        hits.append(sum(min(stretch.count(term), _OFTEN) for term in query))
    order = sorted(range(len(windows)), key=lambda i: (-hits[i], i))
    return [windows[i] for i in sorted(order[: _RANKED // (2 * _WINDOW)])]


def _affordable(
    text: str, pieces: Sequence[Passage], order: Sequence[int], tokens: int
) -> set[int]:
    affordable: set[int] = set()
    budget = tokens
    for i in order:
        end = pieces[i + 1].start if _neighbours(text, pieces, i + 1) else pieces[i].end
        cost = max(token_count(text[pieces[i].start : end]), 1)
        if cost <= budget:
            affordable.add(i)
            budget -= cost
    return affordable or {order[0]}


def _joined(
    text: str, pieces: Sequence[Passage], scores: Sequence[float], places: set[int]
) -> list[Passage]:
    joined: list[Passage] = []
    for i in sorted(places):
        start, end, _, _ = pieces[i]
        score = scores[i]
        if i - 1 in places and _neighbours(text, pieces, i):
            before = joined.pop()
            start, score = before.start, max(score, before.score)
        joined.append(Passage(start, end, text[start:end], score))
    return joined


def _neighbours(text: str, pieces: Sequence[Passage], i: int) -> bool:
    """True when nothing but white space stands between piece `i` and the one before it."""
    return 0 < i < len(pieces) and not text[pieces[i - 1].end : pieces[i].start].strip()


def bm25(documents: Sequence[Sequence[str]], query: Sequence[str]) -> list[float]:
    """BM25 score of each document (its terms) for the query's terms, by the documents' own
    statistics; 0 where no term matches."""
    query_terms = dict.fromkeys(query)
    counts = [Counter(filter(query_terms.__contains__, document)) for document in documents]
    lengths = [len(document) for document in documents]
    mean = sum(lengths) / max(len(lengths), 1) or 1.0
    scores = [0.0] * len(documents)
    for term in query_terms:
        holders = [i for i, count in enumerate(counts) if term in count]
        rarity = math.log(1 + (len(counts) - len(holders) + 0.5) / (len(holders) + 0.5))
        for i in holders:
            often = counts[i][term]
            damped = often + _K1 * (1 - _B + _B * lengths[i] / mean)
            scores[i] += rarity * often * (_K1 + 1) / damped
    return scores
