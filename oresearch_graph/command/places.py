"""Where a run leaves report and trace. Checked before the run, so that no work is lost after it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Final, NamedTuple

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.trace import Trace, TraceWriter, read_traces
from oresearch_graph.trace.private_files import private_folder, write_private


class Places(NamedTuple):
    """Where a run leaves report and trace."""

    report: Path
    trace: Path


def places_for(question: str, out: Path | None, trace: Path | None) -> Places:
    """The paths asked for, else in a new folder named after the question, below `out`."""
    if out is not None and trace is not None:
        return Places(out, trace)
    folder = _new_folder(question)
    return Places(out or folder / "report.md", trace or folder / "trace.jsonl")


_OUT: Final = Path("out")


def _new_folder(question: str) -> Path:
    """A folder that no other run has: whoever makes it has it. One that cannot be made is named all
    the same, and refused with its files."""
    slug = re.sub(r"[^\w]+", "-", question.lower()).strip("-")[:60].rstrip("-") or "run"
    for number in count(1):
        folder = _OUT / (slug if number == 1 else f"{slug}-{number}")
        try:
            private_folder(folder.parent)
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        except OSError:
            pass
        return folder
    raise AssertionError("count has no end")


def require_writable(places: Places) -> None:
    """Raise ConfigurationError or TraceFileError for a path that cannot take its file."""
    if places.report.resolve() == places.trace.resolve():
        raise ConfigurationError(f"--out and --trace are both {places.report}: name two files")
    for path, option in zip(places, ("--out", "--trace"), strict=True):
        if path.is_dir():
            raise ConfigurationError(f"{option} {path} is a folder: name a file in it")
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        if there != path and not there.is_dir():
            raise ConfigurationError(f"{option} {path}: {there} is no folder; choose another")
        if not os.access(there, os.W_OK):
            raise ConfigurationError(f"{option} {path}: {there} is not writable; choose another")
    if places.trace.exists():
        # First without a writer: it would move the unended last line of a file that is no trace's.
        next(read_traces(places.trace), None)
        TraceWriter(places.trace).close()


def leave(places: Places) -> None:
    """Remove the folder that was made for a run, if that left nothing in it."""
    for path in places:
        if path.parent.parent == _OUT:
            with suppress(OSError):
                path.parent.rmdir()
                _OUT.rmdir()


def save(places: Places, trace: Trace, report: str | None) -> list[str]:
    """Append the trace and write the report; a line for each that could not be."""
    faults: list[str] = []
    try:
        with TraceWriter(places.trace) as writer:
            writer.write(trace)
    except OresearchError as error:
        faults.append(str(error))
    if report is not None:
        try:
            write_private(places.report, report)
        except OSError as error:
            faults.append(f"{places.report}: cannot be written: {error.strerror}")
    return faults
