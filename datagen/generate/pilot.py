"""The pilot: a few candidates of every variant are made and kept, and the whole run is forecast."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator
from heapq import nsmallest
from itertools import chain, zip_longest

from datagen.generate.forecast import Forecast, forecast, forecast_table, sample_of
from datagen.generate.runner import Runner
from datagen.generate.stage import Planned, make_candidates, planned
from datagen.records import Recipe
from datagen.run.trace_shelf import TraceShelf
from datagen.run.work import Work
from oresearch_graph.errors import ConfigurationError

Accepts = Callable[[Work, Collection[str]], Collection[str]]
"""Which of these candidates, all generated, the stages behind would accept."""


def run_pilot(work: Work, size: int, accepts: Accepts, runner: Runner | None = None) -> Forecast:
    """Make `size` candidates, spread over the variants, and say what all would come to.

    They are the run's own: the stage does not make them again. The same size makes the same ones.
    """
    jobs = planned(work)
    total = sum(1 for _ in jobs())
    sample = pilot_sample(jobs, size)
    make_candidates(work, lambda: (job for job in jobs() if job.id in sample), runner)
    shelf = TraceShelf([work.run.generated])
    generated = [name for name in sample if name in shelf]
    if not generated:
        raise ConfigurationError(f"no candidate of the pilot was generated; why: {work.run.lost}")
    accepted = set(accepts(work, generated))
    samples = [sample_of(shelf.get(name), accepted=name in accepted) for name in generated]
    outlook = forecast(samples, total, work.settings.generate.concurrency)
    work.console.print(forecast_table(outlook))
    return outlook


def pilot_sample(jobs: Planned, size: int) -> frozenset[str]:
    """So many candidates by chance, as evenly over the variants as can be; always the same ones.

    Memory: `size` ids for each variant.
    """
    by_variant: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for job in jobs():
        variant = _variant(job.candidate.recipe)
        ranked = by_variant.setdefault(variant, [])
        ranked.append((hashlib.sha256(job.id.encode()).hexdigest(), job.id))
        if len(ranked) > 2 * size:
            by_variant[variant] = nsmallest(size, ranked)
    lists = [
        nsmallest(size, ranked)
        for _, ranked in sorted(by_variant.items(), key=lambda v: repr(v[0]))
    ]
    in_turn = chain.from_iterable(zip_longest(*lists))
    return frozenset(_first(in_turn, size))


def _first(ranked: Iterator[tuple[str, str] | None], size: int) -> Iterator[str]:
    room = size
    for each in ranked:
        if each is not None and room:
            room -= 1
            yield each[1]


def _variant(recipe: Recipe) -> tuple[object, ...]:
    return recipe.teacher, recipe.temperature, recipe.execution
