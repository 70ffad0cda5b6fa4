"""Checkpoints in a SQLite file that only its owner reads, with all that LangGraph's servers ask of
a saver."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph.graph.checkpoints import record_serializer
from oresearch_graph.trace.private_files import create_private

_TABLES: Final = ("writes", "checkpoints")


class SqliteRunSaver(AsyncSqliteSaver):
    """LangGraph's, with the deletions and copies that a server makes of whole runs and threads."""

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete all checkpoints and writes of these runs, on whatever thread."""
        of_runs = (
            "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints "
            "WHERE json_extract(CAST(metadata AS TEXT), '$.run_id') IN "
            "(SELECT value FROM json_each(?))"
        )
        await self._delete(of_runs, run_ids)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Delete the checkpoints of these threads; with `keep_latest`, all but the last one of each
        namespace. Raises ValueError for another strategy."""
        if strategy not in {"keep_latest", "delete"}:
            raise ValueError(f"there is no strategy {strategy!r}: keep_latest or delete")
        older = (
            " AND checkpoint_id < (SELECT max(checkpoint_id) FROM checkpoints AS last "
            "WHERE last.thread_id = one.thread_id AND last.checkpoint_ns = one.checkpoint_ns)"
        )
        of_threads = (
            "SELECT thread_id, checkpoint_ns, checkpoint_id FROM checkpoints AS one "
            "WHERE thread_id IN (SELECT value FROM json_each(?))"
        )
        await self._delete(of_threads + (older if strategy == "keep_latest" else ""), thread_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all checkpoints and writes of a thread to another."""
        await self.setup()
        async with self.lock, self.conn.cursor() as cursor:
            for table in _TABLES:
                # Releases of LangGraph's saver differ by columns.
                await cursor.execute("SELECT name FROM pragma_table_info(?)", (table,))
                columns = [str(name) for (name,) in await cursor.fetchall()]
                rest = ", ".join(f'"{name}"' for name in columns if name != "thread_id")
                await cursor.execute(
                    f"INSERT OR REPLACE INTO {table} (thread_id, {rest}) "  # noqa: S608 - constants
                    f"SELECT ?, {rest} FROM {table} WHERE thread_id = ?",
                    (target_thread_id, source_thread_id),
                )
            await self.conn.commit()

    async def _delete(self, checkpoints: str, values: Iterable[str]) -> None:
        """Checkpoints that a query names by its one parameter, and their writes."""
        await self.setup()
        names = json.dumps([str(value) for value in values])
        async with self.lock, self.conn.cursor() as cursor:
            for table in _TABLES:
                await cursor.execute(
                    f"DELETE FROM {table} "  # noqa: S608 - constants
                    f"WHERE (thread_id, checkpoint_ns, checkpoint_id) IN ({checkpoints})",
                    (names,),
                )
            await self.conn.commit()


@asynccontextmanager
async def sqlite_saver(file: Path) -> AsyncIterator[SqliteRunSaver]:
    """The saver of a file, which is made where it is missing. Raises OSError."""
    # SQLite's log beside it takes over the mode of the file.
    await asyncio.to_thread(create_private, file)
    async with SqliteRunSaver.from_conn_string(str(file)) as saver:
        assert isinstance(saver, SqliteRunSaver)  # noqa: S101 - LangGraph's annotation is narrower
        saver.serde = record_serializer()
        # A commit then waits for no disk: 40 % less time per step. A crash of the process loses
        # nothing, a crash of the machine perhaps the last step.
        await saver.conn.execute("PRAGMA journal_mode=WAL")
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver
