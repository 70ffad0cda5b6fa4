"""The seeds stage: questions become seeds, and each one left out has its reason."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, get_args

from datagen.questions.files import load_benchmarks, load_seeds
from datagen.records import Dropped, Seed
from datagen.run.folder import Counts, Work
from datagen.run.record_files import read_records, write_records
from datagen.seeds.model import label_domains, write_questions
from datagen.seeds.selection import SeedGate, balanced
from oresearch_graph.errors import ConfigurationError

_REASONS: Final = get_args(Dropped.model_fields["reason"].annotation)
_TOLD: Final = 3
"""Broken lines that are shown; all stand in seeds-dropped.jsonl."""


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
    from datagen.seeds.model import CachedModel  # langchain takes a second to import

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
