"""Many slow things at a time, a bounded number of them begun: the rest stay on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Final, TypeVar

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
