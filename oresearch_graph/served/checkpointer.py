"""Checkpoints of `langgraph dev`, which last: every step of every researcher is on disk before the
next one begins. A deployed server has its own, in PostgreSQL."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from oresearch_graph.graph.sqlite_saver import SqliteRunSaver, sqlite_saver


@asynccontextmanager
async def create_checkpointer() -> AsyncIterator[SqliteRunSaver]:
    """SQLite in the folder `ORESEARCH_HOME`, else `.oresearch` below the working one."""
    home = Path(os.environ.get("ORESEARCH_HOME") or ".oresearch")
    async with sqlite_saver(home / "studio.sqlite") as saver:
        yield saver
