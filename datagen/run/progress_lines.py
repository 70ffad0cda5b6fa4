"""ProgressLines: a line from time to time that says how far a stage has come."""

from __future__ import annotations

import time

from rich.console import Console


class ProgressLines:
    """Says a line when the last one is old enough."""

    def __init__(self, console: Console, seconds: float) -> None:
        self._console, self._seconds = console, seconds
        self._last = time.monotonic()

    def tell(self, line: str, *, last: bool = False) -> None:
        """`last`: say it however young the one before is."""
        if last or time.monotonic() - self._last >= self._seconds:
            self._last = time.monotonic()
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)
