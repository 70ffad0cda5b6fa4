"""The filter stage: rules say what is wrong with each candidate.

One pass over the traces in their order, over several processes when there are many of them, each
reading its own lines from the files; the file of findings is replaced when all of it is there.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from multiprocessing.process import parent_process
from typing import Final, Self

from rich.progress import track

from datagen.filter.registry import Rules
from datagen.records import Filtered
from datagen.run.folder import Counts, Work
from datagen.run.record_files import write_records
from datagen.run.trace_shelf import TracePlace, TraceShelf, trace_at
from datagen.settings.filter import FilterSettings
from oresearch_graph.errors import OresearchError

_ALONE: Final = 400
"""Traces up to which one process is done before others have started (1 s each, 5 ms a trace)."""
_BATCH: Final = 16
_rules: Rules | None = None


def filter_traces(work: Work, processes: int | None = None) -> Counts:
    """Hold every candidate to the rules. `processes`: None takes every core.

    Raises ConfigurationError and TraceFileError; `filtered.jsonl` is then as it was.
    """
    shelf = TraceShelf(work.run.traces)
    rules = Rules(work.settings.filter)
    several = processes or (os.cpu_count() or 1)
    refused: Counter[str] = Counter()
    passed = 0

    def counted(lines: Iterable[Filtered]) -> Iterator[Filtered]:
        nonlocal passed
        for line in lines:
            passed += line.passed
            refused.update({finding.rule for finding in line.findings})
            yield line

    def with_progress(lines: Iterable[Filtered]) -> Iterable[Filtered]:
        return track(lines, "filter", total=len(shelf), console=work.console, transient=True,
                     disable=not work.console.is_terminal)  # fmt: skip

    if several == 1 or (processes is None and len(shelf) <= _ALONE):
        alone = (rules.filtered(trace_at(place)) for place in shelf.places)
        total = write_records(work.run.filtered, counted(with_progress(alone)))
    else:
        with FilterPool(work.settings.filter, several) as pool:
            lines = pool.filtered(shelf.places)
            total = write_records(work.run.filtered, counted(with_progress(lines)))
    return {"candidates": total, "passed": passed, **dict(refused.most_common())}


class FilterPool:
    """A pool of processes for one run of the stage. What comes back keeps the order of places."""

    def __init__(self, settings: FilterSettings, processes: int) -> None:
        # spawn: a fork would inherit the folder's lock and hold it beyond this process's death.
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_start_process,
            initargs=(settings,),
        )

    def filtered(self, places: Collection[TracePlace]) -> Iterator[Filtered]:
        """Raises what a rule's process raised, and OresearchError when one was killed."""
        batches = iter(_batched(places))
        try:
            # A thousand batches at a time: only so many results can ever wait to be taken.
            while some := list(islice(batches, 1_000)):
                yield from chain.from_iterable(self._pool.map(_filter_batch, some))
        except BrokenProcessPool as error:
            raise OresearchError(
                "a process of the filter was killed (out of memory?): run the stage again"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


def _batched(places: Iterable[TracePlace]) -> Iterator[tuple[TracePlace, ...]]:
    remaining = iter(places)
    while batch := tuple(islice(remaining, _BATCH)):
        yield batch


def _start_process(settings: FilterSettings) -> None:
    """Ready a process: Ctrl-C is its parent's to answer, and it ends when its parent does."""
    global _rules
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _rules = Rules(settings)


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)


def _filter_batch(batch: tuple[TracePlace, ...]) -> list[Filtered]:
    if _rules is None:
        raise RuntimeError("the process was not made ready")
    return [_rules.filtered(trace_at(place)) for place in batch]
