"""The limiter's promises: never more than allowed, halved once per congestion, nobody is lost."""

import asyncio
import gc
import threading
import time
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import FakeListChatModel
from langchain_openai import ChatOpenAI

from oresearch_graph.policies.chat.limiter import _SHARED, AdaptiveLimiter


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


MODEL: Final = {"model": "fake", "base_url": "http://127.0.0.1:9/v1"}


def limiter_of(limit: int, key: str = "one", **options: Any) -> AdaptiveLimiter:
    return AdaptiveLimiter.of(ChatOpenAI(**{**MODEL, "api_key": key, **options}), limit)


async def test_a_server_and_a_key_have_one_limit_however_many_share_it() -> None:
    limiters, running = [limiter_of(2) for _ in range(6)], [0, 0]
    await asyncio.gather(*(_use(limiters[i % 6], running) for i in range(24)))
    assert running == [0, 2]
    async with limiters[0].slot() as slot:
        slot.congested(0.0)
    assert [limiter.concurrency for limiter in limiters] == [1] * 6


@pytest.mark.parametrize("other", [{"key": "two"}, {"base_url": "http://127.0.0.1:8/v1"}], ids=str)
async def test_another_key_or_server_has_a_limit_of_its_own(other: dict[str, Any]) -> None:
    one, two = limiter_of(1), limiter_of(3, **other)
    async with one.slot() as slot:
        slot.congested(0.0)
        await asyncio.wait_for(_use(two, [0, 0]), 1)
    assert (one.concurrency, two.concurrency) == (1, 3)


async def test_the_lowest_limit_holds_as_long_as_somebody_has_it() -> None:
    high = limiter_of(4)
    low = limiter_of(1)
    assert high.concurrency == 1
    del low
    gc.collect()
    assert high.concurrency == 4


async def test_models_that_name_no_server_share_nothing() -> None:
    one, two = (AdaptiveLimiter.of(FakeListChatModel(responses=["a"]), 1) for _ in range(2))
    async with one.slot():
        await asyncio.wait_for(_use(two, [0, 0]), 1)


def test_no_key_stands_in_what_limiters_are_known_by() -> None:
    limiter = limiter_of(1, "sk-very-secret")
    assert limiter.concurrency == 1
    assert not any("secret" in name for name in dict(_SHARED))
