"""The limiter of tool calls: never above its number, nobody is forgotten, what is lost comes
back."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

import pytest

from oresearch_graph.errors import ToolError
from rl.tools.tool_limiter import NoTurn, Permits, ToolLimiter, tool_limiter


def limiter(permits: Permits, *, lease: float = 5.0, longest_wait: float = 5.0) -> ToolLimiter:
    return ToolLimiter(permits, lease=lease, longest_wait=longest_wait)


class Running:
    """How many run, and how many ran at one time at most."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    async def use(self, own: ToolLimiter, seconds: float = 0.002) -> None:
        async with own.turn():
            self.now += 1
            self.most = max(self.most, self.now)
            await asyncio.sleep(seconds)
            self.now -= 1
            self.done += 1


async def test_never_above_its_number_and_everybody_gets_a_turn():
    permits, running = Permits(5), Running()
    workers = [limiter(permits) for _ in range(4)]
    await asyncio.gather(*(running.use(workers[i % 4]) for i in range(200)))
    assert (running.most, running.done, running.now) == (5, 200, 0)
    assert permits.state() == {"in_use": 0, "workers": 0, "waiting": 0}


async def test_a_worker_with_a_few_calls_does_not_wait_behind_one_with_many():
    permits, order = Permits(2), []

    async def use(name: str, own: ToolLimiter) -> None:
        async with own.turn():
            await asyncio.sleep(0.002)
            order.append(name)

    busy, modest = limiter(permits), limiter(permits)
    many = [asyncio.create_task(use("busy", busy)) for _ in range(60)]
    await asyncio.sleep(0.005)
    few = [asyncio.create_task(use("modest", modest)) for _ in range(5)]
    await asyncio.gather(*many, *few)
    first = Counter(order[: order.index("modest") + 20])
    assert first["modest"] == 5, "its five calls are through while the other has fifty left"


async def test_within_a_worker_the_first_come_is_the_first_served():
    own, order = limiter(Permits(1)), []

    async def use(number: int) -> None:
        async with own.turn():
            order.append(number)

    await asyncio.gather(*(use(number) for number in range(10)))
    assert order == list(range(10))


async def test_a_dead_workers_permits_come_back_when_their_lease_ends():
    permits = Permits(2)
    assert len(await permits.take("dead", 2, lease=0.1, wait=1.0)) == 2
    assert await permits.take("other", 1, lease=5.0, wait=0.02) == []
    [lease] = await permits.take("other", 1, lease=5.0, wait=5.0)
    assert permits.state()["in_use"] == 1
    permits.give_back([lease])
    assert permits.state()["in_use"] == 0


async def test_giving_back_what_ran_out_frees_nobody_elses_place():
    now = [0.0]
    permits = Permits(1, clock=lambda: now[0])
    [old] = await permits.take("slow", 1, lease=1.0, wait=0.0)
    now[0] = 2.0
    [new] = await permits.take("next", 1, lease=1.0, wait=1.0)
    permits.give_back([old])
    assert permits.state()["in_use"] == 1
    assert new != old


async def test_waiting_is_bounded_and_says_what_to_do():
    permits = Permits(1)
    own = limiter(permits, longest_wait=0.05)
    async with own.turn():
        with pytest.raises(NoTurn, match=r"raise oresearch\.tools\.concurrency"):
            async with own.turn():
                pytest.fail("there was no turn to have")
    async with own.turn():
        assert permits.state()["in_use"] == 1


async def test_cancelled_waiters_leave_nothing_behind():
    permits, running = Permits(1), Running()
    own = limiter(permits)
    async with own.turn():
        lost = [asyncio.create_task(running.use(own)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for task in lost:
            task.cancel()
        await asyncio.gather(*lost, return_exceptions=True)
    await asyncio.wait_for(running.use(own), 2)
    assert running.done == 1
    assert permits.state()["in_use"] == 0


async def test_cancelled_just_as_the_turn_comes_it_is_given_back():
    permits, running = Permits(1), Running()
    own = limiter(permits)
    for steps in range(8):
        task = asyncio.create_task(running.use(own, 0.05))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        running.now = 0
    await asyncio.wait_for(running.use(own), 2)
    assert permits.state()["in_use"] == 0


async def test_an_exception_inside_a_turn_ends_it():
    permits = Permits(1)
    own = limiter(permits)
    with pytest.raises(KeyError):
        async with own.turn():
            raise KeyError
    assert permits.state()["in_use"] == 0


async def test_an_office_out_of_order_is_told_to_all_who_wait():
    class Closed:
        async def take(self, worker: str, wanted: int, lease: float, wait: float) -> list[int]:
            raise ToolError("the limiter is gone: check the cluster")

        def give_back(self, leases: Sequence[int]) -> None:
            pytest.fail("nothing was taken")

    own = ToolLimiter(Closed(), lease=1.0, longest_wait=5.0)
    outcomes = await asyncio.gather(*(Running().use(own) for _ in range(5)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ToolError] * 5


async def test_without_ray_the_process_counts_for_itself():
    own, running = tool_limiter(3, lease=5.0, longest_wait=5.0), Running()
    await asyncio.gather(*(running.use(own) for _ in range(12)))
    assert running.most == 3


def test_no_permit_at_all_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        Permits(0)
