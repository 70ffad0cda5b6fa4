"""Signals that end a command."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any


@dataclass
class _Received:
    number: int = signal.SIGINT


@contextmanager
def signals_as_interrupts() -> Iterator[_Received]:
    """SIGTERM and SIGHUP end a run as Ctrl-C does; which one it was decides the exit status."""
    received = _Received()

    def interrupt(number: int, _frame: object) -> None:
        received.number = number
        signal.raise_signal(signal.SIGINT)

    before: dict[int, Any] = {}
    for number in (getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")):
        # `nohup` has SIGHUP ignored, and means it.
        if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
