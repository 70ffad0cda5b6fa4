"""The rubrics stage: verified claims of accepted traces become what RL judges a question by.

A question whose claims do not bear enough key points gets no truth: none is invented.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from datagen.records import Judgement, Seed, SeedTruth
from datagen.rubrics.authoring import Authoring, KeptTruth
from datagen.rubrics.from_claims import points_from_claims
from datagen.rubrics.material import Material, accepted_traces, materials
from datagen.run.kept_records import KeptRecords
from datagen.run.record_files import read_records, write_records
from datagen.run.trace_shelf import TraceShelf
from datagen.run.work import Counts, Work
from datagen.settings.rubrics import RubricSettings
from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.judging.ground_truth import GroundTruth

_WRITTEN: Final = "rubrics.jsonl"


def make_rubrics(work: Work) -> Counts:
    """Write the truth of every seed with accepted traces. Raises ConfigurationError, and
    PolicyError when the model kept failing: the truths that came stand, and the stage is not
    finished."""
    run, settings = work.run, work.settings.rubrics
    if not run.judged.exists():
        raise ConfigurationError(f"{run.judged}: not there: run the judge stage first")
    accepted = accepted_traces(read_records(run.judged, Judgement))
    seeds = {seed.id: seed for seed in read_records(run.seeds, Seed) if seed.key_points}
    found = materials(accepted, seeds, TraceShelf(run.traces), settings.foreign_reports)
    counts = {"seeds": len(accepted), "with_truth": 0, "without_truth": 0, "key_points": 0}
    if settings.model is None:
        truths = _from_claims(found, settings)
        write_records(run.rubrics, _counted(truths, counts))
    else:
        counts["refused"] = 0
        _by_model(work, found, counts)
    counts["without_truth"] = counts["seeds"] - counts["with_truth"]
    return counts


def _from_claims(found: Iterator[Material], settings: RubricSettings) -> Iterator[SeedTruth]:
    for material in found:
        points = (*material.given, *points_from_claims(material, settings.most_points))
        if len(points) >= settings.fewest_points:
            traces = tuple(report.trace for report in material.reports)
            yield SeedTruth(
                seed=material.seed, question=material.question,
                truth=GroundTruth(key_points=points), by="claims", traces=traces,
            )  # fmt: skip


def _by_model(work: Work, found: Iterator[Material], counts: Counts) -> None:
    file = work.run.work / _WRITTEN
    with KeptRecords(file, KeptTruth, lambda kept: kept.key) as kept:
        authoring = Authoring(work.settings.rubrics, kept, work.console)
        asyncio.run(authoring.run(found))
        write_records(work.run.rubrics, _counted(_written(authoring, counts), counts))
    if authoring.without:
        seed, reason = next(iter(authoring.without.items()))
        work.console.print(
            f"{len(authoring.without):,} questions have no truth, one of them {seed}: {reason}; "
            "they are tried again when the stage is run again",
            markup=False, highlight=False, soft_wrap=True,
        )  # fmt: skip
    if authoring.gave_up is not None:
        raise PolicyError(
            f"the model failed on {work.settings.rubrics.give_up_after} questions in a row, run "
            f"the stage again to go on; the last failure: {authoring.gave_up}"
        )


def _written(authoring: Authoring, counts: Counts) -> Iterator[SeedTruth]:
    for key in authoring.keys.values():
        if (kept := authoring.kept.get(key)) is not None:
            counts["refused"] += kept.refused
            yield kept.truth


def _counted(truths: Iterator[SeedTruth], counts: Counts) -> Iterator[SeedTruth]:
    for truth in truths:
        counts["with_truth"] += 1
        counts["key_points"] += len(truth.truth.key_points)
        yield truth
