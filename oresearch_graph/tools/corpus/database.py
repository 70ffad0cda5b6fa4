"""The SQLite file of an index: made, opened and kept open for whoever asks next.

Any thread and any number of processes may use one file; writers queue. Opening costs as much as a
search, so a connection is kept for the next, with the pages that it has read.
"""

from __future__ import annotations

import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from oresearch_graph.errors import ToolError
from oresearch_graph.trace.private_files import create_private

_WAIT_SECONDS: Final = 60.0
"""For another connection's transaction."""
_MOST_IDLE: Final = (os.cpu_count() or 1) + 4
"""Connections, as many as asyncio has threads; each holds up to 2 MB of pages."""
_LOG_BYTES: Final = 4_000_000
"""Of the write-ahead log once it was written back: it stays as long as a connection does."""


class _Handle(NamedTuple):
    """An open connection, with the device and inode of its file."""

    connection: sqlite3.Connection
    identity: tuple[int, int]


class Database:
    """A file of one schema; one of another version, or a damaged one, is deleted."""

    def __init__(self, file: Path, schema: str, version: int) -> None:
        """`schema`: statements that each end with a semicolon."""
        self.file, self._schema, self._version = file, schema, version
        self._idle: list[_Handle] = []
        weakref.finalize(self, _close, self._idle)
        _databases.add(self)

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """A connection whose block is one transaction. Raises ToolError where the file cannot be
        used."""
        try:
            handle = self._connection()
        except (sqlite3.OperationalError, OSError) as error:
            raise self._unusable(error) from error
        except sqlite3.DatabaseError:  # no index file, or a damaged one
            self.delete()
            handle = self._open()
        try:
            with handle.connection:
                yield handle.connection
        except BaseException as error:
            handle.connection.close()
            if isinstance(error, sqlite3.Error):
                raise self._unusable(error) from error
            raise
        if len(self._idle) < _MOST_IDLE:
            self._idle.append(handle)
        else:
            handle.connection.close()

    def close(self) -> None:
        """Close the connections that nobody uses."""
        _close(self._idle)

    def delete(self) -> None:
        self.close()
        for suffix in ("-wal", "-shm", ""):
            Path(f"{self.file}{suffix}").unlink(missing_ok=True)

    def _unusable(self, error: Exception) -> ToolError:
        return ToolError(
            f"the corpus index {self.file} cannot be used ({error}): delete it, or set "
            "ORESEARCH_HOME to a folder that can be written"
        )

    def _connection(self) -> _Handle:
        try:
            handle = self._idle.pop()
        except IndexError:
            return self._open()
        try:
            same = handle.identity == self._identity()
            if same and _version_of(handle.connection) == self._version:
                return handle
        except FileNotFoundError:
            pass
        except (OSError, sqlite3.Error):
            handle.connection.close()
            raise
        handle.connection.close()
        self.close()  # they are as old
        return self._open()

    def _open(self) -> _Handle:
        handle = self._connect()
        try:
            if _version_of(handle.connection) not in (0, self._version):
                handle.connection.close()
                self.delete()
                handle = self._connect()
            self._prepare(handle.connection)
        except sqlite3.Error:
            handle.connection.close()
            raise
        return handle

    def _connect(self) -> _Handle:
        create_private(self.file)
        identity = self._identity()
        # One thread at a time has it, though not always the same.
        connection = sqlite3.connect(self.file, timeout=_WAIT_SECONDS, check_same_thread=False)
        return _Handle(connection, identity)

    def _identity(self) -> tuple[int, int]:
        """Of the file at this place."""
        status = self.file.stat()
        return status.st_dev, status.st_ino

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
        if _version_of(connection) == self._version:
            return
        # Of two connections that turn this on at once SQLite refuses one without waiting.
        Retrying(
            retry=retry_if_exception(_is_busy),
            wait=wait_random(0.01, 0.1),
            stop=stop_after_delay(_WAIT_SECONDS),
            reraise=True,
        )(connection.execute, "PRAGMA journal_mode = WAL")
        connection.execute("BEGIN IMMEDIATE")
        if _version_of(connection) == 0:
            for statement in filter(str.strip, self._schema.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {self._version}")
        connection.commit()


def _version_of(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _is_busy(error: BaseException) -> bool:
    # The low byte is the kind; the rest tells who is busy with what.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY


def _close(idle: list[_Handle]) -> None:
    with suppress(IndexError):  # another thread may take the last
        while True:
            idle.pop().connection.close()


_databases: Final = weakref.WeakSet[Database]()


def _close_idle() -> None:
    for database in list(_databases):
        database.close()


# A connection outlasts no fork: a child may not even close it (sqlite.org/howtocorrupt, 2.6).
os.register_at_fork(before=_close_idle)
