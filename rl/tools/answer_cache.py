"""Answers of the index service: kept as bytes, and made once however many ask at one time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable


class Overloaded(Exception):
    """More distinct answers are being made than the service takes on."""


class AnswerCache:
    """The most recently used answers, up to `size` bytes; at most `backlog` in the making.

    For one event loop. An answer in the making goes on when those who asked have left: the next
    who asks finds it. A failure is told to all who wait and not kept.
    """

    def __init__(self, size: int, backlog: int) -> None:
        self.asked = 0
        self.made = 0
        """Answers made; the others that were asked for had been made, or were in the making."""
        self._size, self._backlog = size, backlog
        self._bytes = 0
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._making: dict[Hashable, asyncio.Task[bytes]] = {}

    @property
    def waiting(self) -> int:
        """Answers in the making."""
        return len(self._making)

    async def of(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of `key`, made by `make` unless it is there. Raises Overloaded, and what
        `make` raises."""
        self.asked += 1
        kept = self._kept.get(key)
        if kept is not None:
            self._kept.move_to_end(key)
            return kept
        task = self._making.get(key)
        if task is None:
            if len(self._making) >= self._backlog:
                raise Overloaded
            task = asyncio.create_task(self._made(key, make))
            self._making[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)

    async def _made(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        answer = await make()
        self.made += 1
        self._keep(key, answer)
        return answer

    def _landed(self, key: Hashable, task: asyncio.Task[bytes]) -> None:
        del self._making[key]
        if not task.cancelled():
            task.exception()  # heard, even when all who asked have left

    def _keep(self, key: Hashable, answer: bytes) -> None:
        if len(answer) > self._size // 8:
            return  # one such page would push out what is asked for again
        self._kept[key] = answer
        self._bytes += len(answer)
        while self._bytes > self._size:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= len(oldest)
