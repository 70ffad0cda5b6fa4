"""The pages that wait for a reader worker, in turn by who asks. Safe across threads.

A client's account is the workers' time that it had. The one that had least comes next; where it
must wait for a page of another's that goes on, that page is stopped and comes again.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from oresearch_graph.tools.reading.extract import Extracted
from oresearch_graph.tools.reading.worker import PageRequest

_TURN: Final = 0.05
"""Seconds that a page may go on while another's client waits; doubled each time it was stopped."""
_SAVED: Final = 1.0
"""Seconds of workers' time that a client has before others when it comes back."""
_REMEMBERED_SECONDS: Final = 60.0


@dataclass(eq=False)
class Client:
    """Who asks: a run's reader, or a corpus."""

    waiting: deque[PendingPage] = field(default_factory=deque)
    seconds: float = 0.0
    """Of workers' time, counted from where it joined the others."""
    reading: int = 0
    seen: float = field(default_factory=monotonic)

    @property
    def active(self) -> bool:
        return bool(self.waiting or self.reading)


@dataclass(eq=False)
class PendingPage:
    """A page to be read."""

    client: Client
    request: PageRequest
    body: bytes
    future: Future[Extracted] = field(default_factory=Future)
    stops: int = 0
    """Times it was stopped for another client."""
    retried: bool = False
    """Its worker was killed once, and not for its sake."""


class PageQueue:
    """Pages by client."""

    def __init__(self) -> None:
        self._clients: dict[object, Client] = {}
        self._turn = threading.Condition()
        self.closed = False

    def put(self, request: PageRequest, body: bytes, client: object) -> PendingPage:
        """A page that `client` wants to be read. Raises RuntimeError once closed."""
        with self._turn:
            if self.closed:
                raise RuntimeError("these readers of pages are closed")
            job = PendingPage(self._joined(client), request, body)
            job.client.waiting.append(job)
            self._turn.notify()
        return job

    def _joined(self, key: object) -> Client:
        """The client's account. One that was away comes before those who were busy meanwhile, but
        not for ever: what it saved up is bounded."""
        client = self._clients.setdefault(key, Client())
        if not client.active:
            busy = [other.seconds for other in self._clients.values() if other.active]
            client.seconds = max(client.seconds, min(busy, default=0.0) - _SAVED)
        return client

    def next(self) -> PendingPage | None:
        """The next page of the client that had least; None once closed. Blocks."""
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

    def ended(self, job: PendingPage, seconds: float, *, again: bool = False) -> None:
        """A worker is done with the page, or was taken from it: then it comes `again`."""
        with self._turn:
            job.client.seconds += seconds
            job.client.reading -= 1
            if again and not job.future.cancelled():
                job.stops += 1
                job.client.waiting.append(job)
                self._turn.notify()

    def wanted_elsewhere(self, job: PendingPage, seconds: float) -> bool:
        """True when a page that was read for so long must make room: nobody waits for it any more,
        or a client waits that had less."""
        if job.future.cancelled():
            return True
        if seconds < _TURN * 2**job.stops:
            return False
        with self._turn:
            client_seconds = job.client.seconds + seconds
            return any(
                other is not job.client and other.waiting and other.seconds + _TURN < client_seconds
                for other in self._clients.values()
            )

    def close(self) -> None:
        """Nothing is read any more: who waits is told so."""
        with self._turn:
            self.closed = True
            for client in self._clients.values():
                for job in client.waiting:
                    job.future.cancel()
            self._turn.notify_all()
