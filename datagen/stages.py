"""The stages in their order: what each reads, writes and is set by, and how one or all are run."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from datagen.filter.stage import filter_traces
from datagen.funnel import count_funnel, funnel_table
from datagen.generate.stage import generate
from datagen.judge.stage import judge
from datagen.records import Judgement
from datagen.review.stage import settle_review
from datagen.rubrics.stage import make_rubrics
from datagen.run.folder import Counts, RunFolder, Work, counts_line
from datagen.run.record_files import read_records
from datagen.run.review_result import gate_fault, require_gate
from datagen.run.rows import files_behind
from datagen.run.stamps import State, fingerprint, inputs_of, read_stamp, state_of, write_stamp
from datagen.seeds.stage import make_seeds
from datagen.settings import DatagenSettings

_HUMAN: Final = "review"
"""The stage behind which people have the word."""
_STYLE: Final[dict[State, str]] = {"fresh": "green", "stale": "yellow", "missing": "dim"}


@dataclass(frozen=True)
class Stage:
    """One stage of the pipeline."""

    name: str
    run: Callable[..., Counts]
    """Given the Work, and what the stage's own command adds."""
    version: int
    """Raised when the same settings and input come to give another output."""
    sections: Callable[[DatagenSettings], list[BaseModel]]
    reads: Callable[[RunFolder, DatagenSettings], list[Path]]
    writes: Callable[[RunFolder], Path]
    """Its output, without which it has not run: deleting that makes it anew."""


def export(work: Work) -> Counts:
    """What was accepted becomes a data set, if the human review lets it.

    Raises ConfigurationError when the gate is closed or nothing can be exported; an earlier data
    set is kept then.
    """
    from datagen.export.dataset import write_dataset  # pyarrow, which no other stage needs

    reviewed = require_gate(work)
    return write_dataset(work, () if reviewed is None else reviewed.refused)


def _of(*names: str) -> Callable[[DatagenSettings], list[BaseModel]]:
    return lambda settings: [getattr(settings, name) for name in names]


def _seed_files(_: RunFolder, settings: DatagenSettings) -> list[Path]:
    return files_behind((*settings.seeds.files, *settings.seeds.benchmarks))


def _judge_files(run: RunFolder, settings: DatagenSettings) -> list[Path]:
    rubric = settings.judge.rubric
    return [*run.traces, run.filtered, run.seeds, *([] if rubric is None else [rubric])]


def _review_files(run: RunFolder, _: DatagenSettings) -> list[Path]:
    return [run.seeds, run.judged, run.rubrics, run.review / "decisions.jsonl"]


def _export_files(run: RunFolder, _: DatagenSettings) -> list[Path]:
    return [*run.traces, run.seeds, run.judged, run.rubrics, run.review / "result.json"]


STAGES: Final = (
    Stage("seeds", make_seeds, 1, _of("seeds"), _seed_files, lambda run: run.seeds),
    Stage(
        "generate", generate, 1, _of("research", "generate"),
        lambda run, _: [run.seeds], lambda run: run.generated,
    ),
    Stage(
        "filter", filter_traces, 1, _of("filter"),
        lambda run, _: run.traces, lambda run: run.filtered,
    ),
    Stage("judge", judge, 1, _of("judge"), _judge_files, lambda run: run.judged),
    Stage(
        "rubrics", make_rubrics, 1, _of("rubrics"),
        lambda run, _: [run.judged, run.seeds], lambda run: run.rubrics,
    ),
    Stage(
        "review", settle_review, 2, _of("review"),
        _review_files, lambda run: run.review / "result.json",
    ),
    Stage(
        "export", export, 2, _of("research", "export"),
        _export_files, lambda run: run.dataset,
    ),
)  # fmt: skip
BY_NAME: Final = {stage.name: stage for stage in STAGES}


def run_stage(stage: Stage, work: Work, **more: object) -> Counts:
    """Run a stage in a locked folder, and stamp it."""
    inputs = inputs_of(stage.reads(work.run, work.settings))
    counts = stage.run(work, **more)
    mark = fingerprint(stage.version, stage.sections(work.settings))
    write_stamp(work.run, stage.name, mark, inputs, counts)
    return counts


def states(run: RunFolder, settings: DatagenSettings) -> dict[str, State]:
    """Each stage's state; behind a stale or missing one nothing is fresh."""
    by_name: dict[str, State] = {}
    spoilt = False
    for stage in STAGES:
        mark = fingerprint(stage.version, stage.sections(settings))
        state = state_of(run, stage.name, mark, stage.reads(run, settings), stage.writes(run))
        if spoilt and state == "fresh":
            state = "stale"
        spoilt = spoilt or state != "fresh"
        by_name[stage.name] = state
    return by_name


def outdated_before(name: str, work: Work) -> list[str]:
    """The stages before this one that are missing or stale: it would read what they left."""
    state = states(work.run, work.settings)
    names = [stage.name for stage in STAGES]
    return [before for before in names[: names.index(name)] if state[before] != "fresh"]


def run_all(work: Work) -> None:
    """`all`: the stages that are missing or stale, in order, the folder locked. It stops behind the
    human stage, and says what to do, while people have not decided enough."""
    with work.run.locked():
        for stage in STAGES:
            if states(work.run, work.settings)[stage.name] != "fresh":
                work.console.rule(stage.name, align="left")
                work.say(counts_line(run_stage(stage, work)))
            if stage.name == _HUMAN and _waits_for_people(work):
                break
        work.console.print(funnel_table(count_funnel(work)))


def _waits_for_people(work: Work) -> bool:
    fault = gate_fault(work.run, work.settings.review)
    if fault is None:
        return False
    work.say(f"{fault}\nthen: python -m datagen all {work.run.root}")
    return True


def accepted_candidates(work: Work, candidates: Collection[str]) -> set[str]:
    """Those of the candidates that the filter passes and the judge accepts."""
    for name in ("filter", "judge"):
        run_stage(BY_NAME[name], work)
    judgements = read_records(work.run.judged, Judgement)
    return {j.id for j in judgements if j.accepted and j.id in candidates}


def print_status(work: Work, console: Console) -> None:
    """The stages' states, then the funnel."""
    console.print(stage_table(work))
    console.print(funnel_table(count_funnel(work)))


def stage_table(work: Work) -> Table:
    """Each stage: whether its output stands, when it was made, what it counted."""
    table = Table("stage", "state", "finished", "counted", title=f"{work.run.root}")
    for name, state in states(work.run, work.settings).items():
        stamp = read_stamp(work.run, name)
        finished = "–" if stamp is None else stamp.finished
        counted = "" if stamp is None else counts_line(stamp.counts)
        table.add_row(name, Text(state, _STYLE[state]), Text(finished), Text(counted))
    return table
