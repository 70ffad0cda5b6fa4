"""A balanced sample: equal quotas over (language, domain), as far as each has seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from datagen.records import Seed

Group = tuple[str | None, str | None]
"""Language and domain."""


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
        seed.id: _told(group_of(seed), counts, sizes) for seed in seeds if seed.id not in stay
    }
    return [seed for seed in seeds if seed.id in stay], surplus


def _told(group: Group, counts: dict[Group, int], sizes: dict[Group, int]) -> str:
    language, domain = group
    where = f"{language or 'no language'}, {domain or 'no domain'}"
    return f"quota of ({where}): {counts[group]} of {sizes[group]}"


def _lot(draw: int, name: str) -> str:
    return hashlib.sha256(f"{draw}:{name}".encode()).hexdigest()
