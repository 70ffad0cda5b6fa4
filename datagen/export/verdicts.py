"""What is held in memory of a run while its traces stream by: a few numbers a candidate."""

from __future__ import annotations

from typing import NamedTuple

from datagen.records import Judgement, Seed
from datagen.run.folder import RunFolder
from datagen.run.record_files import read_records


class Verdict(NamedTuple):
    """A judgement without its scores."""

    id: str
    quality: float | None
    accepted: bool
    chosen: bool


class Origin(NamedTuple):
    """What rows and card tell of a seed."""

    domain: str | None
    language: str | None
    license: str | None


def verdicts(run: RunFolder) -> dict[str, list[Verdict]]:
    """The verdicts of each seed, in the order of the file; a later line on a candidate counts."""
    found: dict[str, dict[str, Verdict]] = {}
    for line in read_records(run.judged, Judgement):
        found.setdefault(line.seed, {})[line.id] = Verdict(
            line.id, line.quality, line.accepted, line.chosen
        )
    return {seed: list(lines.values()) for seed, lines in found.items()}


def origins(run: RunFolder) -> dict[str, Origin]:
    """The seeds by id."""
    return {
        seed.id: Origin(seed.domain, seed.language, seed.license)
        for seed in read_records(run.seeds, Seed)
    }
