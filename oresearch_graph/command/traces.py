"""`oresearch check` and `oresearch view`: what is wrong with traces, and how they look."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from oresearch_graph.command.terminal import harmless, json_line
from oresearch_graph.errors import ConfigurationError, TraceFileError
from oresearch_graph.trace import Trace, Violation, read_traces, violations
from oresearch_graph.trace.private_files import write_private
from oresearch_graph.view.page import traces_page

_STANDARD_INPUT: Final = "standard input"


def check_files(paths: Sequence[Path], *, as_json: bool) -> int:
    """0 when every trace is well-formed or owns up to what it lacks, 1 when not, 2 unreadable.

    A file without a trace counts as unreadable: a check of nothing must not pass.
    """
    status = 0
    for path in paths:
        try:
            status = max(status, _check(path, as_json=as_json))
        except TraceFileError as error:
            typer.echo(f"oresearch: {harmless(str(error))}", err=True)
            status = 2
    return status


def _check(path: Path, *, as_json: bool) -> int:
    status, count = 0, 0
    for trace in _traces(path):
        count += 1
        faults = violations(trace)
        typer.echo(_as_json(trace, faults) if as_json else harmless(_as_text(trace, faults)))
        if any(not violation.declared for violation in faults):
            status = 1
    if not count:
        name = _STANDARD_INPUT if str(path) == "-" else path
        raise TraceFileError(f"{name}: holds no trace")
    return status


def _traces(path: Path) -> Iterator[Trace]:
    if str(path) != "-":
        yield from read_traces(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / _STANDARD_INPUT
        copy.write_bytes(sys.stdin.buffer.read())
        try:
            yield from read_traces(copy)
        except TraceFileError as error:
            raise TraceFileError(str(error).replace(str(copy), copy.name)) from error


def _as_text(trace: Trace, faults: Sequence[Violation]) -> str:
    count = f"{len(faults)} violation{'s' * (len(faults) > 1)}" if faults else "well-formed"
    lines = [f"{trace.id or '(no id)'}  {trace.outcome}  {count}"]
    for violation in faults:
        place = "" if violation.step is None else f" step {violation.step}"
        branch = "" if violation.branch is None else f" subtask {violation.branch}"
        mark = " (declared)" if violation.declared else ""
        lines.append(f"  {violation.code}{place}{branch}: {violation.message}{mark}")
    lines += [f"  failure {f.name} ({f.fault}): {' '.join(f.message.split())}"
              for f in trace.failures]  # fmt: skip
    return "\n".join(lines)


def _as_json(trace: Trace, faults: Sequence[Violation]) -> str:
    summary = {
        "id": trace.id,
        "outcome": trace.outcome,
        "violations": [violation.model_dump() for violation in faults],
        "failures": [failure.model_dump() for failure in trace.failures],
    }
    return json_line(summary)


MOST: Final = 100
"""Traces on one page: what a browser still opens at once."""


def view_files(paths: Sequence[Path], out: Path | None, ids: Sequence[str]) -> int:
    """Write the page and tell its place. Raises ConfigurationError, TraceFileError."""
    traces: list[Trace] = []
    for trace in _select(paths, ids):
        traces.append(trace)
        if len(traces) > MOST:
            raise ConfigurationError(f"more than {MOST} traces: choose some with --id")
    if missing := [trace_id for trace_id in ids if all(trace.id != trace_id for trace in traces)]:
        raise ConfigurationError(f"no trace has the id {missing[0]!r}")
    if not traces:
        raise ConfigurationError(f"{', '.join(map(str, paths))}: there is no trace to show")
    place = out or paths[0].with_suffix(".html")
    if any(place.resolve() == path.resolve() for path in paths):
        raise ConfigurationError(f"{place} is the trace file itself: name another with --out")
    try:
        write_private(place, traces_page(traces))
    except OSError as error:
        raise ConfigurationError(f"{place}: cannot be written: {error.strerror}") from error
    typer.echo(str(place))
    return 0


def _select(paths: Sequence[Path], ids: Sequence[str]) -> Iterator[Trace]:
    for path in paths:
        for trace in read_traces(path):
            if not ids or trace.id in ids:
                yield trace
