"""A source made ready for sentences to be looked up in: which of its own say most of them."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby, pairwise
from math import log
from typing import Final

from rapidfuzz import fuzz

from oresearch_graph.evidence.figures import Figure, agrees, stated
from oresearch_graph.evidence.ledger import GAP
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.scripts import CJK, main_script
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import Word, all_words, content
from oresearch_graph.trace.marks import unmarked
from oresearch_graph.trace.record import Source

PASSAGE: Final = 5
"""Neighbouring sentences of a passage, at most."""
_SENTENCE: Final = 600
"""Characters of a sentence: a longer one, mostly a table or a text without stops, is cut."""
_QUOTE: Final = 92.0
"""rapidfuzz partial ratio: one changed word in a quote of ten falls below, a changed comma does
not."""
_ROOT: Final = 5
"""Letters that two forms of one word begin with."""
_ALIKE: Final = 0.6
"""Share of the longer form that they are."""
_SEEDS: Final = 200
"""Sentences near which a passage is looked for: a page that says one word in each has more."""
_FORMS: Final = 20
"""Words of a source that are tried as forms of one word."""
_EMPTY_LINE: Final = re.compile(r"\n\s*\n")
_APART: Final = " # "
"""No word: parts stretches of a page that were shown apart."""
_NEAR: Final = 2
"""Words that may stand between those of a name."""
_WRITTEN: Final = re.compile(r"\w[\w'’-]*")
_BREAK: Final = re.compile(r"\s+(?=\S*$)")
_INITIALS: Final = re.compile(r"(?<=\b[A-Z])\.(?=[A-Z]\b|\s+[a-z])")
_TOKENS: Final = re.compile(
    rf"[{CJK}]|\d+(?:[.,]\d+)*|(?:(?![{CJK}_])\w)+(?:['’](?:(?![{CJK}_])\w)+)*|[%$€£¥°]"
)
_STOPS: Final = ".!?;。！？；…"
_STOPPED: Final = re.compile(rf"{_TOKENS.pattern}|[{_STOPS}]+|:")
_NATIONS: Final[Mapping[str, str]] = {
    word: group.split()[0]
    for group in (
        "france french", "spain spanish spaniard", "wal welsh", "denmark danish dane",
        "turkey turkish turk", "greec greek", "ireland irish", "england english",
        "scotland scottish scot", "sweden swedish swede", "finland finnish finn",
        "poland polish pole", "netherland dutch holland", "switzerland swiss", "thailand thai",
        "peru peruvian", "norway norwegian", "philippin filipino", "cyprus cypriot",
        "britain british uk", "america american us usa", "iceland icelandic", "iraq iraqi",
        "israel israeli", "czechia czech", "china chines", "japan japanes", "doctor dr",
        "saint st", "professor prof", "mount mt", "fort ft",
    )
    for word in group.split()
}  # fmt: skip


@dataclass(frozen=True)
class SourcePassage:
    """Neighbouring sentences of a source."""

    start: int
    end: int
    sentences: tuple[str, ...]
    words: tuple[tuple[Word, ...], ...]
    """Of each sentence."""
    figures: frozenset[tuple[str, str]]
    """Keys and units that it states."""

    @cached_property
    def places(self) -> Mapping[str, Sequence[int]]:
        """Where each word stands, counted in words."""
        places: dict[str, list[int]] = defaultdict(list)
        for at, word in enumerate(word for sentence in self.words for word in sentence):
            places[word.stem].append(at)
        return places


class _Text:
    """A title and a text by sentence; what sentences share is looked up by word."""

    def __init__(self, title: str, text: str) -> None:
        self.text, self.plain_title = text, title
        self.spans = [piece for span in sentence_spans(text) for piece in _pieces(text, *span)]
        self.title = frozenset(content(normal_words(title)))
        self.postings: dict[str, list[int]] = defaultdict(list)
        self.roots: dict[str, list[str]] = defaultdict(list)
        for i, (start, end) in enumerate(self.spans):
            for word in {word.stem for word in normal_words(text[start:end])}:
                if word not in self.postings and len(word) >= _ROOT:
                    self.roots[word[:_ROOT]].append(word)
                self.postings[word].append(i)
        self.flat = flat(f"{title}\n{text}")
        self.script = main_script(text)

    @cached_property
    def rows(self) -> tuple[str, ...]:
        """The words and stops of what was shown, as it is and without its own citations; what is
        left out parts them."""
        return tuple(
            _APART.join(map(_row, text.split(GAP))) for text in (self.text, unmarked(self.text))
        )

    @cached_property
    def language(self) -> str:
        return detect_language(self.text)

    @cached_property
    def figures(self) -> set[tuple[str, str]]:
        return stated(f"{self.plain_title}\n{self.text}")


def _pieces(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while end - start > _SENTENCE:
        gap = _BREAK.search(text, start + _SENTENCE // 2, start + _SENTENCE)
        stop, after = gap.span() if gap else (start + _SENTENCE, start + _SENTENCE)
        yield start, stop
        start = after
    yield start, end


def normal_words(text: str) -> list[Word]:
    """The words of a text, one for a nation and its people, and initials together: `U.S.` is `US`,
    and that America."""
    words = all_words(_INITIALS.sub("", text))
    return [Word(_NATIONS.get(word.stem, word.stem), word.stop) for word in words]


def flat(text: str) -> str:
    """The words of a text, each between blanks, so that a sequence is found word for word."""
    return f" {' '.join(_TOKENS.findall(_lower(text)))} "


def _lower(text: str) -> str:
    return text.lower().replace("’", "'")


def stopped(text: str) -> str:
    """The words of a text between blanks, and its stops: `.` for all that end a sentence."""
    return " ".join(
        "." if token[0] in _STOPS else token for token in _STOPPED.findall(_lower(text))
    )


def _row(text: str) -> str:
    """Words and stops, of neighbouring stops one; an empty line is one, and so are both ends."""
    said = stopped(_EMPTY_LINE.sub(" . ", text)).replace(":", ".").split()
    return f" . {' '.join(key for key, _ in groupby(said)).strip(' .')} . "


# Not a report's but a page's: the rollouts and candidates of one question cite the same pages.
_indexed = lru_cache(maxsize=128)(_Text)


class SourceIndex:
    """One source, by sentence."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._text = _indexed(source.title, source.text)

    @property
    def has_text(self) -> bool:
        return bool(self._text.spans)

    @property
    def script(self) -> str:
        return self._text.script

    @property
    def language(self) -> str:
        return self._text.language

    def forms(self, word: str) -> Collection[str]:
        """The words of the source that are forms of one: itself, or with another ending."""
        if word in self._text.postings:
            return (word,)
        near = self._text.roots.get(word[:_ROOT], ())[:_FORMS] if len(word) >= _ROOT else ()
        return [each for each in near if _alike(word, each)]

    def holds(self, word: str) -> bool:
        """True when the word, or a form of it, stands in the title or the text."""
        return word in self._text.title or bool(self.forms(word))

    def quotes(self, quote: str) -> bool:
        """True when the words of a quotation stand there, but for a slip of the pen."""
        plain = flat(quote)
        if plain.strip() == "" or plain in self._text.flat:
            return True
        if (near := self.passage(content(normal_words(quote)))) is None:
            return False
        text = flat(" ".join(near.sentences))
        return len(text) >= len(plain) and fuzz.partial_ratio(plain, text) >= _QUOTE

    def has_in_a_row(self, text: str) -> bool:
        """True when the sentences of a text stand there side by side, from one stop to another."""
        row = _row(text)
        return len(row) > len(_row("")) and any(row in each for each in self._text.rows)

    def stands_in(self, passage: SourcePassage, word: str) -> bool:
        """True when the word, or a form of it, stands in the passage or the title."""
        return word in self._text.title or any(f in passage.places for f in self.forms(word))

    def names(self, name: str) -> bool:
        """True when each word of the name stands in the source."""
        words = content(normal_words(name))
        return flat(name) in self._text.flat or all(map(self.holds, words))

    def names_together(self, name: str) -> bool:
        """True when the name stands there as it is, or its words near each other, in any order."""
        rest = {w for w in content(normal_words(name)) if w not in self._text.title}
        if not rest or flat(name) in self._text.flat:
            return True
        postings = [
            {at for form in self.forms(w) for at in self._text.postings[form]} for w in rest
        ]
        forms = [set(self.forms(word)) for word in rest]
        for start, end in map(self._text.spans.__getitem__, sorted(set.intersection(*postings))):
            stems = [word.stem for word in normal_words(self.source.text[start:end])]
            spots = [[at for at, stem in enumerate(stems) if stem in each] for each in forms]
            if any(
                all(any(abs(at - first) < len(rest) + _NEAR for at in each) for each in spots)
                for first in spots[0]
            ):
                return True
        return False

    def names_beside(self, word: str, *, after: bool) -> set[str]:
        """The capitalised words that stand right before a word, or `after` it, in the title and the
        text; that a sentence begins with one says nothing."""
        forms = {word, *self.forms(word)}
        places = sorted({at for form in forms for at in self._text.postings.get(form, ())})[:_SEEDS]
        spans = [self._text.spans[at] for at in places]
        names: set[str] = set()
        for text in (self.source.title, *(self.source.text[start:end] for start, end in spans)):
            for at, pair in enumerate(pairwise(_WRITTEN.findall(text))):
                own, other = pair if after else pair[::-1]
                name = other[0].isupper() and (after or at > 0)
                if name and forms.intersection(w.stem for w in normal_words(own)):
                    names.update(word.stem for word in normal_words(other) if not word.stop)
        return names

    def states(self, figure: Figure) -> bool:
        """True when the figure stands anywhere in the source."""
        return agrees(figure, self._text.figures)

    def passage(self, words: Sequence[str]) -> SourcePassage | None:
        """The neighbouring sentences in which the most of the words stand, rare ones first."""
        text = self._text
        postings = [
            [text.postings[form] for form in self.forms(word)] for word in dict.fromkeys(words)
        ]
        often = [sum(map(len, each)) for each in postings]
        weights = {n: log(1 + len(text.spans) / count) for n, count in enumerate(often) if count}
        found: dict[int, set[int]] = defaultdict(set)
        for seed in _seeds(postings, sorted(weights, key=often.__getitem__)):
            for number in weights:
                for places in postings[number]:
                    low = bisect_left(places, seed - PASSAGE + 1)
                    for at in places[low : low + 2 * PASSAGE]:
                        if at < seed + PASSAGE:
                            found[at].add(number)
        best = _window(found, weights)
        return None if best is None else self._passage(*best)

    def _passage(self, first: int, last: int) -> SourcePassage:
        spans = self._text.spans[first : last + 1]
        sentences = tuple(self.source.text[start:end] for start, end in spans)
        words = tuple(tuple(normal_words(sentence)) for sentence in sentences)
        figures = frozenset().union(*map(stated, sentences))
        return SourcePassage(spans[0][0], spans[-1][1], sentences, words, figures)


