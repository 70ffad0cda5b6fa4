"""CandidateMaker: candidates are made here, by the research graph over one checkpoint file;
LocalRunner makes them side by side in one process, and CandidateActor is what a Ray cluster runs.

A candidate's thread in the file has its id. What was killed goes on from its last step; what ended
and was not written is taken from its state.
"""

from __future__ import annotations

import asyncio
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import StateSnapshot

from datagen.generate.candidate_store import CandidateStore, checkpoint_file
from datagen.generate.plan import Job, writing_settings
from datagen.generate.policies import Charge, PolicyFactory, TeacherFault, TeacherPolicies, metered
from datagen.run.folder import Work
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.graph.build import ResearchGraph, Search, create_research_graph
from oresearch_graph.policies.serving import Serving
from oresearch_graph.redaction import brief
from oresearch_graph.trace import Trace, Usage
from oresearch_graph.trace.private_files import create_private

_STEPS: Final = 10_000
"""LangGraph's own bound on super-steps; ours are the settings' limits."""


class CandidateMaker:
    """Makes candidates in one process. Not thread-safe: one event loop owns it."""

    def __init__(
        self, settings: DatagenSettings, saver: AsyncSqliteSaver, teachers: TeacherPolicies,
        search: Search | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._saver = settings, saver
        self._teachers, self._search = teachers, search

    async def place(self, job: Job) -> AbstractAsyncContextManager[None]:
        """Holds the candidate back while its teacher's server has enough to do."""
        recipe = job.candidate.recipe
        return self._teachers.place(recipe, await self._teachers.serving(recipe))

    async def attempt(self, job: Job, charge: Charge) -> Trace | str:
        """The candidate's trace, or why it is lost this time.

        Raises ConfigurationError for what would hit every candidate.
        """
        try:
            return await self.make(job, charge)
        except TeacherFault as fault:
            if fault.hits_all:
                raise
            return str(fault)
        except (ConfigurationError, sqlite3.Error):
            raise
        except Exception as error:  # noqa: BLE001 - a candidate's boundary: lost, with its reason
            return f"{type(error).__name__}: {brief(error)}"

    async def make(self, job: Job, charge: Charge) -> Trace:
        """The candidate's trace, from where an earlier process left it.

        Raises TeacherFault where a teacher's service fails, ConfigurationError for what no
        candidate survives; the checkpoint stays.
        """
        thread = _thread(job.id)
        serving = await self._teachers.serving(job.candidate.recipe)
        graph = self._graph(job, charge, serving)
        state = await graph.aget_state(thread)
        if state.values and state.values.get("question", job.question) != job.question:
            await self.forget(job.id)  # the seed's question was changed since
            state = await graph.aget_state(thread)
        # `next` leaves out a step that has run and whose checkpoint a kill left unwritten.
        begun = bool(state.tasks)
        if not begun and "trace" in state.values:
            return _trace(state.values)
        if begun and (run := state.values.get("run")) is not None and run.serving != serving:
            serving = run.serving  # it goes on as it started
            graph = self._graph(job, charge, serving)
        inputs: Any = None if begun else {"question": job.question}
        values = await graph.ainvoke(
            inputs, thread, context=self._time_anew(job, state, serving) if begun else None,
            durability="sync",
        )  # fmt: skip
        return _trace(values)

    async def forget(self, candidate: str) -> None:
        """Delete a candidate's checkpoints: its trace is written, or is to be made anew."""
        await self._saver.adelete_thread(candidate)

    def _graph(self, job: Job, charge: Charge, serving: Serving) -> ResearchGraph:
        recipe, teachers = job.candidate.recipe, self._teachers
        policies = teachers.policies(recipe, serving)
        policies = metered(policies, teachers.price, charge, recipe.draw)
        return create_research_graph(
            policies,
            search=self._search,
            settings=writing_settings(self._settings, recipe, serving),
            checkpointer=self._saver,
        )

    def _time_anew(self, job: Job, state: StateSnapshot, serving: Serving) -> Any:  # noqa: ANN401
        """A resumed run's clock began when the run did: what lies between is not its fault."""
        settings = writing_settings(self._settings, job.candidate.recipe, serving)
        run = state.values.get("run")
        age = 0.0 if run is None else max(0.0, time.time() - run.started)
        return {
            "max_seconds": settings.limits.seconds + age,
            "subtask_timeout": settings.subtask_timeout + age,
        }


@asynccontextmanager
async def open_maker(
    checkpoints: Path, settings: DatagenSettings, *,
    policies: PolicyFactory | None = None, search: Search | None = None,
) -> AsyncIterator[CandidateMaker]:  # fmt: skip
    """A maker over a checkpoint file. Raises ConfigurationError for a file that fails."""
    teachers = TeacherPolicies(settings, policies)
    teachers.make_all()
    try:
        create_private(checkpoints)
        async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
            # A killed process loses nothing by it, a machine without power its last steps; each
            # step waits for no disk (13 ms a commit were measured, three commits a step).
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
            try:
                yield CandidateMaker(settings, saver, teachers, search)
            finally:
                await teachers.aclose()
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{checkpoints}: the checkpoints of running candidates fail: {error}; free the disk, "
            "or delete the file to begin them anew"
        ) from error


def _thread(candidate: str) -> RunnableConfig:
    return {"configurable": {"thread_id": candidate}, "recursion_limit": _STEPS}


def _trace(values: dict[str, Any]) -> Trace:
    return Trace.model_validate(values["trace"])


class Attempt(NamedTuple):
    """What an actor gives back."""

    trace: Trace | None
    lost: str | None
    stop: str | None
    """What would hit every candidate."""
    usages: tuple[Usage, ...]


class CandidateActor:
    """A maker on some machine of a Ray cluster, with a checkpoint file of its own.

    Every node needs this package installed and the teachers' keys in its environment.
    """

    def __init__(self, settings: DatagenSettings) -> None:
        self._settings, self._lock = settings, asyncio.Lock()
        self._maker: CandidateMaker | None = None
        self._open = AsyncExitStack()

    async def ready(self) -> bool:
        """The actor lives."""
        return True

    async def make(self, job: Job) -> Attempt:
        usages: list[Usage] = []
        try:
            maker = await self._open_maker()
            result = await maker.attempt(job, usages.append)
            await maker.forget(job.id)
        except OresearchError as error:
            return Attempt(None, None, str(error), tuple(usages))
        if isinstance(result, Trace):
            return Attempt(result, None, None, tuple(usages))
        return Attempt(None, result, None, tuple(usages))

    async def close(self) -> None:
        """Leave nothing on the machine."""
        await self._open.aclose()

    async def _open_maker(self) -> CandidateMaker:
        async with self._lock:
            if self._maker is None:
                folder = self._open.enter_context(tempfile.TemporaryDirectory(prefix="datagen-"))
                file = Path(folder) / "candidates.sqlite"
                self._maker = await self._open.enter_async_context(open_maker(file, self._settings))
            return self._maker


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
        async with await maker.place(job):
            if store.may_begin():
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
