"""One computation at a time of each thing that is asked for, whoever asks for it meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_Place = tuple[asyncio.AbstractEventLoop, Hashable]


@dataclass
class _Flight(Generic[T]):
    task: asyncio.Task[T]
    waiting: int = 0


class SingleFlight(Generic[T]):
    """Results by key, shared while they are computed and by the callers of one event loop.

    A caller that is cancelled leaves the others theirs. The computation is cancelled when its last
    caller is; one that `goes_on` ends by itself. A failure reaches every caller, and nothing is
    remembered: the next one begins anew.
    """

    def __init__(self, *, goes_on: bool = False) -> None:
        self._goes_on = goes_on
        self._flights: dict[_Place, _Flight[T]] = {}

    def __len__(self) -> int:
        """Computations under way."""
        return len(self._flights)

    def __contains__(self, key: Hashable) -> bool:
        return _place(key) in self._flights

    async def of(self, key: Hashable, compute: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of `key`, by `compute` unless it is under way. Raises what that raises."""
        place = _place(key)
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = _Flight(asyncio.create_task(compute()))
            flight.task.add_done_callback(lambda _: self._land(place, flight))
        flight.waiting += 1
        try:
            return await asyncio.shield(flight.task)
        finally:
            flight.waiting -= 1
            if not (flight.waiting or self._goes_on or flight.task.done()):
                self._land(place, flight)
                flight.task.cancel()

    def _land(self, place: _Place, flight: _Flight[T]) -> None:
        if self._flights.get(place) is flight:
            del self._flights[place]
        if flight.task.done() and not flight.task.cancelled():
            flight.task.exception()  # heard, even when every caller has left


def _place(key: Hashable) -> _Place:
    # The loop itself: the number of one that is gone may come again.
    return asyncio.get_running_loop(), key
