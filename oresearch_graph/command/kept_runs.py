"""Runs that are kept: a folder for each in the user's data folder, with its checkpoints, its trace
and what it was asked. Only their owner reads them."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal

from filelock import FileLock, Timeout
from platformdirs import user_data_path
from pydantic import Field, ValidationError, model_validator

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.redaction import brief
from oresearch_graph.trace import Outcome, Trace, TraceWriter
from oresearch_graph.trace.private_files import private_folder, write_private
from oresearch_graph.trace.validation import FrozenModel
from oresearch_graph.view.report_record import RunCost

State = Literal["at work", "interrupted", "stopped", Outcome]
"""`interrupted`: its process ended without a word; `stopped`: a person, a signal or a fault ended
it."""
_RECORD: Final = "run.json"
_ID: Final = re.compile(r"[0-9]{8}-[0-9a-f]{6}")
_AGE: Final = re.compile(r"(\d{1,4})\s*([hdw])")
_PATIENCE: Final = 1.0
"""Seconds."""
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


class RunRecord(FrozenModel):
    """What is known of a run without opening its checkpoints."""

    id: str
    questions: tuple[str, ...]
    """The first one, then what was asked after it."""
    created: datetime
    updated: datetime
    ended: Literal["stopped", Outcome] | None = None
    """None: it is at work, or its process was killed."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """As JSON, without what holds a key."""
    withheld: tuple[str, ...] = ()
    """Names of settings that hold one: they are read again."""
    spent: str = ""
    """In words."""
    reports: tuple[str, ...] = ()
    trace: str | None = None
    """Where they were delivered."""

    @model_validator(mode="before")
    @classmethod
    def _of_one_report(cls, record: object) -> object:
        """Earlier runs had one report."""
        if not isinstance(record, dict) or "report" not in record:
            return record
        record = dict(record)
        path = record.pop("report")
        return {"reports": (path,) if path else (), **record}


class KeptRun:
    """One run's folder."""

    def __init__(self, folder: Path, record: RunRecord) -> None:
        self.folder, self.record = folder, record

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints.sqlite"

    @property
    def state(self) -> State:
        if self._locked():
            return "at work"
        return self.record.ended or "interrupted"

    def update(self, **fields: Any) -> None:  # noqa: ANN401 - of the record
        """Write what has changed. Raises OSError."""
        self.record = self.record.model_copy(update={"updated": _now(), **fields})
        write_private(self.folder / _RECORD, self.record.model_dump_json(indent=1))

    def end(self, ended: Literal["stopped", Outcome], trace: Trace | None) -> None:
        """The run has ended, with this trace. Raises OSError."""
        fields: dict[str, Any] = {"ended": ended}
        if trace is not None:
            part = self.folder / "trace.part"
            part.unlink(missing_ok=True)
            with TraceWriter(part) as writer:
                writer.write(trace)
            part.replace(self.folder / "trace.jsonl")
            fields["spent"] = RunCost.of(trace).in_words()
        self.update(**fields)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """This process alone works on the run. Raises ConfigurationError where another does, or
        where its checkpoints turn out to be of no use."""
        lock = FileLock(self.folder / "lock", mode=0o600)
        try:
            lock.acquire(timeout=_PATIENCE)  # whoever merely looks holds it for a moment
        except Timeout:
            raise ConfigurationError(
                f"another process is at work on the run {self.id}: wait for it, or stop it"
            ) from None
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(
                f"{self.checkpoints} cannot be used: {brief(error)}; where it is damaged, ask anew "
                f"and delete it: oresearch runs delete {self.id}"
            ) from error
        finally:
            lock.release()

    def _locked(self) -> bool:
        lock = FileLock(self.folder / "lock", mode=0o600)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            return True
        except OSError:
            return False  # a folder that cannot be written: nobody works there
        lock.release()
        return False

    def delete(self) -> None:
        """Remove its checkpoints with the pages in them, its trace and its record. Raises
        ConfigurationError while a process is at work on it."""
        with self.locked():
            try:
                shutil.rmtree(self.folder)
            except OSError as error:
                raise ConfigurationError(
                    f"{self.folder} cannot be deleted: {error.strerror}"
                ) from error


class KeptRuns:
    """The runs of this user."""

    def __init__(self, home: Path | None = None) -> None:
        """`home`: the folder `ORESEARCH_HOME`, else the user's own for data."""
        named = os.environ.get("ORESEARCH_HOME")
        self.folder = (home or (Path(named) if named else user_data_path("oresearch"))) / "runs"

    def new(self, question: str, **fields: Any) -> KeptRun:  # noqa: ANN401 - of the record
        """A folder of its own for a run that begins. Raises ConfigurationError."""
        now = _now()
        run_id = f"{now:%Y%m%d}-{token_hex(3)}"
        folder = self.folder / run_id
        record = RunRecord(
            id=run_id, questions=(question,), created=now, updated=now, **fields
        )  # fmt: skip
        try:
            private_folder(self.folder)
            folder.mkdir(mode=0o700)
            run = KeptRun(folder, record)
            run.update()
        except OSError as error:
            raise ConfigurationError(
                f"the run cannot be kept in {self.folder} ({error.strerror}): set ORESEARCH_HOME "
                "to a folder that can be written, or run with --no-keep"
            ) from error
        return run

    def all(self) -> list[KeptRun]:
        """Every run, the newest first; folders that are none are passed over."""
        folders = sorted(self.folder.glob("*")) if self.folder.is_dir() else []
        runs = [run for folder in folders if (run := _read(folder)) is not None]
        return sorted(runs, key=lambda run: run.record.created, reverse=True)

    def find(self, name: str) -> KeptRun:
        """The run of an id, or of the beginning of one. Raises ConfigurationError."""
        runs = self.all()
        by_name = [run for run in runs if run.id == name] or [
            run for run in runs if name and (run.id.startswith(name) or run.id[9:].startswith(name))
        ]
        if len(by_name) == 1:
            return by_name[0]
        fault = "several runs begin so" if by_name else "there is no such run"
        raise ConfigurationError(f"{name!r}: {fault}; oresearch runs lists them")


def older_than(age: str) -> datetime:
    """The moment so long ago: `12h`, `30d`, `8w`. Raises ConfigurationError."""
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise ConfigurationError(f"{age!r} is no age: write 12h, 30d or 8w")
    return _now() - timedelta(hours=int(match[1]) * _HOURS[match[2]])


def _read(folder: Path) -> KeptRun | None:
    if not _ID.fullmatch(folder.name):
        return None
    try:
        text = (folder / _RECORD).read_text("utf-8")
        return KeptRun(folder, RunRecord.model_validate_json(text))
    except (OSError, ValidationError, ValueError):
        return None


def _now() -> datetime:
    return datetime.fromtimestamp(time.time(), UTC).replace(microsecond=0)
