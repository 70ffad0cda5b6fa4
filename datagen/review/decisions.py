"""What reviewers said: the last word of each on each item."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from datagen.records import Decision
from datagen.review.sample import SampleItem
from datagen.run.record_files import read_records

Words = Mapping[str, Mapping[str, Decision]]
"""By item, then by reviewer."""


def read_words(path: Path) -> dict[str, dict[str, Decision]]:
    """The words that count, of a file that others may append to meanwhile."""
    words: dict[str, dict[str, Decision]] = {}
    for decision in read_records(path, Decision, unended=False):
        words.setdefault(decision.item, {})[decision.reviewer] = decision
    return words


def words_on(items: Iterable[SampleItem], words: Words) -> dict[str, dict[str, Decision]]:
    """The words that were said of these items as they are: those on what stood under the same id
    before are left out."""
    current: dict[str, dict[str, Decision]] = {}
    for item in items:
        for reviewer, word in words.get(item.item, {}).items():
            if word.content is None or word.content == item.content:
                current.setdefault(item.item, {})[reviewer] = word
    return current


def verdict(decisions: Iterable[Decision]) -> bool | None:
    """The majority's word; a tie is no acceptance, silence is None."""
    words = [decision.accept for decision in decisions]
    return sum(words) * 2 > len(words) if words else None
