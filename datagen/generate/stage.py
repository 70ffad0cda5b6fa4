"""The generate stage: each seed becomes candidates, through the research graph.

Killed at any moment and run again, it goes on: finished candidates stand, unfinished ones resume
from their checkpoints, lost ones are tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from datagen.generate.candidate_store import CandidateStore, Runner, checkpoint_file
from datagen.generate.plan import Job, check_teachers, plan, teachers_of
from datagen.generate.progress import Tally, showing
from datagen.records import Seed
from datagen.run.folder import Counts, Work
from datagen.run.record_files import read_records
from oresearch_graph.errors import ConfigurationError

Planned = Callable[[], Iterator[Job]]
"""The candidates to make; asked anew for each pass over them."""


def generate(work: Work, runner: Runner | None = None) -> Counts:
    """Make every candidate of every seed that is not there yet."""
    return make_candidates(work, planned(work), runner)


def planned(work: Work) -> Planned:
    """The run's whole plan. Raises ConfigurationError where there is no seed."""
    check_teachers(work.settings)
    first = next(read_records(work.run.seeds, Seed), None)
    if first is None:
        raise ConfigurationError(f"{work.run.seeds}: there are no seeds: run the seeds stage first")
    return lambda: plan(work.settings.generate, read_records(work.run.seeds, Seed))


def make_candidates(work: Work, jobs: Planned, runner: Runner | None = None) -> Counts:
    """Make these candidates, each once; those that stand are left alone."""
    with CandidateStore(work.run, work.settings.generate) as store:
        _refuse_mixture(work, store)
        _tell_of_other_settings(work, store)
        planned = standing = missing = 0
        for job in jobs():
            planned += 1
            standing += store.has(job)
            missing += _is_wanted(job, store)
        if missing:
            tally = Tally(store, planned=planned, standing=standing, missing=missing)
            with showing(tally, work.console, work.settings.generate.progress_seconds):
                open_ones = (job for job in jobs() if _is_wanted(job, store))
                (runner or _local()).run(open_ones, store, work)
        counts = _counts(jobs(), store)
    _tell_the_end(work, counts, store)
    return counts


def _local() -> Runner:
    # The graph takes two seconds to import, which `status` need not wait for.
    from datagen.generate.local_runner import LocalRunner

    return LocalRunner()


def _is_wanted(job: Job, store: CandidateStore) -> bool:
    return not store.has(job) and not store.given_up(job.id)


def _counts(jobs: Iterator[Job], store: CandidateStore) -> Counts:
    counts = {"planned": 0, "generated": 0, "lost": 0, "left": 0}
    for job in jobs:
        counts["planned"] += 1
        is_finished, lost = store.has(job), job.id in store.lost
        counts["generated" if is_finished else "lost" if lost else "left"] += 1
    return counts


def _refuse_mixture(work: Work, store: CandidateStore) -> None:
    """Extractive traces of an earlier run do not mix with a model's either."""
    settings = work.settings.generate
    models = any(not teacher.extractive for teacher in teachers_of(settings))
    extractive = all(teacher.extractive for teacher in teachers_of(settings))
    mixed = (models and store.extractive) or (extractive and store.extractive < len(store.done))
    if mixed and not settings.allow_extractive:
        raise ConfigurationError(
            f"{work.run.generated}: extractive traces do not mix with a model's: use another "
            "folder, or set generate.allow_extractive=true"
        )


def _tell_of_other_settings(work: Work, store: CandidateStore) -> None:
    current = checkpoint_file(work)
    others = [
        file
        for file in work.run.work.glob(current.with_stem("candidates-*").name)
        if file != current
    ]
    if store.done and others:
        work.say(
            f"{len(store.done):,} candidates stand as they were made, some with other settings; "
            f"to make all anew, delete {work.run.generated}",
        )


def _tell_the_end(work: Work, counts: Counts, store: CandidateStore) -> None:
    if store.stopped is not None and counts["left"]:
        work.say(
            f"stopped: {store.stopped}; {counts['left']:,} candidates were not begun; raise the "
            "limit and run again to go on",
        )
    elif counts["lost"]:
        again = sum(not store.given_up(name) for name in store.lost)
        work.say(
            f"{counts['lost']:,} candidates are lost, {again:,} of them are tried again when the "
            f"stage is run again; why: {work.run.lost}",
        )
