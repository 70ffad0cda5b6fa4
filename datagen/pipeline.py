"""`all`: the stages that are missing or stale, in order, up to the human one and on after it."""

from __future__ import annotations

from typing import Final

from datagen.funnel.count import count_funnel
from datagen.funnel.table import funnel_table
from datagen.run.review_gate import gate_fault
from datagen.run.work import Work, told
from datagen.stages import STAGES, run_stage, states

_HUMAN: Final = "review"


def run_all(work: Work) -> None:
    """Run them in a locked folder. It stops behind the human stage, and says what to do, while
    people have not decided enough; what is fresh is left alone."""
    with work.run.locked():
        for stage in STAGES:
            if states(work.run, work.settings)[stage.name] != "fresh":
                work.console.rule(stage.name, align="left")
                counts = run_stage(stage, work)
                work.console.print(told(counts), markup=False, highlight=False, soft_wrap=True)
            if stage.name == _HUMAN and _waits_for_people(work):
                break
        work.console.print(funnel_table(count_funnel(work)))


def _waits_for_people(work: Work) -> bool:
    fault = gate_fault(work.run, work.settings.review)
    if fault is None:
        return False
    work.console.print(
        f"{fault}\nthen: python -m datagen all {work.run.root}", markup=False, soft_wrap=True
    )
    return True
