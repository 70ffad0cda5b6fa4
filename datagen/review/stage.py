"""The review stage: what people said of the sample becomes the result that gates the export."""

from __future__ import annotations

from datagen.records import Decision
from datagen.review.sample import current_sample, decisions_on, read_decisions
from datagen.run.folder import Counts, Work
from datagen.run.record_files import RecordWriter, write_document
from datagen.run.review_result import Rate, ReviewResult
from datagen.run.stamps import inputs_of


def settle_review(work: Work) -> Counts:
    """Draw the sample where it is missing or outdated, and work out the result so far."""
    from datagen.review.result import review_result

    inputs = inputs_of([work.run.judged, work.run.rubrics])
    sample = current_sample(work)
    path = work.run.review / "decisions.jsonl"
    if path.exists():
        RecordWriter(path, Decision).close()  # moves aside what a killed writer left of a line
    decisions = decisions_on([*sample.items, *sample.queue], read_decisions(path))
    result = review_result(sample, decisions, work.settings.review, inputs)
    write_document(work.run.review / "result.json", result)
    _tell(work, result)
    decided = result.traces.decided + result.rejected.decided + result.rubrics.decided
    return {
        "in_the_sample": len(sample.items),
        "decided": decided,
        "accepted_traces_reviewed": result.traces.decided,
        "accepted_by_reviewers": result.traces.accepted,
        "reviewers": len(result.reviewers),
    }


def _tell(work: Work, result: ReviewResult) -> None:
    for rate in (result.traces, result.rejected, result.rubrics):
        if rate.decided:
            work.say(_line(rate, result.confidence))
    for each in result.kappas:
        kappa = "unknown" if each.kappa is None else f"{each.kappa:.2f}"
        line = f"{each.one} and {each.other}: kappa {kappa} over {each.items} items"
        work.say(line)
    if result.judge is not None:
        line = f"judge and people agree on {result.judge.agreement:.0%}"
        if result.precise is not None:
            line += f"; a quality of {result.precise.threshold:g} would do for the wanted precision"
        work.say(line)


def _line(rate: Rate, confidence: float) -> str:
    return (
        f"{rate.name}: {rate.accepted} of {rate.decided} accepted, {rate.rate:.3f} "
        f"[{rate.low:.3f}, {rate.high:.3f}] at {confidence:.0%}"
    )
