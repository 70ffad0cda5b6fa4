"""The tools of one rollout: patient with services, limited over all workers, counted.

Each try of a call has its turn and its time, failing services are asked again, slow pages become
observations. Whose fault it is decides which (see the table in rl/rollouts/reward.py). The web's (a
page that hangs, answers 404, is empty) is an observation, and so is the policy's (a query that no
service takes). A service's is tried again, then raised as ToolError: such a rollout is dropped,
never scored. Waiting for a turn counts into no time-out of
a try.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar
from weakref import WeakKeyDictionary

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from oresearch_graph.errors import AddressRefused, ToolError
from oresearch_graph.tools.backend import Hits, Page, PageReader, SearchBackend
from oresearch_graph.tools.choose import Documents
from rl.settings import RLSettings, ToolSettings
from rl.tools.documents import open_documents
from rl.tools.tool_limiter import NoTurn, ToolLimiter, tool_limiter

T = TypeVar("T")
_WAITS: Final = wait_exponential(0.2, max=3.0) + wait_random(0, 0.3)
"""Seconds between tries; `ToolSettings.longest_call` allows five."""
_LEASE_MARGIN: Final = 10.0
"""Seconds that a turn may outlast its try before its permit counts as a dead worker's."""


class Silent(ToolError):
    """A service gave no answer within the time of one try."""


@dataclass
class ToolCounts:
    """What happened to the tool calls of one rollout."""

    searches: int = 0
    """Search calls; one may carry several queries."""
    pages: int = 0
    """Pages asked for."""
    retries: int = 0
    page_faults: int = 0
    """Pages that the web did not give (404, empty, refused), without those that hung."""
    page_timeouts: int = 0
    failed_tries: Counter[str] = field(default_factory=Counter)
    """Tries that a service failed, by the name of the error; Silent is a time-out."""
    given_up: int = 0
    """Searches and pages without an answer after all tries: infrastructure."""

    @property
    def calls(self) -> int:
        """Searches and pages together."""
        return self.searches + self.pages

    @property
    def timeouts(self) -> int:
        """Tries without an answer in time, of services; `page_timeouts` are the web's."""
        return self.failed_tries[Silent.__name__]

    def metrics(self) -> dict[str, float]:
        """The counts by name, the same names for every rollout: failures by class are summed."""
        return {
            "searches": self.searches,
            "pages": self.pages,
            "retries": self.retries,
            "page_faults": self.page_faults,
            "page_timeouts": self.page_timeouts,
            "timeouts": self.timeouts,
            "failed_tries": sum(self.failed_tries.values()),
            "given_up": self.given_up,
        }


