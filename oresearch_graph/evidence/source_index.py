"""One source made ready for claims to be looked up in: its passages, their terms and figures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from rapidfuzz import fuzz

from oresearch_graph.evidence.figures import Figure, agrees, stated
from oresearch_graph.text.passages import split_passages
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from oresearch_graph.trace.record import Evidence, Source

PASSAGE_TOKENS: Final = 120
NAME_AT_LEAST: Final = 90.0
QUOTE_AT_LEAST: Final = 92.0
"""rapidfuzz partial ratio: one changed word in a quote of ten falls below, a changed comma does
not."""
_SPACE = re.compile(r"\s+")


def folded(text: str) -> str:
    """Lower-cased when that keeps every character in its place."""
    lower = text.lower()
    return lower if len(lower) == len(text) else text


class _Text:
    """What a title and a text hold, by passage."""

    def __init__(self, title: str, text: str) -> None:
        self.passages = split_passages(text, PASSAGE_TOKENS)
        self.title_terms = frozenset(terms(title))
        self.words = [frozenset(terms(passage.text)) for passage in self.passages]
        self.figures = [stated(passage.text) for passage in self.passages]
        self.flat = _SPACE.sub(" ", folded(f"{title}\n{text}"))
        self.stating: dict[str, list[int]] = {}
        for i, keys in enumerate(self.figures):
            for key in {key for key, _ in keys}:
                self.stating.setdefault(key, []).append(i)
        self.postings: dict[str, list[int]] = {}
        for i, words in enumerate(self.words):
            for word in words:
                self.postings.setdefault(word, []).append(i)


# A report is checked as written and as delivered, and the runs of one question cite the same pages.
_indexed = lru_cache(maxsize=256)(_Text)


class SourceIndex:
    """A source's passages by term."""

    def __init__(self, source: Source) -> None:
        self.source = source
        text = _indexed(source.title, source.text)
        self.passages, self.title_terms, self.words = text.passages, text.title_terms, text.words
        self.figures, self.flat, self.postings = text.figures, text.flat, text.postings
        self.stating = text.stating

    def ranked(self, wanted: Sequence[str]) -> list[int]:
        """Passages that hold any wanted term, most first."""
        hits: Counter[int] = Counter()
        for term, often in Counter(wanted).items():
            for i in self.postings.get(term, ()):
                hits[i] += often
        return sorted(hits, key=lambda i: (-hits[i], i))

    def around(self, i: int) -> frozenset[str]:
        """Terms of a passage, its neighbours and the title."""
        return self.title_terms | self._near_terms(i)

    def _near_terms(self, i: int) -> frozenset[str]:
        return frozenset().union(*self.words[max(i - 1, 0) : i + 2])

    def states(self, figure: Figure, wanted: frozenset[str], nearby: float) -> bool:
        """True when a passage states the figure and, with its neighbours, holds at least the share
        `nearby` of the wanted terms: the same number about something else does not count."""
        others = wanted - {figure.key}
        return any(
            agrees(figure, self.figures[i])
            and (len(others) < 3 or len(others & self._near_terms(i)) >= nearby * len(others))
            for i in self.stating.get(figure.key, ())
        )

    def quotes(self, quote: str) -> bool:
        wanted = _SPACE.sub(" ", folded(quote)).strip()
        return wanted in self.flat or self._aligns(wanted, QUOTE_AT_LEAST)

    def names(self, name: str) -> bool:
        wanted = _SPACE.sub(" ", folded(name)).strip("() .`")
        if not wanted or wanted in self.flat:
            return True
        own = terms(name)
        if own and all(term in self.postings or term in self.title_terms for term in own):
            return True
        return len(wanted) > 5 and self._aligns(wanted, NAME_AT_LEAST)

    def _aligns(self, wanted: str, at_least: float) -> bool:
        return any(
            len(text) >= len(wanted) and fuzz.partial_ratio(wanted, text) >= at_least
            for i in self.ranked(terms(wanted))[:3]
            if (text := _SPACE.sub(" ", folded(self._near(i))))
        )

    def _near(self, i: int) -> str:
        """The text of a passage and its neighbours."""
        near = self.passages[max(i - 1, 0) : i + 2]
        return self.source.text[near[0].start : near[-1].end]

    def align(self, prose: str, wanted: Sequence[str]) -> Evidence | None:
        """Where the sentence stands best: whole sentences of its best passage."""
        best = next(iter(self.ranked(wanted)), None)
        if best is None:
            return None
        passage = self.passages[best]
        found = fuzz.partial_ratio_alignment(folded(prose), folded(passage.text))
        low, high = (found.dest_start, found.dest_end) if found else (0, len(passage.text))
        touched = [
            span for span in sentence_spans(passage.text) if span[0] < high and span[1] > low
        ]
        start = passage.start + min((span[0] for span in touched), default=0)
        end = passage.start + max((span[1] for span in touched), default=len(passage.text))
        score = found.score / 100 if found else 0.0
        return Evidence(source=self.source.id, start=start, end=end,
                        quote=self.source.text[start:end], score=round(score, 4))  # fmt: skip
