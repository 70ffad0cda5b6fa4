"""RayRunner: the same candidates on an existing Ray cluster, an actor for each CPU.

Actors make candidates, this process alone writes them down. What a lost worker had in hand is made
anew by another; nothing is handed out twice at one time, so nothing is written twice.

Not covered: a killed driver. Finished candidates stand; those in hand are made anew.
"""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from datagen.generate.candidate_store import CandidateStore, Runner
from datagen.generate.maker import Attempt, CandidateActor
from datagen.generate.plan import Job
from datagen.run.folder import Work
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError, PolicyError

SILENCE_LIMIT: Final = 300.0
"""Seconds without any worker that answers, after which the stage gives up: a node takes minutes to
come back, a person does not wait for an hour."""
_LOOK: Final = 1.0
"""Seconds between two looks at the limits while nothing ends."""


def runner_on_ray(address: str) -> Runner:
    """A runner on the cluster at this address: `auto`, `host:port` or `ray://…`."""
    return RayRunner(address)


class RayRunner:
    """See the module."""

    def __init__(self, address: str) -> None:
        self._address = address

    def run(self, jobs: Iterator[Job], store: CandidateStore, work: Work) -> None:
        ray, joined = _join(self._address)
        pool = WorkerPool(ray, jobs, store, work.settings)
        try:
            pool.run()
        finally:
            pool.shut_down()
            if joined:
                ray.shutdown()


def _join(address: str) -> tuple[Any, bool]:
    """Ray, connected to the cluster; and whether that was done here."""
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError("--ray needs Ray: pip install ray") from error
    if ray.is_initialized():
        return ray, False
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ConfigurationError(
            f"--ray {address}: there is no cluster: {' '.join(str(error).split())}"
        ) from error
    return ray, True


def _reach(address: str) -> None:
    """Raise OSError where nobody listens: Ray itself tries for minutes."""
    host, colon, port = address.rpartition("//")[2].rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=10).close()


@dataclass
class _Worker:
    actor: Any
    ready: bool = False
    running: set[Any] = field(default_factory=set)


class WorkerPool:
    """The actors, and who has which candidate in hand."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - the module
        jobs: Iterator[Job],
        store: CandidateStore,
        settings: DatagenSettings,
    ) -> None:
        self._ray, self._jobs, self._store, self._settings = ray, jobs, store, settings
        self._again: list[Job] = []
        self._crashes: Counter[str] = Counter()
        at_once = settings.generate.concurrency
        size = max(1, min(at_once, int(ray.cluster_resources().get("CPU", 1))))
        self._each = -(-at_once // size)
        actor = ray.remote(
            num_cpus=1, max_restarts=-1, max_task_retries=0, max_concurrency=self._each + 1
        )(CandidateActor)
        self._workers = [_Worker(actor.remote(settings)) for _ in range(size)]
        self._pings = {worker.actor.ready.remote(): worker for worker in self._workers}
        self._running: dict[Any, tuple[Job, _Worker]] = {}
        self._last_answer = time.monotonic()

    def run(self) -> None:
        """Until no candidate is left, or none may begin and those in hand are done."""
        while True:
            self._hand_out()
            if not self._running and not self._lacks_workers():
                return
            refs = [*self._running, *self._pings]
            ended, _ = self._ray.wait(refs, num_returns=1, timeout=_LOOK)
            for ref in ended:
                self._last_answer = time.monotonic()
                self._collect(ref)
            if not any(worker.ready for worker in self._workers):
                self._require_answer()

    def shut_down(self) -> None:
        """End the actors: those that answer clear up first."""
        with suppress(self._ray.exceptions.RayError):
            closing = [worker.actor.close.remote() for worker in self._workers if worker.ready]
            if closing:
                self._ray.wait(closing, num_returns=len(closing), timeout=5.0)
        for worker in self._workers:
            self._ray.kill(worker.actor)

    def _lacks_workers(self) -> bool:
        """There is work, and nobody to do it yet."""
        if any(worker.ready for worker in self._workers) or not self._store.may_begin():
            return False
        if not self._again and (job := next(self._jobs, None)) is not None:
            self._again.append(job)
        return bool(self._again)

    def _require_answer(self) -> None:
        if time.monotonic() - self._last_answer > SILENCE_LIMIT:
            raise PolicyError(
                f"no worker of the Ray cluster has answered for {SILENCE_LIMIT:.0f} s: look at "
                "`ray status`, then run again"
            )

    def _hand_out(self) -> None:
        while len(self._running) < self._settings.generate.concurrency:
            free = [w for w in self._workers if w.ready and len(w.running) < self._each]
            if not free or not self._store.may_begin():
                return
            job = self._again.pop() if self._again else next(self._jobs, None)
            if job is None:
                return
            worker = min(free, key=lambda each: len(each.running))
            self._store.begin(job.id)
            ref = worker.actor.make.remote(job)
            worker.running.add(ref)
            self._running[ref] = (job, worker)

    def _collect(self, ref: Any) -> None:  # noqa: ANN401 - ray's reference
        if ref in self._pings:
            self._mark_ready(self._pings.pop(ref), ref)
            return
        job, worker = self._running.pop(ref)
        worker.running.discard(ref)
        try:
            result: Attempt = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._retry(job, worker, error)
            return
        self._record(job, result)

    def _mark_ready(self, worker: _Worker, ref: Any) -> None:  # noqa: ANN401
        """A worker answers, or is asked again: Ray starts it anew where there is room."""
        try:
            worker.ready = self._ray.get(ref)
        except self._ray.exceptions.RayError:
            time.sleep(0.1)
            self._pings[worker.actor.ready.remote()] = worker

    def _retry(self, job: Job, worker: _Worker, error: Exception) -> None:
        """The worker is gone: another makes its candidate anew, unless it is one that kills."""
        if worker.ready:
            worker.ready = False
            self._pings[worker.actor.ready.remote()] = worker
        self._crashes[job.id] += 1
        if self._crashes[job.id] >= self._settings.generate.tries:
            reason = f"its worker died {self._crashes[job.id]} times: {type(error).__name__}"
            self._store.lose(job.id, reason)
        else:
            self._store.drop(job.id)
            self._again.append(job)

    def _record(self, job: Job, result: Attempt) -> None:
        for usage in result.usages:
            self._store.charge(job.id, usage)
        if result.stop is not None:
            raise ConfigurationError(result.stop)
        if result.trace is not None:
            self._store.finish(job.id, result.trace)
        else:
            self._store.lose(job.id, result.lost or "no reason given")
