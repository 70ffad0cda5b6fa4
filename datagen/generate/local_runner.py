"""LocalRunner: candidates side by side in one process, as many as the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from datagen.generate.candidate_store import CandidateStore, checkpoint_file
from datagen.generate.maker import CandidateMaker, open_maker
from datagen.generate.plan import Job
from datagen.generate.policies import PolicyFactory
from datagen.run.folder import Work
from oresearch_graph.errors import OresearchError
from oresearch_graph.graph import Search
from oresearch_graph.trace import Trace


class LocalRunner:
    """This machine: one event loop, one checkpoint file.

    `policies` and `search` stand in for what the settings name.
    """

    def __init__(self, policies: PolicyFactory | None = None, search: Search | None = None) -> None:
        self._policies, self._search = policies, search

    def run(self, jobs: Iterator[Job], store: CandidateStore, work: Work) -> None:
        asyncio.run(self._all(jobs, store, work))

    async def _all(self, jobs: Iterator[Job], store: CandidateStore, work: Work) -> None:
        at_once = work.settings.generate.concurrency
        async with open_maker(
            checkpoint_file(work), work.settings, policies=self._policies, search=self._search
        ) as maker:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(at_once):
                        group.create_task(_run_jobs(jobs, store, maker))
            except BaseExceptionGroup as errors:
                raise _first(errors) from errors


async def _run_jobs(jobs: Iterator[Job], store: CandidateStore, maker: CandidateMaker) -> None:
    while store.may_begin() and (job := next(jobs, None)) is not None:
        await _make(job, store, maker)


async def _make(job: Job, store: CandidateStore, maker: CandidateMaker) -> None:
    store.begin(job.id)
    try:
        result = await maker.attempt(job, partial(store.charge, job.id))
        if isinstance(result, Trace):
            store.finish(job.id, result)
        else:
            store.lose(job.id, result)
    finally:
        store.drop(job.id)
    if isinstance(result, Trace) or store.given_up(job.id):
        await maker.forget(job.id)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the run: an error that a person can act on, where there is one."""
    useful = errors.subgroup(OresearchError) or errors
    error: BaseException = useful
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
