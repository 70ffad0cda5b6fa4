"""The limiter's promises: never more than allowed, halved once per congestion, nobody is lost."""

import asyncio
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oresearch_graph.policies.chat.limiter import AdaptiveLimiter


async def _use(limiter: AdaptiveLimiter, running: list[int], seconds: float = 0.005) -> None:
    async with limiter.slot():
        running[0] += 1
        running[1] = max(running)
        await asyncio.sleep(seconds)
        running[0] -= 1


async def test_never_more_than_the_limit_and_everybody_gets_in() -> None:
    limiter, running = AdaptiveLimiter(3), [0, 0]
    await asyncio.gather(*(_use(limiter, running) for _ in range(20)))
    assert running == [0, 3]


async def test_one_congestion_halves_once_however_many_hear_of_it() -> None:
    limiter = AdaptiveLimiter(8)
    async with limiter.slot() as one, limiter.slot() as two, limiter.slot() as three:
        for slot in (one, two, three):
            slot.congested(0.0)
    assert limiter.concurrency == 4
    async with limiter.slot() as later:
        later.congested(0.0)
    assert limiter.concurrency == 2


async def test_success_raises_it_slowly_to_the_limit_and_no_further() -> None:
    limiter = AdaptiveLimiter(4)
    async with limiter.slot() as slot:
        slot.congested(0.0)
    assert limiter.concurrency == 2
    grown = []
    for _ in range(20):
        async with limiter.slot() as slot:
            slot.succeeded()
        grown.append(limiter.concurrency)
    assert grown[0] == 2
    assert grown[-1] == 4


async def test_a_pause_holds_those_who_wait_and_those_who_come() -> None:
    limiter, running = AdaptiveLimiter(2), [0, 0]
    begin = time.monotonic()
    async with limiter.slot() as slot:
        slot.congested(0.15)
    await asyncio.gather(*(_use(limiter, running) for _ in range(4)))
    assert time.monotonic() - begin >= 0.15
    assert running[1] == 1, "halved: one at a time"


async def test_a_cancelled_waiter_leaves_its_place_to_the_next() -> None:
    limiter, running = AdaptiveLimiter(1), [0, 0]
    async with limiter.slot():
        lost = [asyncio.create_task(_use(limiter, running)) for _ in range(3)]
        kept = asyncio.create_task(_use(limiter, running))
        await asyncio.sleep(0)
        for task in lost:
            task.cancel()
    await asyncio.wait_for(kept, 1)
    assert running[0] == 0


def test_two_loops_share_one_limiter() -> None:
    limiter, running = AdaptiveLimiter(1), [0, 0]

    def work() -> None:
        async def main() -> None:
            await asyncio.wait_for(
                asyncio.gather(*(_use(limiter, running, 0.001) for _ in range(10))), 5
            )

        asyncio.run(main())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(6)
    assert running == [0, 1]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 16), st.lists(st.booleans(), max_size=60))
def test_concurrency_stays_between_one_and_the_limit(limit: int, luck: list[bool]) -> None:
    async def main() -> None:
        limiter = AdaptiveLimiter(limit)
        for good in luck:
            async with limiter.slot() as slot:
                if good:
                    slot.succeeded()
                else:
                    slot.congested(0.0)
            assert 1 <= limiter.concurrency <= limit

    asyncio.run(main())


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        AdaptiveLimiter(0)
