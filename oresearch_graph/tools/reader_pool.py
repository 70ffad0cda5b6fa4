"""The reader workers of this process: strangers' bytes in, their text or a fault out.

Workers start at the first page, are at most as many as leave the machine a core, and end with this
process. A page that passes its limits costs its worker, never a thread or a sibling. Waiting pages
are taken in turn by who asks: where one run's pages are slow, a worker is taken from them for
another's. Safe across threads and event loops.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field, replace
from itertools import islice
from time import monotonic
from typing import Final

from oresearch_graph.tools.extract import Extracted, extract, page_kind
from oresearch_graph.tools.reader_process import (
    GivenUp,
    ReaderHost,
    ReaderProcess,
    ReaderUnavailable,
    WorkerLost,
)
from oresearch_graph.tools.reader_worker import PageLimits, PageRequest

_log = logging.getLogger("oresearch_graph")
_TURN: Final = 0.05
"""Seconds that a page may go on while another's client waits; doubled each time it was stopped."""
_SAVED: Final = 1.0
"""Seconds of workers' time that a client has before others when it comes back."""
_REMEMBERED_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 60.0
"""Between two tries to start a worker where none can be started."""


@dataclass(eq=False)
class _Job:
    client: _Client
    request: PageRequest
    body: bytes
    future: Future[Extracted] = field(default_factory=Future)
    stops: int = 0
    """Times it was stopped for another client."""
    retried: bool = False
    """Its worker was killed once, and not for its sake."""


@dataclass(eq=False)
class _Client:
    """Who asks: a run's reader, or a corpus."""

    waiting: deque[_Job] = field(default_factory=deque)
    seconds: float = 0.0
    """Of workers' time, counted from where it joined the others."""
    reading: int = 0
    seen: float = field(default_factory=monotonic)

    @property
    def active(self) -> bool:
        return bool(self.waiting or self.reading)


class ReaderPool:
    """Reads pages in `workers` processes, each page within `limits`."""

    def __init__(self, workers: int | None = None, limits: PageLimits | None = None) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        self.workers = workers or max(1, (cores or 2) - 1)
        self.limits = limits or PageLimits()
        self.begin()
        _pools.add(self)

    def begin(self) -> None:
        """Be as new: in a forked child the threads are gone, and the workers are the parent's."""
        self._clients: dict[object, _Client] = {}
        self._turn = threading.Condition()
        self._starting = threading.Lock()
        self._threads: list[_Worker] = []
        self._host: ReaderHost | None = None
        self.closed = False
        self.unavailable_until = 0.0

    async def read(
        self, body: bytes, media_type: str, charset: str | None = None, url: str | None = None,
        *, client: object = None,
    ) -> Extracted:  # fmt: skip
        """What the page says. Pages of one `client` are read in their order; several clients share
        the workers. Cancelling gives the page up."""
        has_article = page_kind(body, media_type) == "html"
        request = PageRequest(media_type, charset, url, fast=not has_article, limits=self.limits)
        return await asyncio.wrap_future(self._submit(request, body, client))

    def read_each(
        self, pages: Iterable[tuple[bytes, str]], *, client: object = None
    ) -> Iterator[Extracted]:
        """What documents of a folder say, given as bytes and media type, in order; HTML without
        looking for its article. Blocks."""
        waiting: deque[Future[Extracted]] = deque()
        futures = (
            self._submit(PageRequest(kind, fast=True, limits=self.limits), body, client)
            for body, kind in pages
        )
        try:
            waiting.extend(islice(futures, self.workers + 1))
            while waiting:
                page = waiting[0].result()
                waiting.popleft()
                yield page
                waiting.extend(islice(futures, 1))
        finally:
            for future in waiting:
                future.cancel()

    def _submit(self, request: PageRequest, body: bytes, client: object) -> Future[Extracted]:
        with self._turn:
            if self.closed:
                raise RuntimeError("this pool of readers is closed")
            asking = self._joined(client)
            job = _Job(asking, request, body)
            asking.waiting.append(job)
            if len(self._threads) < self.workers:
                self._threads.append(_Worker(self))
                self._threads[-1].start()
            self._turn.notify()
        return job.future

    def _joined(self, client: object) -> _Client:
        """The client's account. One that was away comes before those who were busy meanwhile, but
        not for ever: what it saved up is bounded."""
        account = self._clients.setdefault(client, _Client())
        if not account.active:
            busy = [other.seconds for other in self._clients.values() if other.active]
            account.seconds = max(account.seconds, min(busy, default=0.0) - _SAVED)
        return account

    def next_job(self) -> _Job | None:
        """The next page of the client that had least; None when the pool is closed. Blocks."""
        with self._turn:
            while not self.closed:
                self._forget_idle()
                asking = [client for client in self._clients.values() if client.waiting]
                if asking:
                    client = min(asking, key=lambda each: each.seconds)
                    client.reading += 1
                    return client.waiting.popleft()
                self._turn.wait()
            return None

    def _forget_idle(self) -> None:
        now = monotonic()
        for key, client in list(self._clients.items()):
            while client.waiting and client.waiting[0].future.cancelled():
                client.waiting.popleft()
            if client.active:
                client.seen = now
            elif now - client.seen > _REMEMBERED_SECONDS:
                del self._clients[key]

    def ended(self, job: _Job, seconds: float, *, again: bool = False) -> None:
        """A worker is done with the page, or was taken from it: then it comes `again`."""
        with self._turn:
            job.client.seconds += seconds
            job.client.reading -= 1
            if again and not job.future.cancelled():
                job.stops += 1
                job.client.waiting.append(job)
                self._turn.notify()

    def wanted_elsewhere(self, job: _Job, seconds: float) -> bool:
        """True when a page that was read for so long must make room: nobody waits for it any more,
        or a client waits that had less."""
        if job.future.cancelled():
            return True
        if seconds < _TURN * 2**job.stops:
            return False
        with self._turn:
            mine = job.client.seconds + seconds
            return any(
                other is not job.client and other.waiting and other.seconds + _TURN < mine
                for other in self._clients.values()
            )

    def host(self) -> ReaderHost:
        """What forks the workers; started when first wanted. Raises ReaderUnavailable."""
        with self._starting:
            if self.closed:
                raise ReaderUnavailable("this pool of readers is closed")
            if self._host is None or not self._host.alive:
                self._end_host()
                self._host = ReaderHost()
            return self._host

    def _end_host(self) -> None:
        if self._host is not None:
            self._host.end()

    def process_ids(self) -> list[int]:
        """Of the workers that run now."""
        return [pid for thread in self._threads if (pid := thread.process_id) is not None]

    def close(self) -> None:
        """End the workers; pages under way are not read."""
        with self._turn:
            self.closed = True
            for client in self._clients.values():
                for job in client.waiting:
                    job.future.cancel()
            self._turn.notify_all()
        for thread in self._threads:
            thread.end()
        self._end_host()


