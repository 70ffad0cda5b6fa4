"""`oresearch check`: what is wrong with traces, by the one definition of well-formed."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from oresearch_graph.errors import TraceFileError
from oresearch_graph.trace import Trace, Violation, read_traces, violations


def check_files(paths: Sequence[Path], *, as_json: bool) -> int:
    """0 when every trace is well-formed or owns up to what it lacks, 1 when not, 2 unreadable."""
    status = 0
    for path in paths:
        try:
            for trace in _traces(path):
                found = violations(trace)
                typer.echo(_as_json(trace, found) if as_json else _as_text(trace, found))
                if any(not violation.declared for violation in found):
                    status = max(status, 1)
        except TraceFileError as error:
            typer.echo(f"oresearch: {error}", err=True)
            status = 2
    return status


def _traces(path: Path) -> list[Trace]:
    if str(path) != "-":
        return list(read_traces(path))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "standard-input"
        copy.write_bytes(sys.stdin.buffer.read())
        return list(read_traces(copy))


def _as_text(trace: Trace, found: Sequence[Violation]) -> str:
    count = f"{len(found)} violations" if found else "well-formed"
    lines = [f"{trace.id or '(no id)'}  {trace.outcome}  {count}"]
    for violation in found:
        place = "" if violation.step is None else f" step {violation.step}"
        branch = "" if violation.branch is None else f" subtask {violation.branch}"
        mark = " (declared)" if violation.declared else ""
        lines.append(f"  {violation.code}{place}{branch}: {violation.message}{mark}")
    lines += [f"  failure {f.name} ({f.fault}): {f.message}" for f in trace.failures]
    return "\n".join(lines)


def _as_json(trace: Trace, found: Sequence[Violation]) -> str:
    told = {
        "id": trace.id,
        "outcome": trace.outcome,
        "violations": [violation.model_dump() for violation in found],
        "failures": [failure.model_dump() for failure in trace.failures],
    }
    return json.dumps(told, ensure_ascii=False)
