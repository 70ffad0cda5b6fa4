"""The pilot: a few candidates of every variant are made and kept, and what the whole run would
yield and cost is forecast from them, each figure with its interval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from heapq import nsmallest
from itertools import chain, zip_longest
from statistics import fmean, stdev
from typing import NamedTuple

from rich.table import Table

from datagen.generate.candidate_store import Runner, Spending
from datagen.generate.stage import Planned, duration, make_candidates, planned
from datagen.records import Recipe
from datagen.run.folder import Work
from datagen.run.trace_shelf import TraceShelf
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace

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
    return frozenset(_first_ids(in_turn, size))


def _first_ids(ranked: Iterator[tuple[str, str] | None], size: int) -> Iterator[str]:
    room = size
    for each in ranked:
        if each is not None and room:
            room -= 1
            yield each[1]


def _variant(recipe: Recipe) -> tuple[object, ...]:
    return recipe.teacher, recipe.temperature, recipe.execution


class Estimate(NamedTuple):
    """A figure with its 95 % interval. `low` and `high` are None where one run cannot tell."""

    value: float
    low: float | None = None
    high: float | None = None

    def times(self, factor: float) -> Estimate:
        return Estimate(
            self.value * factor,
            None if self.low is None else self.low * factor,
            None if self.high is None else self.high * factor,
        )


class PilotCandidate(NamedTuple):
    """What one candidate of the pilot was."""

    tokens: int | None
    cost: float | None
    seconds: float
    accepted: bool


class Forecast(NamedTuple):
    """Of the whole run. None: not known, or no candidate was accepted."""

    candidates: int
    sampled: int
    accepted: int
    share: Estimate
    """Of candidates that are accepted."""
    yields: Estimate
    """Traces."""
    tokens: Estimate | None
    cost: Estimate | None
    """US dollars."""
    tokens_each: Estimate | None
    """Per accepted trace."""
    cost_each: Estimate | None
    seconds: Estimate
    """Of the stage, at its concurrency."""


def sample_of(trace: Trace, *, accepted: bool) -> PilotCandidate:
    """What a pilot's trace tells; its time is that of its spans."""
    spending = Spending.of(trace.usage)
    end = max((span.start + span.seconds for span in trace.spans), default=0.0)
    return PilotCandidate(spending.tokens, spending.cost, end, accepted)


def forecast(samples: Sequence[PilotCandidate], candidates: int, concurrency: int) -> Forecast:
    """What so many candidates come to. At least one sample."""
    accepted = sum(sample.accepted for sample in samples)
    share = _share(accepted, len(samples))
    tokens = _mean([sample.tokens for sample in samples])
    cost = _mean([sample.cost for sample in samples])
    seconds = _mean([sample.seconds for sample in samples])
    return Forecast(
        candidates=candidates,
        sampled=len(samples),
        accepted=accepted,
        share=share,
        yields=share.times(candidates),
        tokens=tokens and tokens.times(candidates),
        cost=cost and cost.times(candidates),
        tokens_each=_each(tokens, share),
        cost_each=_each(cost, share),
        seconds=(seconds or Estimate(0.0)).times(candidates / min(concurrency, candidates)),
    )


def forecast_table(outlook: Forecast) -> Table:
    """The forecast for a person."""
    table = Table(title=f"Forecast from {outlook.sampled} of {outlook.candidates:,} candidates")
    for name in ("", "expected", "95 % interval"):
        table.add_column(name, justify="left" if not name else "right")
    rows: list[tuple[str, Estimate | None, str]] = [
        ("accepted", outlook.share.times(100), "{:.0f} %"),
        ("accepted traces", outlook.yields, "{:,.0f}"),
        ("tokens", outlook.tokens, "{:,.0f}"),
        ("tokens per accepted trace", outlook.tokens_each, "{:,.0f}"),
        ("money", outlook.cost, "${:,.2f}"),
        ("money per accepted trace", outlook.cost_each, "${:,.4f}"),
    ]
    for name, figure, form in rows:
        table.add_row(name, *_cells(figure, form.format))
    table.add_row("time", *_cells(outlook.seconds, duration))
    return table


def _cells(figure: Estimate | None, form: Callable[[float], str]) -> tuple[str, str]:
    if figure is None:
        return "not known", ""
    if figure.low is None and figure.high is None:
        return form(figure.value), "not known"
    low = form(figure.low or 0.0)
    high = "no bound" if figure.high is None else form(figure.high)
    return form(figure.value), f"{low} to {high}"


def _share(accepted: int, of: int) -> Estimate:
    """Wilson's score interval."""
    from scipy.stats import binomtest

    interval = binomtest(accepted, of).proportion_ci(method="wilson")
    return Estimate(accepted / of, float(interval.low), float(interval.high))


def _mean(values: Sequence[float | None]) -> Estimate | None:
    """The mean with Student's interval, never below zero; None unless every value is known."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values) or not numbers:
        return None
    mean = fmean(numbers)
    if len(numbers) == 1:
        return Estimate(mean)
    from scipy.stats import t

    half = float(t.ppf(0.975, len(numbers) - 1)) * stdev(numbers) / len(numbers) ** 0.5
    return Estimate(mean, max(0.0, mean - half), mean + half)


def _each(mean: Estimate | None, share: Estimate) -> Estimate | None:
    """Per accepted trace: the yield's interval, which is by far the wider one, at the mean."""
    if mean is None or not share.value or share.low is None or share.high is None:
        return None
    high = mean.value / share.low if share.low else None
    return Estimate(mean.value / share.value, mean.value / share.high, high)
