"""The review's result, what people said of the sample as figures, and the gate before the export:
the result must be good enough."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from datagen.records import Record
from datagen.run.folder import RunFolder, Work
from datagen.run.stamps import inputs_of
from datagen.settings import ReviewSettings
from oresearch_graph.errors import ConfigurationError

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


def require_gate(work: Work) -> ReviewResult | None:
    """The review's result when it lets an export pass; None: there is none and the gate is off.

    Raises ConfigurationError with the numbers and the fix.
    """
    if (fault := gate_fault(work.run, work.settings.review)) is not None:
        raise ConfigurationError(fault)
    return read_result(work.run)


def gate_fault(run: RunFolder, settings: ReviewSettings) -> str | None:
    """Why nothing may be exported, with the numbers and the fix; None: it may."""
    if settings.gate == "off":
        return None
    result = read_result(run)
    fix = (
        f"review more with `python -m datagen review {run.root}`, "
        "or export unreviewed data with --set review.gate=off"
    )
    if result is None:
        return f"nobody has reviewed {run.root}: {fix}"
    if result.inputs != inputs_of([run.judged, run.rubrics]):
        return (
            f"judged.jsonl or rubrics.jsonl changed since the review of {run.root}: run `review` "
            "again; what was decided is kept"
        )
    traces = result.traces
    if traces.decided < settings.least_decisions or traces.low is None:
        return (
            f"{traces.decided} accepted traces of the sample were reviewed, "
            f"review.least_decisions is {settings.least_decisions}: {fix}"
        )
    if traces.low < settings.least_acceptance:
        return (
            f"reviewers accepted {traces.accepted} of {traces.decided} traces: the lower bound of "
            f"the rate is {traces.low:.3f}, review.least_acceptance {settings.least_acceptance}; "
            f"raise the judge's thresholds{_suggested(result)} and judge again, or {fix}"
        )
    return None


def read_result(run: RunFolder) -> ReviewResult | None:
    """The result on file; None where there is none. Raises ConfigurationError for a spoilt one."""
    path = run.review / "result.json"
    try:
        return ReviewResult.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise ConfigurationError(f"{path}: no review result: run `review` again") from error


def _suggested(result: ReviewResult) -> str:
    cut = result.precise or result.youden
    return "" if cut is None else f" (a quality of {cut.threshold:g} is suggested)"
