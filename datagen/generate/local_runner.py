"""LocalRunner: candidates side by side in one process, as many as the settings say."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial

from datagen.generate.book import Book
from datagen.generate.faculty import PolicyFactory
from datagen.generate.plan import Job
from datagen.generate.runner import checkpoint_file
from datagen.generate.workshop import Workshop, open_workshop
from datagen.run.work import Work
from oresearch_graph.errors import OresearchError
from oresearch_graph.graph.build import Search
from oresearch_graph.trace import Trace


class LocalRunner:
    """This machine: one event loop, one checkpoint file.

    `policies` and `search` stand in for what the settings name.
    """

    def __init__(self, policies: PolicyFactory | None = None, search: Search | None = None) -> None:
        self._policies, self._search = policies, search

    def run(self, jobs: Iterator[Job], book: Book, work: Work) -> None:
        asyncio.run(self._all(jobs, book, work))

    async def _all(self, jobs: Iterator[Job], book: Book, work: Work) -> None:
        at_once = work.settings.generate.concurrency
        async with open_workshop(
            checkpoint_file(work), work.settings, policies=self._policies, search=self._search
        ) as shop:
            try:
                async with asyncio.TaskGroup() as group:
                    for _ in range(at_once):
                        group.create_task(_work_off(jobs, book, shop))
            except BaseExceptionGroup as errors:
                raise _first(errors) from errors


async def _work_off(jobs: Iterator[Job], book: Book, shop: Workshop) -> None:
    while book.may_begin() and (job := next(jobs, None)) is not None:
        await _make(job, book, shop)


async def _make(job: Job, book: Book, shop: Workshop) -> None:
    book.begin(job.id)
    try:
        made = await shop.attempt(job, partial(book.charge, job.id))
        if isinstance(made, Trace):
            book.finish(job.id, made)
        else:
            book.lose(job.id, made)
    finally:
        book.drop(job.id)
    if isinstance(made, Trace) or book.given_up(job.id):
        await shop.forget(job.id)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What ended the run: an error that a person can act on, where there is one."""
    told = errors.subgroup(OresearchError) or errors
    error: BaseException = told
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
