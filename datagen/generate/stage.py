"""The generate stage: each seed becomes candidates, through the research graph.

Killed at any moment and run again, it goes on: finished candidates stand, unfinished ones resume
from their checkpoints, lost ones are tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from datagen.generate.candidate_store import Book, Runner, checkpoint_file
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
    with Book(work.run, work.settings.generate) as book:
        _refuse_mixture(work, book)
        _tell_of_other_settings(work, book)
        planned = standing = missing = 0
        for job in jobs():
            planned += 1
            standing += book.has(job)
            missing += _is_wanted(job, book)
        if missing:
            tally = Tally(book, planned=planned, standing=standing, missing=missing)
            with showing(tally, work.console, work.settings.generate.progress_seconds):
                open_ones = (job for job in jobs() if _is_wanted(job, book))
                (runner or _local()).run(open_ones, book, work)
        counts = _counts(jobs(), book)
    _tell_the_end(work, counts, book)
    return counts


def _local() -> Runner:
    # The graph takes two seconds to import, which `status` need not wait for.
    from datagen.generate.local_runner import LocalRunner

    return LocalRunner()


def _is_wanted(job: Job, book: Book) -> bool:
    return not book.has(job) and not book.given_up(job.id)


def _counts(jobs: Iterator[Job], book: Book) -> Counts:
    counts = {"planned": 0, "generated": 0, "lost": 0, "left": 0}
    for job in jobs:
        counts["planned"] += 1
        is_finished, lost = book.has(job), job.id in book.lost
        counts["generated" if is_finished else "lost" if lost else "left"] += 1
    return counts


def _refuse_mixture(work: Work, book: Book) -> None:
    """Extractive traces of an earlier run do not mix with a model's either."""
    settings = work.settings.generate
    models = any(not teacher.extractive for teacher in teachers_of(settings))
    extractive = all(teacher.extractive for teacher in teachers_of(settings))
    mixed = (models and book.extractive) or (extractive and book.extractive < len(book.done))
    if mixed and not settings.allow_extractive:
        raise ConfigurationError(
            f"{work.run.generated}: extractive traces do not mix with a model's: use another "
            "folder, or set generate.allow_extractive=true"
        )


def _tell_of_other_settings(work: Work, book: Book) -> None:
    current = checkpoint_file(work)
    others = [
        file
        for file in work.run.work.glob(current.with_stem("candidates-*").name)
        if file != current
    ]
    if book.done and others:
        work.say(
            f"{len(book.done):,} candidates stand as they were made, some with other settings; "
            f"to make all anew, delete {work.run.generated}",
        )


def _tell_the_end(work: Work, counts: Counts, book: Book) -> None:
    if book.stopped is not None and counts["left"]:
        work.say(
            f"stopped: {book.stopped}; {counts['left']:,} candidates were not begun; raise the "
            "limit and run again to go on",
        )
    elif counts["lost"]:
        again = sum(not book.given_up(name) for name in book.lost)
        work.say(
            f"{counts['lost']:,} candidates are lost, {again:,} of them are tried again when the "
            f"stage is run again; why: {work.run.lost}",
        )
