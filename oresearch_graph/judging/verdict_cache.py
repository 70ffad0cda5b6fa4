"""Verdicts that were given, in one SQLite file that all processes of a run share.

A cache out of order costs money, not truth: its faults are logged and counted, the judge is asked.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import Judged

_log = logging.getLogger("oresearch_graph")

_WAIT: Final = 30.0
"""Seconds to wait for another process that writes."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS verdicts (key TEXT PRIMARY KEY, judged TEXT NOT NULL)"


class VerdictCache:
    """Verdicts by key. Safe across threads and processes; every call blocks on the file.

    SQLite's rollback journal, not its write-ahead log: that one needs shared memory, which
    network folders do not have.
    """

    def __init__(self, path: Path) -> None:
        """Opens or makes the file. Raises ConfigurationError when it cannot be one."""
        self.path = path
        self.faults = 0
        self._lock = threading.Lock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with closing(self._connect()) as file, file:
                file.execute(_TABLE)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(
                f"the verdict cache {path} cannot be used ({error}): correct the path, or delete it"
            ) from error

    def get(self, key: str) -> Judged | None:
        """The verdict of that key, marked as cached; None without one."""
        try:
            with closing(self._connect()) as file:
                row = file.execute("SELECT judged FROM verdicts WHERE key = ?", (key,)).fetchone()
            kept = None if row is None else Judged.model_validate_json(row[0])
        except (sqlite3.Error, ValidationError) as error:
            self._fault(error)
            return None
        return kept and kept.model_copy(update={"cached": True, "seconds": None})

    def keep(self, key: str, judged: Judged) -> Judged:
        """The verdict that stands from now on: of two processes that judged, the first one's."""
        try:
            with closing(self._connect()) as file, file:
                file.execute(
                    "INSERT OR IGNORE INTO verdicts VALUES (?, ?)", (key, judged.model_dump_json())
                )
                row = file.execute("SELECT judged FROM verdicts WHERE key = ?", (key,)).fetchone()
            first = Judged.model_validate_json(row[0])
        except (sqlite3.Error, ValidationError) as error:
            self._fault(error)
            return judged
        return first.model_copy(update={"seconds": judged.seconds})

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self.path, timeout=_WAIT)

    def _fault(self, error: Exception) -> None:
        with self._lock:
            self.faults += 1
        _log.warning("the verdict cache %s failed: %s", self.path, error)
