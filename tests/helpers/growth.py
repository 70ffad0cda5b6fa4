"""How the CPU time of a reader grows with the length of what it reads."""

from __future__ import annotations

import gc
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

from tests.helpers.linear_texts import Family

DOUBLING: Final = 2.8
"""Times the CPU time for twice the text: linear work takes 2, quadratic 4, a busy machine adds."""
STEP: Final = 4
"""Times the length between two measurements: two doublings in one."""
FLOOR: Final = 0.004
"""Seconds of CPU under which a ratio says nothing."""
HOPELESS: Final = 1.0
"""Seconds that no short text may take."""
PATIENT: Final = 5.0
"""Seconds of one reading above which it is not repeated."""
STUCK: Final = 20.0
"""Seconds after which a reader is stopped: an exponential one would never come back."""


def superlinear(read: Callable[[Any], object], family: Family, length: int) -> str | None:
    """What is wrong with the growth on texts of one family; None when it is linear.

    A text four times as long may take 2.8 x 2.8 times as long. Where it takes longer, the better of
    three tries counts, and the next step has to show the same: what is looked at only above some
    length begins there, and stays linear.
    """
    if (first := spent(read, family.text(60))) > HOPELESS:
        return f"60 characters take {first:.1f} s"
    at, before = length, spent(read, family.text(length))
    for last in (False, True):
        after = spent(read, family.text(STEP * at))
        if after > FLOOR and after > DOUBLING**2 * before:
            before = min(before, *(spent(read, family.text(at)) for _ in range(2)))
            if after < PATIENT:
                after = min(after, *(spent(read, family.text(STEP * at)) for _ in range(2)))
        if after <= FLOOR or after <= DOUBLING**2 * before:
            return None
        if last or after > PATIENT:
            break
        at, before = STEP * at, after
    return f"{at} characters take {before:.4f} s, {STEP * at} take {after:.4f} s"


def first_fault(read: Callable[[Any], object], texts: Iterable[Family], length: int) -> str | None:
    """The first family on which the reader is not linear, and how it grew; None: on none."""
    for family in texts:
        if (fault := superlinear(read, family, length)) is not None:
            return f"{tuple(family)}: {fault}"
    return None


def spent(read: Callable[[Any], object], text: str | bytes) -> float:
    """CPU seconds; infinite for a reader that had to be stopped.

    Without the garbage collector: a full collection walks the whole process, not what was read.
    """
    gc.disable()
    start = time.process_time()
    try:
        with _stopped_after(STUCK):
            read(text)
    except _Stuck:
        return float("inf")
    finally:
        gc.enable()
    return time.process_time() - start


class _Stuck(BaseException):
    """No reader catches it."""


@contextmanager
def _stopped_after(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stuck

    known = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, known)
