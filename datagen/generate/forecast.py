"""The forecast from a pilot: what the whole run would yield and cost, each with its interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from rich.table import Table

from datagen.generate.finished import Spent
from datagen.generate.progress import duration
from oresearch_graph.trace import Trace


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


class Sample(NamedTuple):
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


def sample_of(trace: Trace, *, accepted: bool) -> Sample:
    """What a pilot's trace tells; its time is that of its spans."""
    spending = Spent.of(trace.usage)
    end = max((span.start + span.seconds for span in trace.spans), default=0.0)
    return Sample(spending.tokens, spending.cost, end, accepted)


def forecast(samples: Sequence[Sample], candidates: int, concurrency: int) -> Forecast:
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
