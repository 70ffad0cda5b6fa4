"""How near a report comes to a key point in free words, without a model: by word vectors.

A graded likeness, for measuring and choosing, never for a reward: a row of the right words is as
near as a sentence, and a denial as what it denies. Fitted on half of REALSumm's documents, checked
on the other: `make agreement`. Not covered: other scripts than the Latin one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import pairwise
from math import exp, log
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from oresearch_graph.errors import ConfigurationError, missing_extra
from oresearch_graph.judging.ground_truth import Judged, Scored, weighted_mean
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.text.stop_words import STOP_WORDS
from oresearch_graph.text.words import sentence_spans, terms
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.record import CitationReport

if TYPE_CHECKING:
    import numpy as np

_WORD: Final = re.compile(r"\w[\w'’-]*+")
_LEAST: Final = 0.05
"""Likeness of a word that stands nowhere: without it one such word would be all that counts."""
_NEAREST: Final = 3.36
_SHARED: Final = 1.82
_LENGTH: Final = 0.32
_WORDS: Final = -0.15
_BASE: Final = -3.28
"""Weights of a logistic regression on the even half of REALSumm's documents: geometric mean of each
word's likeness to the nearest one of the report; squared share of the point's terms in the best
two sentences; logarithm of the report's words; the point's words."""
_MOST: Final = 20_000
"""Words of a report that are compared."""


class NearnessJudge:
    """A QualityJudge for key points in free words."""

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *,
        citations: CitationReport | None = None,  # noqa: ARG002 - likeness knows no sources
    ) -> Judged:  # fmt: skip
        """The chance that people would find each key point in the report. Raises
        ConfigurationError without key points, or without the extra `vectors`."""
        if not truth.key_points:
            raise ConfigurationError(f"the question {question[:80]!r} has no key points: add some")
        texts = [point.text for point in truth.key_points]
        found = await asyncio.to_thread(nearness, report, texts)
        scores = tuple(
            Scored(criterion=point.text, weight=point.weight, score=score)
            for point, score in zip(truth.key_points, found, strict=True)
        )
        return Judged(quality=weighted_mean(scores), by="word_vectors", scores=scores)


def nearness(report: str, points: Sequence[str]) -> list[float]:
    """For each point the chance, 0 to 1, that people would find it in the report; 0 in one without
    words. Raises ConfigurationError without the extra `vectors`."""
    body = parse_answer(report).body
    words = _content(body)[:_MOST]
    if not words:
        return [0.0] * len(points)
    shown = _vectors(tuple(dict.fromkeys(words)))
    sentences = [frozenset(terms(body[start:end])) for start, end in sentence_spans(body)]
    windows = [*sentences, *(one | two for one, two in pairwise(sentences))]
    return [_chance(point, shown, windows, len(words)) for point in points]


def _chance(point: str, shown: np.ndarray, windows: Sequence[frozenset[str]], length: int) -> float:
    words = _content(point)
    if not words:
        return 0.0
    likeness = (_vectors(tuple(words)) @ shown.T).max(axis=1).clip(_LEAST, 1.0)
    nearest = exp(sum(map(log, likeness.tolist())) / len(words))
    own = frozenset(terms(point))
    shared = max((len(own & window) / len(own) for window in windows), default=0.0)
    logit = (
        _NEAREST * nearest + _SHARED * shared**2 + _LENGTH * log(length) + _WORDS * len(words)
        + _BASE
    )  # fmt: skip
    return 1 / (1 + exp(-logit))


def _content(text: str) -> list[str]:
    words = _WORD.findall(text.lower())
    return [word for word in words if word not in STOP_WORDS] or words


def _vectors(words: tuple[str, ...]) -> np.ndarray:
    """One row of length 1 for each word."""
    import numpy as np

    rows: np.ndarray = np.stack([_vector(word) for word in words])
    return rows


@lru_cache(maxsize=50_000)
def _vector(word: str) -> Any:  # noqa: ANN401 - an array of numpy's
    import numpy as np

    vector = _model().embed([word])[0]
    return vector / (np.linalg.norm(vector) or 1.0)


@cache
def _model() -> Any:  # noqa: ANN401 - wordllama has no types
    try:
        import wordllama
    except ImportError as error:
        raise ConfigurationError(f"word vectors need {missing_extra('vectors')}") from error
    # Weights and tokenizer are in the package; without its own folder it would ask the network.
    return wordllama.WordLlama.load(
        cache_dir=Path(wordllama.__file__).parent, disable_download=True
    )