def _seeds(postings: Sequence[Sequence[Sequence[int]]], rarest_first: Iterable[int]) -> list[int]:
    """Sentences with the rarest words, those near which a passage is looked for."""
    seeds: dict[int, None] = {}
    for number in rarest_first:
        for places in postings[number]:
            seeds |= dict.fromkeys(places[: _SEEDS - len(seeds)])
        if len(seeds) >= _SEEDS:
            break
    return list(seeds)


def _window(
    found: Mapping[int, Collection[int]], weights: Mapping[int, float]
) -> tuple[int, int] | None:
    """The first and the last sentence of the window of most weight; the shortest, then first."""
    best: tuple[float, int, int, int] | None = None
    counts: dict[int, int] = defaultdict(int)
    order = sorted(found)
    left, weight = 0, 0.0
    for last in order:
        for word in found[last]:
            weight += weights[word] if not counts[word] else 0.0
            counts[word] += 1
        while last - order[left] >= PASSAGE or all(counts[word] > 1 for word in found[order[left]]):
            for word in found[order[left]]:
                counts[word] -= 1
                weight -= weights[word] if not counts[word] else 0.0
            left += 1
        rank = (round(weight, 6), order[left] - last, -order[left], last)
        if best is None or rank > best:
            best = rank
    return None if best is None else (-best[2], best[3])


def _alike(word: str, other: str) -> bool:
    """True when two words begin alike for most of the longer one."""
    same = next(
        (at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b),
        min(len(word), len(other)),
    )
    return same >= _ROOT and same >= _ALIKE * max(len(word), len(other))
