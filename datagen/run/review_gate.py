"""The gate before the export: what people said of the sample must be good enough."""

from __future__ import annotations

from pydantic import ValidationError

from datagen.run.folder import RunFolder
from datagen.run.review_result import ReviewResult
from datagen.run.stamps import inputs_of
from datagen.run.work import Work
from datagen.settings import ReviewSettings
from oresearch_graph.errors import ConfigurationError


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
