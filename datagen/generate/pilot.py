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
    chosen = pilot_sample(jobs, size)
    make_candidates(work, lambda: (job for job in jobs() if job.id in chosen), runner)
    shelf = TraceShelf([work.run.generated])
    made = [name for name in chosen if name in shelf]
    if not made:
        raise ConfigurationError(f"no candidate of the pilot was generated; why: {work.run.lost}")
    accepted = set(accepts(work, made))
    samples = [sample_of(shelf.get(name), accepted=name in accepted) for name in made]
    told = forecast(samples, total, work.settings.generate.concurrency)
    work.console.print(forecast_table(told))
    return told


def pilot_sample(jobs: Planned, size: int) -> frozenset[str]:
    """So many candidates by chance, as evenly over the variants as can be; always the same ones.

    Memory: `size` ids for each variant.
    """
    found: dict[tuple[object, ...], list[tuple[str, str]]] = {}
    for job in jobs():
        variant = _variant(job.candidate.recipe)
        kept = found.setdefault(variant, [])
        kept.append((hashlib.sha256(job.id.encode()).hexdigest(), job.id))
        if len(kept) > 2 * size:
            found[variant] = nsmallest(size, kept)
    lists = [nsmallest(size, kept) for _, kept in sorted(found.items(), key=lambda v: repr(v[0]))]
    in_turn = chain.from_iterable(zip_longest(*lists))
    return frozenset(_first(in_turn, size))


def _first(found: Iterator[tuple[str, str] | None], size: int) -> Iterator[str]:
    left = size
    for each in found:
        if each is not None and left:
            left -= 1
            yield each[1]


def _variant(recipe: Recipe) -> tuple[object, ...]:
    return recipe.teacher, recipe.temperature, recipe.execution
