"""The review's result: what people said of the sample, as figures. Export and funnel read it."""

from __future__ import annotations

from typing import Final

from datagen.records import Record

RUBRIC: Final = "rubric:"
"""Begins the id of an item that is a seed's rubric; a trace's item has its id."""


class Rate(Record):
    """A share of accepted items with its interval; None before anything was decided."""

    name: str
    population: int | None = None
    """How many there are in all; None where that is not the point."""
    decided: int
    accepted: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None


class Kappa(Record):
    """How far two reviewers agree beyond chance."""

    one: str
    other: str
    items: int
    """That both decided on."""
    agreement: float
    """Share of equal words."""
    kappa: float | None
    """Cohen's; None where both said the same of everything, and chance explains all."""


class JudgeAgreement(Record):
    """The judge's acceptance against people's, over sampled traces, accepted and rejected."""

    both_accept: int
    judge_only: int
    people_only: int
    both_reject: int
    agreement: float
    kappa: float | None


class Cut(Record):
    """A threshold on the judge's quality, and what it would do in the whole population."""

    threshold: float
    precision: float
    """Share of the traces at or above it that people would accept."""
    recall: float | None
    """Share of what people would accept that is at or above it; None where they accept nothing."""


class ReviewResult(Record):
    """Everything that the decisions so far say. Only the random sample counts."""

    seed: int
    made_of: str
    """The sample's hash."""
    inputs: dict[str, str]
    """Digests of the files that the sample was drawn from."""
    confidence: float
    traces: Rate
    """Accepted traces, all strata together, by Wilson's interval: the gate's number. Two or more
    reviewers of one trace: the majority; a tie is no acceptance."""
    weighted: float | None = None
    """The same rate with each stratum weighted by its size; strata nobody looked at are left out.
    It differs from `traces.rate` where small strata were drawn beyond their share."""
    strata: tuple[Rate, ...] = ()
    rejected: Rate
    """What people accept of the traces that the judge rejected."""
    rubrics: Rate
    reviewers: tuple[Rate, ...] = ()
    """Each reviewer's own words on accepted traces."""
    kappas: tuple[Kappa, ...] = ()
    judge: JudgeAgreement | None = None
    precise: Cut | None = None
    """The lowest threshold with the wanted precision; None: none has it."""
    youden: Cut | None = None
    """Where Youden's J, sensitivity + specificity - 1, is highest; None where people accepted, or
    rejected, everything."""
    queue: int = 0
    """Decisions on the risk-ordered queue; they are in no figure above."""
    refused: tuple[str, ...] = ()
    """Items of sample and queue that people did not accept: none of them is exported."""
