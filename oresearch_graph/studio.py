"""What `langgraph dev` serves: the graph with nothing fixed, and a checkpointer that lasts.

Settings come from `ORESEARCH_*` variables, and what a client may choose from each run's context,
which Studio shows as a form. Every step of every researcher is on disk before the next one begins.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oresearch_graph.environment import resolve_settings
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.graph.sqlite_saver import SqliteRunSaver, sqlite_saver
from oresearch_graph.served.client_settings import client_settings

_server = resolve_settings()
_models = os.environ.get("ORESEARCH_ALLOWED_MODELS", "").split(",")
graph = create_research_graph(settings=_server)
graph.context_schema = client_settings(
    _server, [name for each in _models if (name := each.strip())]
)


@asynccontextmanager
async def create_checkpointer() -> AsyncIterator[SqliteRunSaver]:
    """SQLite in the folder `ORESEARCH_HOME`, else `.oresearch` below the working one."""
    home = Path(os.environ.get("ORESEARCH_HOME") or ".oresearch")
    async with sqlite_saver(home / "studio.sqlite") as saver:
        yield saver