class ToolRetries:
    """How often and how long a rollout asks, and where it counts."""

    def __init__(self, settings: ToolSettings, limiter: ToolLimiter, counts: ToolCounts) -> None:
        self.settings, self.counts = settings, counts
        self._limiter = limiter

    async def run(self, once: Callable[[], Awaitable[T]]) -> T:
        """What `once` gives, after at most `tries` tries that each wait for their turn. Raises
        ToolError, or what `once` raises that no retry can mend."""

        async def in_turn() -> T:
            async with self._limiter.turn():
                return await once()

        tries = AsyncRetrying(
            retry=retry_if_exception(_passing),
            stop=stop_after_attempt(self.settings.tries),
            wait=_WAITS,
            after=self._note,
            before_sleep=self._note_retry,
            reraise=True,
        )
        try:
            return await tries(in_turn)
        except Exception as error:
            if not _passing(error):  # tenacity notes only what it would try again
                self.counts.failed_tries[type(error).__name__] += 1
            self.counts.given_up += 1
            raise

    def _note(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self.counts.failed_tries[type(error).__name__] += 1

    def _note_retry(self, _: RetryCallState) -> None:
        self.counts.retries += 1


def _passing(error: BaseException) -> bool:
    return isinstance(error, ToolError) and not isinstance(error, (AddressRefused, NoTurn))


class PatientSearch:
    """A search backend asked with patience. One query that fails alone fails the try: its fault
    would be shown to the policy as if the web had nothing. One that the service refuses is the
    policy's: it is shown."""

    def __init__(self, inner: SearchBackend, retries: ToolRetries) -> None:
        self.name = inner.name
        self._inner, self._retries = inner, retries

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        self._retries.counts.searches += 1
        return await self._retries.run(lambda: self._once(queries, k))

    async def _once(self, queries: Sequence[str], k: int) -> list[Hits]:
        seconds = self._retries.settings.timeout
        try:
            async with asyncio.timeout(seconds):
                results = await self._inner.search(queries, k)
        except TimeoutError as error:
            raise Silent(
                f"search ({self.name}) gave no answer within {seconds:g} s: check the service, or "
                "raise oresearch.tools.timeout"
            ) from error
        for hits in results:
            if hits.fault is not None and not hits.refused:
                raise ToolError(hits.fault)
        return results


class PatientReader:
    """A page reader asked with patience, page by page and side by side."""

    def __init__(self, inner: PageReader, retries: ToolRetries) -> None:
        self.name = inner.name
        self._inner, self._retries = inner, retries

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        reading = [asyncio.create_task(self._page(url, focus)) for url in urls]
        try:
            return list(await asyncio.gather(*reading))
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _page(self, url: str, focus: str) -> Page:
        counts = self._retries.counts
        counts.pages += 1
        page = await self._retries.run(lambda: self._once(url, focus))
        if page is None:
            counts.page_timeouts += 1
            seconds = self._retries.settings.page_timeout
            return Page(url=url, fault=f"gave no answer within {seconds:g} s")
        counts.page_faults += page.fault is not None
        return page

    async def _once(self, url: str, focus: str) -> Page | None:
        """The page; None when it hung."""
        settings = self._retries.settings
        try:
            async with asyncio.timeout(settings.page_timeout) as time:
                [page] = await self._inner.read([url], focus)
        except TimeoutError as error:
            if time.expired():
                return None
            raise Silent(
                f"the page reader ({self.name}) timed out: check the service, or raise "
                "oresearch.tools.timeout"
            ) from error
        return page


@dataclass(frozen=True)
class TrainingTools:
    """One rollout's documents, and what happened to its calls."""

    search: SearchBackend
    reader: PageReader
    counts: ToolCounts


def training_tools(settings: RLSettings, documents: Documents | None = None) -> TrainingTools:
    """The tools of one rollout over the process' documents, or over `documents` where given.

    The first call in a process opens the documents and may index a folder or start a service:
    await it in a thread, `open_documents` before that. Later ones are cheap. A process' event
    loop has one limiter. Raises ConfigurationError.
    """
    search, reader = documents or open_documents(settings)
    counts = ToolCounts()
    retries = ToolRetries(settings.tools, _limiter(settings.tools), counts)
    return TrainingTools(PatientSearch(search, retries), PatientReader(reader, retries), counts)


_limiters: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[float, ...], ToolLimiter]] = (
    WeakKeyDictionary()
)


def _limiter(tools: ToolSettings) -> ToolLimiter:
    lease = max(tools.timeout, tools.page_timeout) + _LEASE_MARGIN
    of_loop = _limiters.setdefault(asyncio.get_running_loop(), {})
    key = (tools.concurrency, lease, tools.turn_timeout)
    if key not in of_loop:
        of_loop[key] = tool_limiter(tools.concurrency, lease=lease, longest_wait=tools.turn_timeout)
    return of_loop[key]


class Redirected:
    """A search backend that looks for `instead`, whatever is asked: the control arm in which
    observations are shuffled between questions. Hits come under the query that was asked."""

    def __init__(self, search: SearchBackend, instead: str) -> None:
        self.name = search.name
        self._search, self._instead = search, instead

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        [hits] = await self._search.search([self._instead], k)
        return [hits.model_copy(update={"query": query}) for query in queries]


def shuffled(tools: TrainingTools, question: str) -> TrainingTools:
    """The same tools, except that every search is for another rollout's `question`."""
    return replace(tools, search=Redirected(tools.search, question))
