"""Many slow things at a time, a bounded number of them begun: the rest stay on the disk. And a line
from time to time that says how far they have come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar

from rich.console import Console

T = TypeVar("T")

_END: Final = object()


async def in_flight(items: Iterable[T], act: Callable[[T], Awaitable[None]], limit: int) -> None:
    """`act` on every item, at most `limit` at a time. Items are made in a thread, one when there
    is room for it. The first exception ends all and is raised as it is."""
    running: set[asyncio.Task[None]] = set()
    source = iter(items)
    try:
        while True:
            if len(running) >= limit:
                running = await _some_done(running)
            item = await asyncio.to_thread(_next, source)
            if item is _END:
                break
            running.add(asyncio.create_task(_acting(act, item)))  # type: ignore[arg-type]
        while running:
            running = await _some_done(running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def _some_done(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    ended, pending = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in ended:
        task.result()
    return pending


async def _acting(act: Callable[[T], Awaitable[None]], item: T) -> None:
    await act(item)


def _next(source: Iterator[T]) -> T | object:
    return next(source, _END)


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
