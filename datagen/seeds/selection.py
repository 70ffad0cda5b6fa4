"""Which questions become seeds: the gate that every question passes, whoever wrote it, and a sample
balanced over (language, domain), as far as each has seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from datagen.questions.index import Benchmarks, NearIndex
from datagen.questions.likeness import wording
from datagen.questions.open_ended import not_open_ended
from datagen.records import Dropped, Seed, seed_id
from datagen.settings.seeds import SeedSettings
from oresearch_graph.evidence.language import detect_language

Group = tuple[str | None, str | None]
"""Language and domain."""


class SeedGate:
    """Holds the seeds so far, in order; the first of two that are alike stays."""

    def __init__(self, settings: SeedSettings, benchmarks: Benchmarks) -> None:
        self._settings, self._benchmarks = settings, benchmarks
        self._near = NearIndex(settings.likeness)
        self._ids: dict[str, str] = {}
        self.seeds: dict[str, Seed] = {}
        self.places: dict[str, str] = {}
        self.dropped: list[Dropped] = []

    def admit(self, seed: Seed, place: str) -> bool:
        """Take a seed, or keep the reason why not."""
        words = wording(seed.question)
        if (benchmark := self._benchmarks.find(words)) is not None:
            return self._drop(seed, place, "contaminated", f"benchmark question: {benchmark}")
        if seed.origin != "imported":  # the trace of an imported one is there already
            if (twin := self._near.find(words)) is not None:
                return self._drop(seed, place, "duplicate", f"seed {self._ids[twin]}: {twin}")
            if self._settings.open_ended and (why := not_open_ended(seed.question)):
                return self._drop(seed, place, "not_open_ended", why)
        admitted = seed.model_copy(
            update={"id": self._free_id(seed),
                    "language": seed.language or detect_language(seed.question)}
        )  # fmt: skip
        self._near.add(words)
        self._ids[seed.question] = admitted.id
        self.seeds[admitted.id] = admitted
        self.places[admitted.id] = place
        return True

    def drop(self, rejection: Dropped) -> None:
        self.dropped.append(rejection)

    def _free_id(self, seed: Seed) -> str:
        """Its own, unless another question has it: files number their rows alike."""
        return seed.id if seed.id not in self.seeds else seed_id(seed.question)

    def _drop(self, seed: Seed, place: str, reason: str, detail: str) -> bool:
        record = {"question": seed.question, "reason": reason, "detail": detail, "source": place}
        self.drop(Dropped.model_validate(record))
        return False


def group_of(seed: Seed) -> Group:
    """What quotas are over."""
    return seed.language, seed.domain


def quotas(sizes: dict[Group, int], limit: int, draw: int) -> dict[Group, int]:
    """How many of each group stay: as equal as their sizes allow, `limit` together. Groups that
    get one more than others are drawn."""
    counts = dict.fromkeys(sizes, 0)
    rest = min(limit, sum(sizes.values()))
    order = sorted(sizes, key=lambda group: _lot(draw, repr(group)))
    while rest:
        hungry = [group for group in order if counts[group] < sizes[group]]
        share = max(1, rest // len(hungry))
        for group in hungry[:rest]:
            more = min(share, sizes[group] - counts[group])
            counts[group] += more
            rest -= more
    return counts


def balanced(seeds: Sequence[Seed], limit: int, draw: int) -> tuple[list[Seed], dict[str, str]]:
    """The seeds that stay, in their order, and of the others by id the quota that was full. Which
    of a group stay is decided by `draw` and their ids, not by their order."""
    sizes: dict[Group, int] = {}
    for seed in seeds:
        sizes[group_of(seed)] = sizes.get(group_of(seed), 0) + 1
    counts = quotas(sizes, limit, draw)
    members: dict[Group, list[Seed]] = {}
    for seed in sorted(seeds, key=lambda seed: _lot(draw, seed.id)):
        members.setdefault(group_of(seed), []).append(seed)
    stay = {seed.id for group, all_ in members.items() for seed in all_[: counts[group]]}
    surplus = {
        seed.id: _quota_text(group_of(seed), counts, sizes) for seed in seeds if seed.id not in stay
    }
    return [seed for seed in seeds if seed.id in stay], surplus


def _quota_text(group: Group, counts: dict[Group, int], sizes: dict[Group, int]) -> str:
    language, domain = group
    where = f"{language or 'no language'}, {domain or 'no domain'}"
    return f"quota of ({where}): {counts[group]} of {sizes[group]}"


def _lot(draw: int, name: str) -> str:
    return hashlib.sha256(f"{draw}:{name}".encode()).hexdigest()
