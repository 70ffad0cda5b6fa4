"""The time of a run: seconds in which its nodes were at work. While it waits for a person, or
between two processes, it stands still."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from oresearch_graph.trace import Span


class Clock:
    """Not thread-safe: one event loop owns it."""

    def __init__(self) -> None:
        self._before, self._since, self._at_work = 0.0, 0.0, 0

    def now(self) -> float:
        """Seconds."""
        return self._before + (monotonic() - self._since if self._at_work else 0.0)

    @contextmanager
    def running(self) -> Iterator[None]:
        """A node is at work; several at one time count once."""
        if not self._at_work:
            self._since = monotonic()
        self._at_work += 1
        try:
            yield
        finally:
            now = self.now()
            self._at_work -= 1
            if not self._at_work:
                self._before = now

    def restore(self, worked: float) -> None:
        """Go on from so many seconds, when another process has worked on the run."""
        self._before += max(0.0, worked - self.now())


def worked(spans: Iterable[Span]) -> float:
    """Seconds until the last of them ended."""
    return max((span.start + span.seconds for span in spans), default=0.0)
