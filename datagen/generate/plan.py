"""The plan: every candidate of every seed, from settings and seeds alone.

A candidate's recipe depends on its own id and the settings, so that every machine plans the same
and a seed more or less changes nothing for the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import product
from typing import Final, NamedTuple

from datagen.generate.teachers import teachers_of
from datagen.records import Candidate, Recipe, Seed, candidate_id
from datagen.settings import GenerateSettings
from oresearch_graph.trace import Execution

_DRAWS: Final = 2**31
"""Draws of researchers are below this."""


class Job(NamedTuple):
    """A candidate with its question: all that a machine needs to know of it."""

    candidate: Candidate
    question: str

    @property
    def id(self) -> str:
        return self.candidate.id


class Variant(NamedTuple):
    """One combination that candidates cycle over."""

    teacher: str
    temperature: float | None
    execution: Execution
    repeatable: bool
    """False where a second candidate would be the first one again."""
    pool: bool
    """The teacher has several researchers to draw from."""


def variants(settings: GenerateSettings) -> tuple[Variant, ...]:
    """Teachers × temperatures × executions, neighbours as different as can be."""
    combinations: list[Variant] = []
    for teacher in teachers_of(settings):
        configured = settings.temperatures if teacher.temperatures is None else teacher.temperatures
        temperatures = () if teacher.extractive else dict.fromkeys(configured)
        executions = dict.fromkeys(settings.executions)
        for temperature, execution in product(temperatures or (None,), executions):
            pool = len(teacher.researcher_models) > 1
            combinations.append(
                Variant(teacher.name, temperature, execution, not teacher.extractive, pool)
            )
    return tuple(combinations)


def plan(settings: GenerateSettings, seeds: Iterable[Seed]) -> Iterator[Job]:
    """The candidates of the seeds, in the order of their numbers.

    An extractive teacher writes the same each time, so its variants come once per seed.
    """
    cycle = variants(settings)
    for seed in seeds:
        if seed.origin == "imported" and not settings.imported_seeds:
            continue
        first = _number(seed.id) % len(cycle)
        for number in range(1, settings.candidates + 1):
            variant = cycle[(first + number - 1) % len(cycle)]
            if number <= len(cycle) or variant.repeatable:
                yield Job(_candidate(seed, number, variant), seed.question)


def _candidate(seed: Seed, number: int, variant: Variant) -> Candidate:
    name = candidate_id(seed.id, number)
    recipe = Recipe(
        teacher=variant.teacher,
        temperature=variant.temperature,
        execution=variant.execution,
        draw=_number(name) % _DRAWS if variant.pool else 0,
    )
    return Candidate(id=name, seed=seed.id, number=number, recipe=recipe)


def _number(text: str) -> int:
    """A number that is the same for the same text on every machine."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
