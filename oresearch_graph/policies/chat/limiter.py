"""One limiter for all model calls of a run. It lowers its own concurrency when the server says
429 and raises it again slowly: additive increase, multiplicative decrease.

It holds no asyncio primitive, so one limiter serves several event loops of a process.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

PAUSE_WITHOUT_ADVICE: Final = 0.5
"""Seconds that everybody waits after a 429 that names no time."""


class Slot:
    """One call's place; the call reports on it how the server took it."""

    def __init__(self, limiter: AdaptiveLimiter, epoch: int) -> None:
        self._limiter, self._epoch = limiter, epoch

    def congested(self, retry_after: float | None) -> None:
        """The server said 429: halve the concurrency, let everybody wait `retry_after` seconds."""
        self._limiter._slow_down(self._epoch, retry_after)  # noqa: SLF001  # one class in two

    def succeeded(self) -> None:
        self._limiter._speed_up()  # noqa: SLF001


class AdaptiveLimiter:
    """At most `limit` calls at one time, fewer while the server is congested."""

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("a limiter needs at least one place")
        self._most = limit
        self._allowed = float(limit)
        self._active = 0
        self._epoch = 0
        self._paused_until = 0.0
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()

    @property
    def concurrency(self) -> int:
        """Calls allowed at one time, now."""
        return int(self._allowed)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """A place for one call; waits until there is one and no pause is in force."""
        epoch = await self._take()
        try:
            yield Slot(self, epoch)
        finally:
            with self._lock:
                self._active -= 1
                self._wake()

    async def _take(self) -> int:
        first = True
        while True:
            with self._lock:
                pause = self._paused_until - time.monotonic()
                if pause <= 0:
                    if self._active < int(self._allowed):
                        self._active += 1
                        return self._epoch
                    waiter = self._line_up(first=first)
            if pause > 0:
                await asyncio.sleep(pause)
            else:
                await self._wait(waiter)
                first = False

    def _line_up(self, *, first: bool) -> asyncio.Future[None]:
        """A waiter that was woken and found no place goes back to the head of the line."""
        loop = asyncio.get_running_loop()
        waiter = loop.create_future()
        entry = (loop, waiter)
        if first:
            self._waiting.append(entry)
        else:
            self._waiting.appendleft(entry)
        return waiter

    async def _wait(self, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        except asyncio.CancelledError:
            with self._lock:
                self._waiting = deque(entry for entry in self._waiting if entry[1] is not waiter)
                self._wake()
            raise

    def _wake(self) -> None:
        """Wake as many waiters as there are places. The lock is held."""
        free = int(self._allowed) - self._active
        while free > 0 and self._waiting:
            loop, waiter = self._waiting.popleft()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, waiter)
                free -= 1

    def _slow_down(self, epoch: int, retry_after: float | None) -> None:
        pause = PAUSE_WITHOUT_ADVICE if retry_after is None else retry_after
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + pause)
            # Calls that were under way together hear the same 429: it counts once.
            if epoch == self._epoch:
                self._epoch += 1
                self._allowed = max(1.0, self._allowed / 2)

    def _speed_up(self) -> None:
        with self._lock:
            self._allowed = min(float(self._most), self._allowed + 1 / self._allowed)
            self._wake()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
