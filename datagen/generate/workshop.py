"""Workshop: candidates are made here, by the research graph over one checkpoint file.

A candidate's thread in the file has its id. What was killed goes on from its last step; what ended
and was not written is taken from its state.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import StateSnapshot

from datagen.generate.faculty import Faculty, PolicyFactory
from datagen.generate.metering import Charge, TeacherFault, metered
from datagen.generate.plan import Job
from datagen.generate.teachers import writing_settings
from datagen.settings import DatagenSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.build import ResearchGraph, Search, create_research_graph
from oresearch_graph.redaction import brief
from oresearch_graph.trace import Trace
from oresearch_graph.trace.private_files import create_private

_STEPS: Final = 10_000
"""LangGraph's own bound on super-steps; ours are the settings' limits."""


class Workshop:
    """Makes candidates in one process. Not thread-safe: one event loop owns it."""

    def __init__(
        self, settings: DatagenSettings, saver: AsyncSqliteSaver, faculty: Faculty,
        search: Search | None = None,
    ) -> None:  # fmt: skip
        self._settings, self._saver, self._faculty, self._search = settings, saver, faculty, search

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
        graph, thread = self._graph(job, charge), _thread(job.id)
        state = await graph.aget_state(thread)
        if state.values and state.values.get("question", job.question) != job.question:
            await self.forget(job.id)  # the seed's question was changed since
            state = await graph.aget_state(thread)
        if not state.next and "trace" in state.values:
            return _trace(state.values)
        begun = bool(state.next)
        given: Any = None if begun else {"question": job.question}
        done = await graph.ainvoke(
            given, thread, context=self._time_anew(job, state) if begun else None,
            durability="sync",
        )  # fmt: skip
        return _trace(done)

    async def forget(self, candidate: str) -> None:
        """Delete a candidate's checkpoints: its trace is written, or is to be made anew."""
        await self._saver.adelete_thread(candidate)

    def _graph(self, job: Job, charge: Charge) -> ResearchGraph:
        recipe = job.candidate.recipe
        policies = metered(self._faculty.policies(recipe), self._faculty.price, charge, recipe.draw)
        return create_research_graph(
            policies,
            search=self._search,
            settings=writing_settings(self._settings, recipe),
            checkpointer=self._saver,
        )

    def _time_anew(self, job: Job, state: StateSnapshot) -> Any:  # noqa: ANN401
        """A resumed run's clock began when the run did: what lies between is not its fault."""
        settings = writing_settings(self._settings, job.candidate.recipe)
        run = state.values.get("run")
        age = 0.0 if run is None else max(0.0, time.time() - run.started)
        return {
            "max_seconds": settings.limits.seconds + age,
            "subtask_timeout": settings.subtask_timeout + age,
        }


@asynccontextmanager
async def open_workshop(
    checkpoints: Path, settings: DatagenSettings, *,
    policies: PolicyFactory | None = None, search: Search | None = None,
) -> AsyncIterator[Workshop]:  # fmt: skip
    """A workshop over a checkpoint file. Raises ConfigurationError for a file that fails."""
    faculty = Faculty(settings, policies)
    faculty.assemble()
    try:
        create_private(checkpoints)
        async with AsyncSqliteSaver.from_conn_string(str(checkpoints)) as saver:
            # A killed process loses nothing by it, a machine without power its last steps; each
            # step waits for no disk (13 ms a commit were measured, three commits a step).
            await saver.conn.execute("PRAGMA synchronous=NORMAL")
            try:
                yield Workshop(settings, saver, faculty, search)
            finally:
                await faculty.aclose()
    except sqlite3.Error as error:
        raise ConfigurationError(
            f"{checkpoints}: the checkpoints of running candidates fail: {error}; free the disk, "
            "or delete the file to begin them anew"
        ) from error


def _thread(candidate: str) -> RunnableConfig:
    return {"configurable": {"thread_id": candidate}, "recursion_limit": _STEPS}


def _trace(values: dict[str, Any]) -> Trace:
    return Trace.model_validate(values["trace"])
