"""SingleFlight: callers of one thing share its computation."""

from __future__ import annotations

import asyncio
import gc
import threading

import pytest

from oresearch_graph.tools.single_flight import SingleFlight


class Work:
    """A computation that waits until it may end, and counts its beginnings and cancellations."""

    def __init__(self, *, goes_on: bool = False) -> None:
        self.flights = SingleFlight[int](goes_on=goes_on)
        self.begun, self.cancelled = 0, 0
        self.may_end = asyncio.Event()

    async def compute(self) -> int:
        self.begun += 1
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return self.begun

    async def callers(self, count: int) -> list[asyncio.Task[int]]:
        tasks = [asyncio.create_task(self.flights.of("a", self.compute)) for _ in range(count)]
        await asyncio.sleep(0.01)
        return tasks


async def cancel(*tasks: asyncio.Task[int]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)


async def test_callers_share_a_computation_and_the_next_begins_anew() -> None:
    work = Work()
    callers = await work.callers(3)
    assert ("a" in work.flights, "b" in work.flights, len(work.flights)) == (True, False, 1)
    work.may_end.set()
    assert await asyncio.gather(*callers) == [1, 1, 1]
    assert len(work.flights) == 0
    assert await work.flights.of("a", work.compute) == 2


@pytest.mark.parametrize("goes_on", [False, True])
async def test_one_who_leaves_takes_nothing_from_the_others(goes_on: bool) -> None:
    work = Work(goes_on=goes_on)
    first, second = await work.callers(2)
    await cancel(first)
    work.may_end.set()
    assert (await second, work.begun, work.cancelled) == (1, 1, 0)


async def test_the_last_who_leaves_ends_the_computation() -> None:
    work = Work()
    await cancel(*await work.callers(2))
    assert (work.begun, work.cancelled, len(work.flights)) == (1, 1, 0)


async def test_who_comes_while_it_is_being_cancelled_begins_anew() -> None:
    work = Work()
    (leaving,) = await work.callers(1)
    leaving.cancel()
    coming = asyncio.create_task(work.flights.of("a", work.compute))
    work.may_end.set()
    assert await coming == 2


async def test_what_goes_on_is_there_for_the_next() -> None:
    work = Work(goes_on=True)
    await cancel(*await work.callers(2))
    assert len(work.flights) == 1
    (late,) = await work.callers(1)
    work.may_end.set()
    assert (await late, work.begun, work.cancelled) == (1, 1, 0)


async def test_a_failure_that_nobody_waits_for_is_no_complaint_of_the_loop() -> None:
    flights, complaints = SingleFlight[int](goes_on=True), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

    async def fail() -> int:
        await asyncio.sleep(0.01)
        raise OSError("down")

    await cancel(caller := asyncio.create_task(flights.of("a", fail)))
    for _ in range(2):
        with pytest.raises(OSError, match="down"):
            await flights.of("a", fail)
    del caller
    gc.collect()
    await asyncio.sleep(0)
    assert (complaints, len(flights)) == ([], 0)


def test_another_loop_computes_for_itself() -> None:
    flights, both = SingleFlight[int](), threading.Barrier(2, timeout=10)

    async def compute() -> int:
        await asyncio.to_thread(both.wait)
        return 1

    results: list[int] = []
    threads = [
        threading.Thread(target=lambda: results.append(asyncio.run(flights.of("a", compute))))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1, 1]
