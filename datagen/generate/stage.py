"""The generate stage: each seed becomes candidates, through the research graph.

Killed at any moment and run again, it goes on: finished candidates stand, unfinished ones resume
from their checkpoints, lost ones are tried again. Its progress is redrawn in place on a terminal,
else told in a line from time to time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from datagen.generate.candidate_store import CandidateStore, Runner, Spending, checkpoint_file
from datagen.generate.plan import Job, check_teachers, plan, teachers_of
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
    from datagen.generate.maker import LocalRunner

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
            f"{len(store.done):,} candidates stand as they were made, some with other settings "
            f"or by an earlier version; to make all anew, delete {work.run.generated}",
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


class Tally:
    """What there is to tell at a moment."""

    def __init__(self, store: CandidateStore, *, planned: int, standing: int, missing: int) -> None:
        """Of the planned candidates some stood when this began, and some are to be made."""
        self._store, self._planned = store, planned
        self._standing, self._missing = standing, missing
        self._began = time.monotonic()

    def line(self) -> str:
        store, ended = self._store, self._store.finished_here
        parts = [f"{self._standing + ended:,} of {self._planned:,} done"]
        parts.append(f"{store.running} running")
        if store.lost:
            parts.append(f"{len(store.lost):,} failed")
        return ", ".join([*parts, *spending_parts(store.spending), *self._time_left(ended)])

    def _time_left(self, ended: int) -> list[str]:
        if not ended:
            return []
        rest = max(0, self._missing - ended)
        seconds = (time.monotonic() - self._began) / ended * rest
        return [f"about {duration(seconds)} left"]


def spending_parts(spending: Spending) -> list[str]:
    """What is known of the spending, in words."""
    parts = [] if spending.tokens is None else [f"{spending.tokens:,} tokens"]
    return parts if spending.cost is None else [*parts, f"${spending.cost:.2f}"]


def duration(seconds: float) -> str:
    """In the two largest units that matter."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60:,} h {minutes % 60} min"


@contextmanager
def showing(tally: Tally, console: Console, seconds: float) -> Iterator[None]:
    """Show the tally while the block runs, and once more at its end."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=2, get_renderable=lambda: Text(tally.line())):
            yield
        return
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(tally, console, seconds, over), daemon=True)
    teller.start()
    try:
        yield
    finally:
        over.set()
        teller.join()
        _print(tally, console)


def _tell(tally: Tally, console: Console, seconds: float, over: threading.Event) -> None:
    while not over.wait(seconds):
        _print(tally, console)


def _print(tally: Tally, console: Console) -> None:
    console.print(tally.line(), markup=False, highlight=False, soft_wrap=True)