class _Worker(threading.Thread):
    """Feeds one process, and starts another when a page has cost it."""

    def __init__(self, pool: ReaderPool) -> None:
        super().__init__(name="oresearch-reader", daemon=True)
        self._pool = pool
        self._process: ReaderProcess | None = None
        self._began = 0.0

    @property
    def process_id(self) -> int | None:
        process = self._process
        return process.id if process is not None else None

    def run(self) -> None:
        while (job := self._pool.next_job()) is not None:
            self._began = monotonic()
            try:
                page = self._read(job)
            except GivenUp:
                self._pool.ended(job, monotonic() - self._began, again=True)
                continue
            except Exception as error:  # noqa: BLE001 - no page may wait for ever
                _log.exception("a page's reader failed")
                page = Extracted(fault=f"cannot be read ({type(error).__name__})")
            self._pool.ended(job, monotonic() - self._began)
            try:
                job.future.set_result(page)
            except InvalidStateError:
                continue  # cancelled meanwhile
        self.end()

    def _read(self, job: _Job) -> Extracted:
        try:
            process = self._running()
        except ReaderUnavailable as error:
            if self._pool.closed:
                return Extracted(fault=f"was not read: {error}")
            return self._in_this_process(job, str(error))
        began = monotonic()
        try:
            return process.read(
                job.request, job.body, lambda: self._pool.wanted_elsewhere(job, monotonic() - began)
            )
        except WorkerLost as lost:
            if lost.by_others and not job.retried:
                job.retried = True
                return self._read(job)
            if job.request.fast:
                return Extracted(fault=str(lost))
            # The cheap reading of HTML takes a small part of what its article does.
            job.request = replace(job.request, fast=True)
            return self._read(job)

    def _running(self) -> ReaderProcess:
        if self._process is None or not self._process.usable:
            self.end()
            if monotonic() < self._pool.unavailable_until:
                raise ReaderUnavailable("no reader process can be started")
            starting = monotonic()
            self._process = ReaderProcess(self._pool.host())
            self._began += monotonic() - starting  # that is nobody's page
        return self._process

    def _in_this_process(self, job: _Job, cause: str) -> Extracted:
        """The linear reading, where no process can be had: PDF is not read at all."""
        if monotonic() >= self._pool.unavailable_until:
            _log.warning("pages are read in this process, PDF is not read: %s", cause)
        self._pool.unavailable_until = monotonic() + _RETRY_SECONDS
        if page_kind(job.body, job.request.media_type) == "pdf":
            return Extracted(fault=f"is a PDF, which is read in a process of its own: {cause}")
        limits = job.request.limits
        return extract(job.body, job.request.media_type, job.request.charset, fast=True,
                       characters=limits.characters)  # fmt: skip

    def end(self) -> None:
        """End the process; safe from any thread."""
        process, self._process = self._process, None
        if process is not None:
            process.end()


def _end_all() -> None:
    for pool in list(_pools):
        pool.close()


def _begin_all() -> None:
    for pool in list(_pools):
        pool.begin()


_pools: weakref.WeakSet[ReaderPool] = weakref.WeakSet()
atexit.register(_end_all)
os.register_at_fork(after_in_child=_begin_all)

READERS: Final = ReaderPool()
"""The pool that all readers of this process share."""
