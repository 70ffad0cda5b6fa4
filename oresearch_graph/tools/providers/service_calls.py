"""How the search services behind tools are called: a few tries with back-off, then one line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

import httpx
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from oresearch_graph.errors import RequestRefused, ToolError
from oresearch_graph.network.causes import cause_of
from oresearch_graph.redaction import brief
from oresearch_graph.tools.backend import Hits

T = TypeVar("T")
TRIES: Final = 3
REFUSALS: Final = frozenset((400, 413, 414, 422, 431))
"""Statuses of a service that does not take this very request: ill-formed or too long."""
LONGEST_QUERY: Final = 400
"""Characters; Tavily refuses more, and so do engines behind SearXNG."""
LONGEST_WAIT: Final = 10.0
"""Seconds between two tries, whatever Retry-After says: the call's time-out is near."""

_waits = wait_exponential(0.5, max=4.0) + wait_random(0, 0.5)


class Busy(Exception):
    """The service asks to be called later; `after` in seconds when it says when."""

    def __init__(self, message: str, after: float | None = None) -> None:
        self.after = after
        super().__init__(message)


def service_error(service: str, error: BaseException, fix: str) -> ToolError:
    """The error of a service that failed: the innermost cause and its own fix, where it has one."""
    cause = cause_of(error)
    status = getattr(getattr(error, "response", None), "status_code", None)
    words = f"HTTP status {status}" if status else brief(error) or type(error).__name__
    words = cause.words if cause else words
    return ToolError(f"{service} failed ({words}): {cause.fix or fix if cause else fix}")


def _passing(error: BaseException) -> bool:
    if not isinstance(error, (Busy, httpx.TransportError)):
        return False
    cause = cause_of(error)
    return cause is None or not cause.lasting


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after = error.after if isinstance(error, Busy) else None
    return min(after, LONGEST_WAIT) if after is not None else _waits(state)


async def with_retries(call: Callable[[], Awaitable[T]]) -> T:
    """What `call` gives, after at most three tries while the service is busy or unreachable."""

    async def once() -> T:  # tenacity awaits coroutine functions only, not lambdas
        return await call()

    tries = AsyncRetrying(
        retry=retry_if_exception(_passing),
        stop=stop_after_attempt(TRIES),
        wait=_wait,
        reraise=True,
    )
    return await tries(once)


def retry_after(response: httpx.Response) -> float | None:
    """Seconds of a Retry-After header; None without one, or with a date."""
    stated = response.headers.get("retry-after", "")
    return float(stated) if stated.isdigit() else None


async def each_query(
    queries: Sequence[str], one: Callable[[str], Awaitable[Hits]], concurrency: int = 4
) -> list[Hits]:
    """`one` for every query, a few at a time. A query that fails alone has its fault, and so has
    each that the service does not take; when all others fail, the service is unavailable and the
    first ToolError is raised."""
    slots = asyncio.Semaphore(concurrency)

    async def guarded(query: str) -> Hits | ToolError:
        async with slots:
            try:
                return await one(query)
            except RequestRefused as error:
                return Hits(query=query, fault=str(error), refused=True)
            except ToolError as error:
                return error

    answers = await asyncio.gather(*(guarded(query) for query in queries))
    errors = [answer for answer in answers if isinstance(answer, ToolError)]
    taken = [answer for answer in answers if isinstance(answer, Hits) and not answer.refused]
    if errors and not taken:
        raise errors[0]
    return [
        answer if isinstance(answer, Hits) else Hits(query=query, fault=str(answer))
        for query, answer in zip(queries, answers, strict=True)
    ]
