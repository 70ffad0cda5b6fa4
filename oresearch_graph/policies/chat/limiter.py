"""One limit for all calls of a process to one model's server with one key, whichever runs make
them. It lowers the concurrency when the server says 429 and raises it again slowly: additive
increase, multiplicative decrease. The runs of a process have one too, which nothing congests.

It holds no asyncio primitive, so it serves several event loops of a process.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakSet, WeakValueDictionary

from langchain_core.language_models import BaseChatModel

from oresearch_graph.keys import revealed

PAUSE_WITHOUT_ADVICE: Final = 0.5
"""Seconds that everybody waits after a 429 that names no time."""
_ADDRESSES: Final = ("base_url", "anthropic_api_url", "endpoint")
"""Fields in which chat models without a client of OpenAI's hold their server's address."""


class Slot:
    """One call's place; the call reports on it how the server took it."""

    def __init__(self, places: _Places, epoch: int) -> None:
        self._places, self._epoch = places, epoch

    def congested(self, retry_after: float | None) -> None:
        """The server said 429: halve the concurrency, let everybody wait `retry_after` seconds."""
        self._places.slow_down(self._epoch, retry_after)

    def succeeded(self) -> None:
        self._places.speed_up()


class AdaptiveLimiter:
    """At most `limit` calls at one time, fewer while the server is congested. Where limiters share
    a name, the lowest limit of those in use holds for their calls together."""

    def __init__(self, limit: int, name: str | None = None) -> None:
        """`name`: of a server and a key, or of what else is limited in a process; None: it is
        shared with nobody."""
        if limit < 1:
            raise ValueError("a limiter needs at least one place")
        self.limit = limit
        self._places = _places(name)
        self._places.add(self)

    @classmethod
    def of(cls, model: BaseChatModel, limit: int) -> AdaptiveLimiter:
        """The limiter of a model: shared with all that ask its server with its key."""
        return cls(limit, _server(model))

    @property
    def concurrency(self) -> int:
        """Calls allowed at one time, now."""
        return self._places.concurrency

    @property
    def free(self) -> bool:
        """A call that comes now would not wait for another to end."""
        return self._places.free

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """A place for one call; waits until there is one and no pause is in force."""
        epoch = await self._places.take()
        try:
            yield Slot(self._places, epoch)
        finally:
            self._places.leave()


class _Places:
    """The calls of one name that are under way, and those that wait."""

    def __init__(self) -> None:
        self._limiters = WeakSet[AdaptiveLimiter]()
        self._allowed = math.inf
        """Calls at one time that the server takes; infinite until it is congested."""
        self._active = 0
        self._epoch = 0
        self._paused_until = 0.0
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()
        self._lock = threading.Lock()

    def add(self, limiter: AdaptiveLimiter) -> None:
        """One more limits its calls; until nobody holds it any more."""
        with self._lock:
            self._limiters.add(limiter)

    @property
    def concurrency(self) -> int:
        return int(min(self._allowed, self._most))

    @property
    def free(self) -> bool:
        return self._active < self.concurrency

    @property
    def _most(self) -> int:
        return min(limiter.limit for limiter in self._limiters)

    async def take(self) -> int:
        first = True
        while True:
            with self._lock:
                pause = self._paused_until - time.monotonic()
                if pause <= 0:
                    if self.free:
                        self._active += 1
                        return self._epoch
                    waiter = self._line_up(first=first)
            if pause > 0:
                await self._sleep(pause)
            else:
                await self._wait(waiter)
                first = False

    def leave(self) -> None:
        with self._lock:
            self._active -= 1
            self._wake()

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

    async def _sleep(self, pause: float) -> None:
        """One who was woken may sleep here: cancelled, it leaves its turn to the next."""
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            with self._lock:
                self._wake()
            raise

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
        free = self.concurrency - self._active
        while free > 0 and self._waiting:
            loop, waiter = self._waiting.popleft()
            if loop.is_running():
                loop.call_soon_threadsafe(_resolve, waiter)
                free -= 1

    def slow_down(self, epoch: int, retry_after: float | None) -> None:
        pause = PAUSE_WITHOUT_ADVICE if retry_after is None else retry_after
        with self._lock:
            self._paused_until = max(self._paused_until, time.monotonic() + pause)
            # Calls that were under way together hear the same 429: it counts once.
            if epoch == self._epoch:
                self._epoch += 1
                self._allowed = max(1.0, min(self._allowed, self._most) / 2)

    def speed_up(self) -> None:
        with self._lock:
            raised = self._allowed + 1 / self._allowed
            self._allowed = raised if raised < self._most else math.inf
            self._wake()


_SHARED: Final = WeakValueDictionary[str, _Places]()
_SHARED_LOCK: Final = threading.Lock()


def _places(name: str | None) -> _Places:
    if name is None:
        return _Places()
    with _SHARED_LOCK:
        places = _SHARED.get(name)
        if places is None:
            places = _SHARED[name] = _Places()
        return places


def _server(model: BaseChatModel) -> str | None:
    """A fingerprint of a model's server and key; None where neither is known."""
    client = getattr(model, "root_async_client", None)
    fields = [getattr(client, "base_url", None), *(getattr(model, f, None) for f in _ADDRESSES)]
    address = next((str(field).rstrip("/") for field in fields if field), "")
    keys = [revealed(getattr(model, name, None)) for name in model.lc_secrets]
    key = "\0".join(key for key in keys if isinstance(key, str))
    if not (address or key):
        return None
    return hashlib.sha256(f"{address or type(model).__module__}\0{key}".encode()).hexdigest()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
