"""`oresearch runs`: the runs that are kept, one of them, and their deletion."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console

from oresearch_graph.command.kept_runs import KeptRun, KeptRuns, older_than
from oresearch_graph.command.terminal import harmless, json_line, lines
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import read_traces

_QUESTION: Final = 300
"""Characters."""


def list_runs(age: str | None, *, as_json: bool) -> int:
    """The runs, the newest first; with an age, those that are older."""
    runs = _of_age(age)
    if as_json:
        for run in runs:
            print(json_line(_facts(run)))  # noqa: T201 - the output asked for
        return 0
    if not runs:
        print(f"no runs are kept in {KeptRuns().folder}")  # noqa: T201
        return 0
    for run in runs:
        record = run.record
        when = f"{record.created.astimezone():%Y-%m-%d %H:%M}"
        question = " ".join(record.questions[-1].split())
        facts = f"{run.id}  {when}  {run.state:<11}  {record.spent or '-'}"
        print(harmless(f"{facts}\n    {question[:_QUESTION]}"))  # noqa: T201
    return 0


def show_run(name: str, *, as_json: bool) -> int:
    """One run: what was asked, how it stands, what it has cost, where its files are."""
    run = KeptRuns().find(name)
    if as_json:
        print(json_line(_facts(run)))  # noqa: T201 - the output asked for
        return 0
    record, state = run.record, run.state
    facts = {"run": run.id, "state": state, "spent": record.spent}
    facts |= {"begun": f"{record.created.astimezone():%Y-%m-%d %H:%M}"}
    facts |= {f"question {n}": text for n, text in enumerate(record.questions, 1)}
    facts |= {name: str(value) for name, value in record.settings.items()}
    facts |= dict.fromkeys(record.withheld, "holds a key, which is not kept")
    facts |= {"report": ", ".join(record.reports), "trace": record.trace or ""}
    facts |= {"kept": str(run.folder)}
    if state in {"interrupted", "stopped"}:
        facts["to go on"] = f"oresearch run --resume {run.id}"
    elif state != "at work":
        facts["to ask on"] = f"oresearch run --ask {run.id} {shlex.quote('…')}"
    text = [f"{name}: {value}" for name, value in facts.items() if value]
    text += [f"  {failure.name}: {failure.message}" for failure in _failures(run)]
    Console().print(lines("\n".join(text)), soft_wrap=True)
    return 0


def delete_runs(names: Sequence[str], age: str | None) -> int:
    """Delete runs by id, or all that are older than an age and not at work."""
    if bool(names) == (age is not None):
        raise ConfigurationError("name runs to delete, or an age: --older-than 30d")
    runs = [KeptRuns().find(name) for name in names]
    runs = runs or [run for run in _of_age(age) if run.state != "at work"]
    for run in runs:
        run.delete()
        print(f"deleted {run.id}")  # noqa: T201 - the output asked for
    return 0


def _of_age(age: str | None) -> list[KeptRun]:
    runs = KeptRuns().all()
    if age is None:
        return runs
    moment = older_than(age)
    return [run for run in runs if run.record.updated < moment]


def _facts(run: KeptRun) -> dict[str, Any]:
    return run.record.model_dump(mode="json", exclude={"ended"}) | {"state": run.state}


def _failures(run: KeptRun) -> list[Any]:
    file = run.folder / "trace.jsonl"
    trace = next(read_traces(file), None) if file.is_file() else None
    return [] if trace is None else list(trace.failures)
