"""Lines on the console while training starts, saying what is being waited for.

A start takes about 100 seconds and verl says little in it. A thread looks at what exists already
and prints a line when that changes, and every so often while it does not.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType

_LOOK_SECONDS = 0.5


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


class StartProgress:
    """Prints the stage of a start until there is none or the block is left.

    `stage` names what is waited for, None when the start is over; it is called from a thread of its
    own and only reads.
    """

    def __init__(
        self,
        stage: Callable[[], str | None],
        *,
        every: float = 20.0,
        look: float = _LOOK_SECONDS,
        tell: Callable[[str], None] = _print,
    ) -> None:
        self._stage = stage
        self._every = every
        self._look = look
        self._tell = tell
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="start-progress", daemon=True)

    def __enter__(self) -> StartProgress:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        shown, shown_at = "", began
        while not self._done.is_set():
            stage, now = self._stage(), time.monotonic()
            if stage is None:
                return
            if stage != shown or now - shown_at >= self._every:
                self._tell(f"oresearch start {now - began:4.0f} s: waiting for {stage}")
                shown, shown_at = stage, now
            self._done.wait(self._look)
