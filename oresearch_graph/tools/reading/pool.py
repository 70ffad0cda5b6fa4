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
from dataclasses import replace
from itertools import islice
from time import monotonic
from typing import Final

from oresearch_graph.tools.reading.extract import Extracted, extract, page_kind
from oresearch_graph.tools.reading.page_queue import PageQueue, PendingPage
from oresearch_graph.tools.reading.process import (
    GivenUp,
    ReaderHost,
    ReaderProcess,
    ReaderUnavailable,
    WorkerLost,
)
from oresearch_graph.tools.reading.worker import PageLimits, PageRequest

_log = logging.getLogger("oresearch_graph")
_RETRY_SECONDS: Final = 60.0
"""Between two tries to start a worker where none can be started."""


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
        self.queue = PageQueue()
        self._growing, self._starting = threading.Lock(), threading.Lock()
        self._threads: list[_Worker] = []
        self._host: ReaderHost | None = None
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
        job = self.queue.put(request, body, client)
        with self._growing:
            if len(self._threads) < self.workers:
                self._threads.append(_Worker(self))
                self._threads[-1].start()
        return job.future

    def host(self) -> ReaderHost:
        """What forks the workers; started when first wanted. Raises ReaderUnavailable."""
        with self._starting:
            if self.queue.closed:
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
        self.queue.close()
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
        while (job := self._pool.queue.next()) is not None:
            self._began = monotonic()
            try:
                page = self._read(job)
            except GivenUp:
                self._pool.queue.ended(job, monotonic() - self._began, again=True)
                continue
            except Exception as error:  # noqa: BLE001 - no page may wait for ever
                _log.exception("a page's reader failed")
                page = Extracted(fault=f"cannot be read ({type(error).__name__})")
            self._pool.queue.ended(job, monotonic() - self._began)
            try:
                job.future.set_result(page)
            except InvalidStateError:
                continue  # cancelled meanwhile
        self.end()

    def _read(self, job: PendingPage) -> Extracted:
        try:
            process = self._running()
        except ReaderUnavailable as error:
            if self._pool.queue.closed:
                return Extracted(fault=f"was not read: {error}")
            return self._in_this_process(job, str(error))
        began = monotonic()
        try:
            return process.read(
                job.request,
                job.body,
                lambda: self._pool.queue.wanted_elsewhere(job, monotonic() - began),
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

    def _in_this_process(self, job: PendingPage, cause: str) -> Extracted:
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
