"""The filter stage: rules say what is wrong with each candidate.

One pass over the traces in their order, over several processes when there are many of them; the
file of findings is replaced when all of it is there.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from rich.progress import track

from datagen.filter.crew import Crew
from datagen.filter.registry import Rules
from datagen.records import Filtered
from datagen.run.record_files import write_records
from datagen.run.trace_shelf import TraceShelf, trace_at
from datagen.run.work import Counts, Work

_ALONE: Final = 400
"""Traces up to which one process is done before others have started (1 s each, 5 ms a trace)."""


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

    def told(lines: Iterable[Filtered]) -> Iterable[Filtered]:
        return track(lines, "filter", total=len(shelf), console=work.console, transient=True,
                     disable=not work.console.is_terminal)  # fmt: skip

    if several == 1 or (processes is None and len(shelf) <= _ALONE):
        alone = (rules.filtered(trace_at(place)) for place in shelf.places)
        total = write_records(work.run.filtered, counted(told(alone)))
    else:
        with Crew(work.settings.filter, several) as crew:
            lines = crew.filtered(shelf.places)
            total = write_records(work.run.filtered, counted(told(lines)))
    return {"candidates": total, "passed": passed, **dict(refused.most_common())}
