"""How many tool calls run at one time, of all workers together.

`Permits` keeps the count: in this process, or as a Ray actor that every worker finds by its name.
A `ToolLimiter` is one worker's side: it lines up its own calls and asks for all of them in one
message. So a thousand calls that wait are one message in flight per worker, and giving back never
stands in a queue behind asking. A permit is a lease: what a dead worker held comes back when its
time is over. Not covered: a worker whose event loop stands still for longer than a lease.
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Final, Protocol

from oresearch_graph.errors import ToolError

_ASK_SECONDS: Final = 2.0
"""Longest wait of one message; a permit granted to a worker that died meanwhile is a lease."""


class NoTurn(ToolError):
    """A call waited too long for its turn: the workers ask for more than the tools give."""


class PermitStore(Protocol):
    """Where permits are kept."""

    async def take(self, worker: str, most: int, lease: float, wait: float) -> list[int]: ...

    def give_back(self, leases: Sequence[int]) -> None: ...


@dataclass(eq=False)
class _Request:
    worker: str
    most: int
    lease: float
    leases: list[int] = field(default_factory=list)
    ready: asyncio.Event = field(default_factory=asyncio.Event)


class Permits:
    """At most `limit` leases at one time, granted one by one to the workers that ask, in turn."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic) -> None:
        if limit < 1:
            raise ValueError("a limiter needs at least one permit")
        self.limit = limit
        self._clock = clock
        self._expiries: dict[int, float] = {}
        self._holders: dict[int, str] = {}
        self._requests: deque[_Request] = deque()
        self._ids = count(1)

    async def take(self, worker: str, most: int, lease: float, wait: float) -> list[int]:
        """Between one and `most` permits for `lease` seconds; none when none came free within
        `wait` seconds."""
        request = _Request(worker, most, lease)
        self._requests.append(request)
        try:
            await self._wait(request, wait)
        except BaseException:
            self.give_back(request.leases)
            raise
        finally:
            if request in self._requests:
                self._requests.remove(request)
        return request.leases

    async def _wait(self, request: _Request, wait: float) -> None:
        end = self._clock() + wait
        self._grant()
        while not request.leases and (rest := end - self._clock()) > 0:
            soonest = min(self._expiries.values(), default=end) - self._clock()
            try:
                async with asyncio.timeout(max(0.01, min(rest, soonest))):
                    await request.ready.wait()
            except TimeoutError:
                self._grant()

    def give_back(self, leases: Sequence[int]) -> None:
        """End leases; those that ran out already are ignored."""
        for lease in leases:
            self._end(lease)
        self._grant()

    def state(self) -> dict[str, int]:
        """Permits in use, the workers that hold some, and the calls that wait."""
        self._end_old()
        return {
            "in_use": len(self._expiries),
            "workers": len(set(self._holders.values())),
            "waiting": sum(request.most for request in self._requests),
        }

    def _grant(self) -> None:
        self._end_old()
        granted: list[_Request] = []
        while self._requests and len(self._expiries) < self.limit:
            request = self._requests.popleft()
            lease = next(self._ids)
            self._expiries[lease] = self._clock() + request.lease
            self._holders[lease] = request.worker
            request.leases.append(lease)
            if request not in granted:
                granted.append(request)
            if len(request.leases) < request.most:
                self._requests.append(request)
        for request in granted:  # its worker goes on with what it got, and asks again at the end
            request.ready.set()
            if request in self._requests:
                self._requests.remove(request)

    def _end_old(self) -> None:
        now = self._clock()
        for lease in [lease for lease, until in self._expiries.items() if until <= now]:
            self._end(lease)

    def _end(self, lease: int) -> None:
        self._expiries.pop(lease, None)
        self._holders.pop(lease, None)


class ToolLimiter:
    """One worker's side, for one event loop: `async with limiter.turn():` around each try.

    `lease`: seconds that a turn may last. `longest_wait`: seconds to wait for one, then NoTurn.
    """

    def __init__(self, store: PermitStore, *, lease: float, longest_wait: float) -> None:
        self._store, self._lease, self._longest = store, lease, longest_wait
        self._worker = uuid.uuid4().hex
        self._waiting: deque[asyncio.Future[int]] = deque()
        self._asking: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """A turn for one call, first come first served within this worker."""
        lease = await self._take()
        try:
            yield
        finally:
            self._store.give_back([lease])

    async def _take(self) -> int:
        turn: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            async with asyncio.timeout(self._longest):
                return await turn
        except TimeoutError as error:
            self._leave(turn)
            raise NoTurn(
                f"a tool call waited {self._longest:g} s for its turn: raise "
                "oresearch.tools.concurrency, or make the tools faster"
            ) from error
        except BaseException:
            self._leave(turn)
            raise

    def _leave(self, turn: asyncio.Future[int]) -> None:
        """Out of the line. Whoever is cancelled just as its turn comes gives it back."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        if not turn.cancel() and not turn.cancelled() and turn.exception() is None:
            self._store.give_back([turn.result()])

    async def _ask(self) -> None:
        """Ask until nobody of this worker waits."""
        while self._waiting:
            try:
                leases = await self._store.take(
                    self._worker, len(self._waiting), self._lease, _ASK_SECONDS
                )
            except ToolError as error:
                while self._waiting:
                    self._waiting.popleft().set_exception(error)
                return
            unused = [lease for lease in leases if not self._hand_over(lease)]
            if unused:
                self._store.give_back(unused)

    def _hand_over(self, lease: int) -> bool:
        """Give the lease to the first who still waits; False when nobody does."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(lease)
                return True
        return False


def tool_limiter(limit: int, *, lease: float, longest_wait: float) -> ToolLimiter:
    """The limiter of this process: one count of all workers where Ray runs, else its own."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized():
        return ToolLimiter(Permits(limit), lease=lease, longest_wait=longest_wait)
    from rl.tools.job_actors import RayPermits

    return ToolLimiter(RayPermits(limit), lease=lease, longest_wait=longest_wait)
