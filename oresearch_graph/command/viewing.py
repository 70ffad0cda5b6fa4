"""`oresearch view`: traces as one HTML page that needs no server and no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import typer

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Trace, read_traces
from oresearch_graph.trace.private_files import write_private
from oresearch_graph.view.page import traces_page

MOST: Final = 100
"""Traces on one page: what a browser still opens at once."""


def view_files(paths: Sequence[Path], out: Path | None, ids: Sequence[str]) -> int:
    """Write the page and tell its place. Raises ConfigurationError, TraceFileError."""
    traces: list[Trace] = []
    for trace in _chosen(paths, ids):
        traces.append(trace)
        if len(traces) > MOST:
            raise ConfigurationError(f"more than {MOST} traces: choose some with --id")
    if missing := [wanted for wanted in ids if all(trace.id != wanted for trace in traces)]:
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


def _chosen(paths: Sequence[Path], ids: Sequence[str]) -> Iterator[Trace]:
    for path in paths:
        for trace in read_traces(path):
            if not ids or trace.id in ids:
                yield trace
