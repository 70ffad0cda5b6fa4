"""The stratified random sample that people look at, the queue of risky traces beside it, and what
reviewers decided: the last word of each on each item.

An item's rank is a hash of the seed and its id, and the lowest ranks of each stratum are drawn: the
same seed draws the same sample on every machine, and when the population changes most of the
sample, with what was said of it, stays. Items are shown in the order of rank, so that those looked
at first are a random part of the sample themselves.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from datagen.records import Decision, Record
from datagen.review.population import Group, Member, contents, population
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import read_records, write_document
from datagen.run.stamps import inputs_of
from datagen.settings import ReviewSettings
from oresearch_graph.errors import ConfigurationError

_VERSION: Final = 2
"""Raised when the same population and settings come to give another sample."""
Decisions = Mapping[str, Mapping[str, Decision]]
"""By item, then by reviewer."""


class SampleItem(Record):
    """One item to be looked at."""

    item: str
    group: Group
    stratum: str
    quality: float | None = None
    content: str | None = None
    """Hash of what it says."""


class Stratum(Record):
    """How many there are of a kind, and how many were drawn."""

    name: str
    group: Group
    population: int
    drawn: int


class Sample(Record):
    """What is to be looked at, in this order."""

    seed: int
    made_of: str
    """Hash of the settings and files that it was drawn by and from."""
    strata: tuple[Stratum, ...]
    items: tuple[SampleItem, ...]
    queue: tuple[SampleItem, ...]
    """Not random: enters no rate."""


def current_sample(work: Work) -> Sample:
    """The sample on file, or a new one where there is none or it is outdated."""
    path = work.run.review / "sample.json"
    made_of = _made_of(work.run, work.settings.review)
    try:
        stored = Sample.model_validate_json(path.read_bytes())
        if stored.made_of == made_of:
            return stored
    except (OSError, ValidationError):
        pass  # none, or spoilt: it is drawn anew, the same from the same
    if not work.run.judged.exists():
        raise ConfigurationError(f"{work.run.judged}: nothing is judged yet: run judge first")
    members = population(work.run, work.settings.review.bands)
    drawn = _with_contents(draw(members, work.settings.review, made_of), work.run)
    # A name of this process's own: two reviewers may start at once.
    part = path.with_name(f"sample-{os.getpid()}.json")
    write_document(part, drawn)
    part.replace(path)
    return drawn


def _with_contents(sample: Sample, run: RunFolder) -> Sample:
    items = [*sample.items, *sample.queue]
    hashes = contents(run, {item.item for item in items})
    hashed = [item.model_copy(update={"content": hashes.get(item.item)}) for item in items]
    drawn = len(sample.items)
    return sample.model_copy(
        update={"items": tuple(hashed[:drawn]), "queue": tuple(hashed[drawn:])}
    )


def draw(members: Sequence[Member], settings: ReviewSettings, made_of: str = "") -> Sample:
    """Draw the sample of each group, and the queue."""
    accepted = sum(member.group == "accepted" for member in members)
    traces = min(settings.sample, accepted)
    sizes: dict[Group, int] = {
        "accepted": traces,
        "rejected": round(traces * settings.rejected_share),
        "rubric": settings.rubrics,
    }
    strata: list[Stratum] = []
    drawn: list[Member] = []
    for group, count in sizes.items():
        for stratum, picks, size in _drawn(members, group, count, settings.seed):
            strata.append(Stratum(name=stratum, group=group, population=size, drawn=len(picks)))
            drawn += picks
    drawn.sort(key=lambda member: _rank(settings.seed, member.item))
    return Sample(
        seed=settings.seed,
        made_of=made_of,
        strata=tuple(strata),
        items=tuple(map(_item, drawn)),
        queue=tuple(map(_item, _risky(members, drawn, settings.queue))),
    )


def allocate(sizes: Mapping[str, int], total: int) -> dict[str, int]:
    """How many to draw of each stratum: in proportion, at least one, never more than there are."""
    whole = sum(sizes.values())
    total = max(min(total, whole), len(sizes))
    share = {name: total * size / whole for name, size in sizes.items()}
    counts = {name: max(1, int(share[name])) for name in sizes}
    while (short := total - sum(counts.values())) != 0:
        step = 1 if short > 0 else -1
        may = [n for n in sizes if (counts[n] < sizes[n] if step > 0 else counts[n] > 1)]
        # By name among equals, so that every machine allocates the same.
        most = max(may, key=lambda name: (step * (share[name] - counts[name]), name))
        counts[most] += step
    return counts


def _drawn(
    members: Sequence[Member], group: Group, count: int, seed: int
) -> list[tuple[str, list[Member], int]]:
    """Each stratum of a group with the members drawn of it and its size."""
    strata: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        if member.group == group:
            strata[member.stratum].append(member)
    if not count or not strata:
        return []
    counts = allocate(Counter({name: len(each) for name, each in strata.items()}), count)
    ranked = {
        name: sorted(each, key=lambda member: _rank(seed, member.item))
        for name, each in strata.items()
    }
    return [(name, ranked[name][: counts[name]], len(strata[name])) for name in sorted(strata)]


def _rank(seed: int, item: str) -> str:
    return hashlib.sha256(f"{seed}:{item}".encode()).hexdigest()


def _risky(members: Sequence[Member], drawn: Sequence[Member], count: int) -> list[Member]:
    """Accepted traces beyond the sample: lowest quality first, then lowest agreement."""
    sampled = {member.item for member in drawn}
    others = (m for m in members if m.group == "accepted" and m.item not in sampled)
    return sorted(others, key=_risk)[:count]


def _risk(member: Member) -> tuple[float, float, str]:
    quality = 1.0 if member.quality is None else member.quality
    agreement = 1.0 if member.agreement is None else member.agreement
    return quality, agreement, member.item


def _item(member: Member) -> SampleItem:
    return SampleItem(
        item=member.item, group=member.group, stratum=member.stratum, quality=member.quality
    )


def _made_of(run: RunFolder, settings: ReviewSettings) -> str:
    names = ("sample", "rejected_share", "rubrics", "queue", "seed", "bands")
    basis = {
        "version": _VERSION,
        "settings": {name: getattr(settings, name) for name in names},
        "files": inputs_of([run.seeds, run.judged, run.rubrics]),
    }
    return hashlib.sha256(json.dumps(basis, sort_keys=True).encode()).hexdigest()[:16]


def read_decisions(path: Path) -> dict[str, dict[str, Decision]]:
    """The decisions that count, of a file that others may append to meanwhile."""
    decisions: dict[str, dict[str, Decision]] = {}
    for decision in read_records(path, Decision, unended=False):
        decisions.setdefault(decision.item, {})[decision.reviewer] = decision
    return decisions


def decisions_on(
    items: Iterable[SampleItem], decisions: Decisions
) -> dict[str, dict[str, Decision]]:
    """The decisions on these items as they are: those on what stood under the same id before are
    left out."""
    current: dict[str, dict[str, Decision]] = {}
    for item in items:
        for reviewer, word in decisions.get(item.item, {}).items():
            if word.content is None or word.content == item.content:
                current.setdefault(item.item, {})[reviewer] = word
    return current


def verdict(decisions: Iterable[Decision]) -> bool | None:
    """The majority's word; a tie is no acceptance, silence is None."""
    votes = [decision.accept for decision in decisions]
    return sum(votes) * 2 > len(votes) if votes else None
