"""Funnel: how many there are at each stage and why the others went, counted from the files.

Every file is read once, a line at a time. A stage that has not run has no count, which is not 0.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from datagen.generate.candidate_store import Spending, read_finished
from datagen.generate.plan import plan
from datagen.records import Dropped, Filtered, Judgement, Lost, Seed
from datagen.run.folder import Work
from datagen.run.record_files import read_records
from datagen.run.stamps import read_stamp


class Level(NamedTuple):
    """One stage's part of the funnel."""

    name: str
    remaining: int | None
    """What is left after it; None: it has not run."""
    lost: dict[str, int]
    """Why others went, most frequent first. A candidate with several reasons counts at each."""


class Funnel(NamedTuple):
    """The whole way from questions to rows."""

    levels: tuple[Level, ...]
    spending: Spending
    """What all candidates and their judgements cost, the rejected ones among them."""
    accepted: int | None

    @property
    def cost_per_accepted(self) -> float | None:
        """US dollars per accepted trace; None where no price is known."""
        if not self.accepted or self.spending.cost is None:
            return None
        return self.spending.cost / self.accepted

    @property
    def tokens_per_accepted(self) -> float | None:
        if not self.accepted or self.spending.tokens is None:
            return None
        return self.spending.tokens / self.accepted


def count_funnel(work: Work) -> Funnel:
    """Count what the run's folder holds."""
    run = work.run
    traces, spending = _traces(work)
    judged = _judged(run.judged)
    for judgement in read_records(run.judged, Judgement):
        spending = spending.plus(Spending(judgement.tokens, judgement.cost))
    levels = (
        _seeds(work),
        _planned(work),
        Level("traces", traces, _lost(work, traces)),
        _filtered(run.filtered),
        *judged,
        _rows(work),
    )
    return Funnel(levels, spending, judged[0].remaining)


def _seeds(work: Work) -> Level:
    if not work.run.seeds.exists():
        return Level("seeds", None, {})
    count = _number(read_records(work.run.seeds, Seed))
    return Level(
        "seeds", count, _ranked(d.reason for d in read_records(work.run.dropped_seeds, Dropped))
    )


def _planned(work: Work) -> Level:
    run = work.run
    if not run.seeds.exists():
        return Level("candidates", None, {})
    planned = plan(work.settings.generate, read_records(run.seeds, Seed))
    return Level("candidates", _number(planned) + _number(read_finished(run.imported)), {})


def _traces(work: Work) -> tuple[int | None, Spending]:
    spending, ids = Spending(), set[str]()
    for file in work.run.traces:
        for finished in read_finished(file):
            ids.add(finished.id)
            spending = spending.plus(finished.spending)
    for lost in read_records(work.run.lost, Lost, unended=False):
        spending = spending.plus(Spending(lost.tokens, lost.cost))
    return (len(ids) if work.run.traces else None), spending


def _lost(work: Work, traces: int | None) -> dict[str, int]:
    if traces is None:
        return {}
    lost = _number(read_records(work.run.lost, Lost, unended=False))
    return {"lost": lost} if lost else {}


def _filtered(path: Path) -> Level:
    if not path.exists():
        return Level("passed the filter", None, {})
    passed, rules = 0, Counter[str]()
    for filtered in read_records(path, Filtered):
        passed += filtered.passed
        rules.update({finding.rule for finding in filtered.findings})
    return Level("passed the filter", passed, dict(rules.most_common()))


def _judged(path: Path) -> tuple[Level, Level]:
    if not path.exists():
        return Level("accepted by the judge", None, {}), Level("best of their seed", None, {})
    accepted, best, reasons = 0, 0, Counter[str]()
    for judgement in read_records(path, Judgement):
        accepted += judgement.accepted
        best += judgement.chosen
        if judgement.judged is None:
            reasons["unjudged"] += 1
        elif not judgement.accepted:
            reasons["below a threshold"] += 1
    beaten = {"another of the seed was chosen": accepted - best} if accepted > best else {}
    return (
        Level("accepted by the judge", accepted, dict(reasons.most_common())),
        Level("best of their seed", best, beaten),
    )


def _rows(work: Work) -> Level:
    stamp = read_stamp(work.run, "export")
    if stamp is None:
        return Level("exported", None, {})
    return Level("exported", stamp.counts.get("traces"), {})


def _ranked(reasons: Iterable[str]) -> dict[str, int]:
    return dict(Counter(reasons).most_common())


def _number(items: Iterable[object]) -> int:
    return sum(1 for _ in items)
