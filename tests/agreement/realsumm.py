"""How far `word_vectors` agrees with people on key points in free words.

    python -m tests.agreement.realsumm

REALSumm's 100 documents by 25 systems: people said which content units each summary holds. A
summary's score is the share it holds; the rank correlation is over all 2,500, and within each
document. The weights were fitted on one half of the documents.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Final, NamedTuple

from scipy.stats import spearmanr

from oresearch_graph.judging.nearness import nearness

REALSUMM: Final = Path(__file__).parents[3] / "shared/data/human_labels/REALSumm"

Judge = Callable[[str, Sequence[str]], float]
"""A summary and the content units of its document: how much of them it holds."""


class Document(NamedTuple):
    """One document's content units, and 25 summaries with what people found in each."""

    fitted: bool
    """The weights were fitted on it."""
    units: tuple[str, ...]
    summaries: tuple[str, ...]
    held: tuple[float, ...]
    """Share of the units that people found, by summary."""


def documents(folder: Path = REALSUMM) -> list[Document]:
    """All of them. Raises OSError where they are not there."""
    units = [line.split("\t") for line in _lines(folder / "SCUs.txt")]
    texts = _lines(folder / "documents.txt")
    systems = sorted(path.stem for path in (folder / "summaries").glob("*.summary"))
    summaries = [_lines(folder / "summaries" / f"{name}.summary") for name in systems]
    labels = [_lines(folder / "labels" / f"{name}.label") for name in systems]
    return [
        Document(
            int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2 == 0,
            tuple(units[at]),
            tuple(each[at] for each in summaries),
            tuple(fmean(map(float, each[at].split("\t"))) for each in labels),
        )
        for at, text in enumerate(texts)
    ]


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def by_word_vectors(summary: str, units: Sequence[str]) -> float:
    return fmean(nearness(summary, units))


def by_length(summary: str, units: Sequence[str]) -> float:
    return float(len(summary.split()))


def agreement(judge: Judge, of: Iterable[Document]) -> tuple[float, float]:
    """Spearman's correlation over all single summaries, and its mean within documents."""
    scores = [(each, [judge(text, each.units) for text in each.summaries]) for each in of]
    pooled = correlation(
        [score for _, scored in scores for score in scored],
        [share for each, _ in scores for share in each.held],
    )
    within = [correlation(scored, each.held) for each, scored in scores if len(set(each.held)) > 1]
    return pooled, fmean(within)


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    return float(spearmanr(one, other).statistic)


def main() -> None:
    every = documents()
    parts = {
        "all 2,500": every,
        "fitted on": [each for each in every if each.fitted],
        "not fitted on": [each for each in every if not each.fitted],
    }
    sys.stdout.write("| judge | summaries | pooled | within documents |\n|---|---|---|---|\n")
    for name, judge in (("length alone", by_length), ("word vectors", by_word_vectors)):
        for part, of in parts.items():
            pooled, within = agreement(judge, of)
            sys.stdout.write(f"| {name} | {part} | {pooled:.3f} | {within:.3f} |\n")


if __name__ == "__main__":
    main()
