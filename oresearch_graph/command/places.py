"""Where a run leaves reports and trace. Checked before it, so that no work is lost after it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any, Final, NamedTuple

from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.trace import Trace, TraceWriter, read_traces
from oresearch_graph.trace.private_files import private_folder
from oresearch_graph.view.paper import require_paper
from oresearch_graph.view.report_file import WITHOUT_REPORT, require_format, write_report


class Places(NamedTuple):
    """Where a run leaves reports, each in the format of its suffix, and trace."""

    reports: tuple[Path, ...]
    trace: Path

    def written(self, report: str | None) -> tuple[Path, ...]:
        """The reports that are written of a run with this report, or without one."""
        if report is not None:
            return self.reports
        return tuple(path for path in self.reports if path.suffix.lower() in WITHOUT_REPORT)


def places_for(question: str, out: Sequence[Path], trace: Path | None) -> Places:
    """The paths asked for, else in a new folder named after the question, below `out`."""
    if out and trace is not None:
        return Places(tuple(out), trace)
    folder = _new_folder(question)
    return Places(tuple(out) or (folder / "report.md",), trace or folder / "trace.jsonl")


_OUT: Final = Path("out")
_NO_WORD: Final = re.compile(r"\W+")


def _new_folder(question: str) -> Path:
    """A folder that no other run has: whoever makes it has it. One that cannot be made is named all
    the same, and refused with its files."""
    slug = _NO_WORD.sub("-", question.lower()).strip("-")[:60].rstrip("-") or "run"
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
    paths = [*((path, "--out") for path in places.reports), (places.trace, "--trace")]
    options: dict[Path, str] = {}
    for path, option in paths:
        if (other := options.get(path.resolve())) is not None:
            raise ConfigurationError(f"{other} and {option} are both {path}: name two files")
        options[path.resolve()] = option
        if path.is_dir():
            raise ConfigurationError(f"{option} {path} is a folder: name a file in it")
        there = next(each for each in (path, *path.absolute().parents) if each.exists())
        if there != path and not there.is_dir():
            raise ConfigurationError(f"{option} {path}: {there} is no folder; choose another")
        if not os.access(there, os.W_OK):
            raise ConfigurationError(f"{option} {path}: {there} is not writable; choose another")
    for path in places.reports:
        require_format(path)
        if path.suffix.lower() == ".pdf":
            require_paper()
    if places.trace.exists():
        # First without a writer: it would move the unended last line of a file that is no trace's.
        next(read_traces(places.trace), None)
        TraceWriter(places.trace).close()


def leave(places: Places) -> None:
    """Remove the folder that was made for a run, if that left nothing in it."""
    for path in (*places.reports, places.trace):
        if path.parent.parent == _OUT:
            with suppress(OSError):
                path.parent.rmdir()
                _OUT.rmdir()


def holds(path: Path, trace: Trace) -> bool:
    """True when the file has the trace already. Raises TraceFileError."""
    return path.is_file() and any(each == trace for each in read_traces(path))


def save(path: Path, trace: Trace) -> list[str]:
    """Append the trace; a line where it could not be."""
    try:
        with TraceWriter(path) as writer:
            writer.write(trace)
    except OresearchError as error:
        return [str(error)]
    return []


def deliver(paths: Sequence[Path], result: Mapping[str, Any]) -> list[str]:
    """Write the reports of a run; a line for each that could not be."""
    faults: list[str] = []
    for path in paths:
        try:
            write_report(result, path)
        except OresearchError as error:
            faults.append(f"{path}: {error}")
        except OSError as error:
            faults.append(f"{path}: cannot be written: {error.strerror}")
    return faults
