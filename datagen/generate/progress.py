"""Progress of the generate stage: redrawn in place on a terminal, else a line from time to time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from datagen.generate.candidate_store import CandidateStore, Spending


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
