"""What is held in memory of a run while its traces stream by: a few numbers a candidate. From them
come the splits, the pairs of preference and the spread of a question's scores.

Splits are drawn by seed: all that was made of one question stands in one split, in every export. A
preference pair is two candidates of one seed that the judge holds clearly apart. A question whose
candidates all score alike teaches a group-relative method nothing, which the spread shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from statistics import fmean, pvariance
from typing import Final, Literal, NamedTuple

from datagen.records import Judgement, Seed
from datagen.run.folder import RunFolder
from datagen.run.record_files import read_records
from datagen.settings import ExportSettings
from oresearch_graph.rows.files import Row

Split = Literal["train", "validation", "test"]
SPLITS: Final[tuple[Split, ...]] = ("train", "validation", "test")


class JudgedCandidate(NamedTuple):
    """A judgement without its scores."""

    id: str
    quality: float | None
    accepted: bool
    chosen: bool


class SeedOrigin(NamedTuple):
    """What rows and card tell of a seed."""

    domain: str | None = None
    language: str | None = None
    license: str | None = None


def judged_candidates(run: RunFolder) -> dict[str, list[JudgedCandidate]]:
    """The candidates of each seed, in the order of the file; a later line on a candidate counts."""
    by_seed: dict[str, dict[str, JudgedCandidate]] = {}
    for line in read_records(run.judged, Judgement):
        by_seed.setdefault(line.seed, {})[line.id] = JudgedCandidate(
            line.id, line.quality, line.accepted, line.chosen
        )
    return {seed: list(candidates.values()) for seed, candidates in by_seed.items()}


def seed_origins(run: RunFolder) -> dict[str, SeedOrigin]:
    """The seeds by id."""
    return {
        seed.id: SeedOrigin(seed.domain, seed.language, seed.license)
        for seed in read_records(run.seeds, Seed)
    }


def split_of(seed: str, settings: ExportSettings) -> Split:
    """The split of a seed: by the hash of its id, whatever other seeds there are."""
    digest = hashlib.sha256(f"{settings.split_seed}:{seed}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    if place < settings.validation:
        return "validation"
    return "test" if place < settings.validation + settings.test else "train"


class Pair(NamedTuple):
    """Ids of two candidates with their qualities."""

    chosen: str
    rejected: str
    chosen_quality: float
    rejected_quality: float

    @property
    def margin(self) -> float:
        """Rounded, so that a file's reader can work it out again."""
        return round(self.chosen_quality - self.rejected_quality, 6)


def pairs_of(candidates: Sequence[JudgedCandidate], settings: ExportSettings) -> list[Pair]:
    """The pairs of one seed, widest margin first."""
    scored = [(c, c.quality) for c in candidates if c.quality is not None]
    pairs = [
        Pair(best.id, other.id, high, low)
        for best, high in scored
        for other, low in scored
        if best.chosen and not other.chosen and high - low >= settings.margin
    ]
    pairs.sort(key=lambda pair: (-pair.margin, pair.chosen, pair.rejected))
    return pairs[: settings.pairs]


def selection_row(seed: str, candidates: Sequence[JudgedCandidate], question_sha256: str) -> Row:
    """How the judge scored the candidates of a seed; None where it scored none."""
    scores = [c.quality for c in candidates if c.quality is not None]
    return {
        "seed": seed,
        "candidates": len(candidates),
        "judged": len(scores),
        "accepted": sum(c.accepted for c in candidates),
        "mean": fmean(scores) if scores else None,
        "variance": pvariance(scores) if scores else None,
        "lowest": min(scores, default=None),
        "highest": max(scores, default=None),
        "question_sha256": question_sha256,
    }
