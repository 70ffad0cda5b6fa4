"""The seeds stage: questions become seeds, and each one left out has its reason. Every question
passes one gate, whoever wrote it; a sample is balanced over (language, domain)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, get_args

from datagen.questions.files import load_benchmarks, load_seeds
from datagen.questions.index import Benchmarks, NearIndex
from datagen.questions.likeness import wording
from datagen.questions.open_ended import not_open_ended
from datagen.records import Dropped, Seed, seed_id
from datagen.run.folder import Counts, Work
from datagen.run.record_files import read_records, write_records
from datagen.settings.seeds import SeedSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.text.language import detect_language

_REASONS: Final = get_args(Dropped.model_fields["reason"].annotation)
_TOLD: Final = 3
"""Broken lines that are shown; all stand in seeds-dropped.jsonl."""
Group = tuple[str | None, str | None]
"""Language and domain."""


def make_seeds(work: Work) -> Counts:
    """Read the files, leave out what is broken, repeated, contaminated or not open-ended, label
    and add what a model is to, and keep a balanced sample.

    Seeds of imported traces stay, whatever the limit: their traces are there. A model that fails
    is one line, and the files' questions stand. Raises ConfigurationError, nothing written, for
    files that cannot be read and settings that cannot work.
    """
    settings = work.settings.seeds
    if settings.write and not settings.model:
        raise ConfigurationError("seeds.write needs a model that writes: set seeds.model")
    imported = _imported(work)
    if not (settings.files or settings.write or imported):
        raise ConfigurationError("there are no questions: name files with --file or seeds.files")
    gate = SeedGate(settings, load_benchmarks(settings))
    for seed in imported.values():
        gate.admit(seed, seed.source)
    _load(work, gate, imported)
    if settings.model:
        asyncio.run(_ask_model(work, gate))
    return _write(work, gate)


def _imported(work: Work) -> dict[str, Seed]:
    """By question: the seeds of traces that came from elsewhere."""
    seeds = read_records(work.run.seeds, Seed)
    return {seed.question: seed for seed in seeds if seed.origin == "imported"}


def _load(work: Work, gate: SeedGate, imported: Mapping[str, Seed]) -> None:
    """The files' seeds into the gate. One that repeats an imported seed word by word lends it
    what it knows more."""
    rejected = 0
    for loaded in load_seeds(work.settings.seeds):
        if isinstance(loaded, Dropped):
            gate.drop(loaded)
            rejected += 1
            if rejected <= _TOLD:
                _say(work, f"{loaded.source}: left out: {loaded.detail}")
            continue
        place, seed = loaded
        twin = imported.get(seed.question)
        if twin is not None and twin.id in gate.seeds:
            gate.seeds[twin.id] = _enriched(gate.seeds[twin.id], seed)
        gate.admit(seed, place)
    if rejected > _TOLD:
        _say(work, f"and {rejected - _TOLD} more, see {work.run.dropped_seeds}")


def _enriched(seed: Seed, other: Seed) -> Seed:
    names = ("domain", "license", "key_points")
    more = {name: getattr(other, name) for name in names if not getattr(seed, name)}
    return seed.model_copy(update=more)


async def _ask_model(work: Work, gate: SeedGate) -> None:
    """Labels, then questions. Whatever goes wrong is told, and what there is stands."""
    # langchain takes a second to import
    from datagen.seeds.model import CachedModel, label_domains, write_questions

    settings = work.settings.seeds
    file = work.run.work / "seed-answers.jsonl"
    try:
        model = CachedModel(settings, file)
    except ConfigurationError as error:
        _say(work, f"no labels and no written questions: {error}")
        return
    async with model:
        if settings.label_domains:
            seeds = list(gate.seeds.values())
            labels, failure = await label_domains(model, seeds, settings.domains)
            for seed, domain in labels.items():
                gate.seeds[seed] = gate.seeds[seed].model_copy(update={"domain": domain})
            if failure:
                _say(work, f"not all domains are labelled: {failure}")
        there = Counter((seed.domain or "").casefold() for seed in gate.seeds.values())
        for short in await write_questions(
            model, settings, there, lambda seed: gate.admit(seed, seed.source)
        ):
            _say(work, f"{short.domain}: {short.missing} questions not written: {short.why}")


def _write(work: Work, gate: SeedGate) -> Counts:
    seeds, rejected = _sampled(work, gate)
    if not seeds:
        raise ConfigurationError(
            f"no question is left of {len(rejected)}; the first: {rejected[0].source}: "
            f"{rejected[0].reason}: {rejected[0].detail}"
            if rejected
            else "the files hold no question"
        )
    write_records(work.run.dropped_seeds, rejected)
    write_records(work.run.seeds, seeds)
    origins = Counter(seed.origin for seed in seeds)
    reasons = Counter(each.reason for each in rejected)
    counts = {"seeds": len(seeds), "written": origins["written"], "imported": origins["imported"]}
    return counts | {reason: reasons[reason] for reason in _REASONS}


def _sampled(work: Work, gate: SeedGate) -> tuple[Sequence[Seed], Sequence[Dropped]]:
    settings = work.settings.seeds
    imported = [seed for seed in gate.seeds.values() if seed.origin == "imported"]
    others = [seed for seed in gate.seeds.values() if seed.origin != "imported"]
    if settings.limit is None:
        return [*others, *imported], gate.dropped
    sample, surplus = balanced(others, settings.limit, settings.seed)
    late = [
        Dropped(question=gate.seeds[seed].question, reason="surplus", detail=why,
                source=gate.places[seed])
        for seed, why in surplus.items()
    ]  # fmt: skip
    return [*sample, *imported], [*gate.dropped, *late]


def _say(work: Work, text: str) -> None:
    work.say(" ".join(text.split()))


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
