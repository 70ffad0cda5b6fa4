"""How long the filter takes a trace, and how much memory it holds, from few traces to many.

`python -m tests.bench.datagen_filter [MOST]`: 1,000 traces of 50 kB, then MOST (10,000; the issue's
figure is 100,000, which needs 5 GB of disk), each size in a process of its own: in that process
alone, and over every core. Processor time is what one trace costs, whatever else the machine does.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time

from rich.console import Console
from rich.table import Table

from datagen.filter.stage import filter_traces
from datagen.run.folder import RunFolder, Work
from datagen.settings import DatagenSettings
from tests.helpers.many_traces import write_many

_WARM = 100
"""Traces filtered before the clock starts: models of languages are loaded, caches filled."""


def main() -> None:
    """Print the table and how the sizes compare."""
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    table = Table(title="filter, traces of 50 kB")
    for heading in ("traces", "one process: CPU ms a trace", "peak MB", "every core: wall ms",
                    "peak MB of parent", "of a worker"):  # fmt: skip
        table.add_column(heading, justify="right")
    found = [_in_a_process(count) for count in (1_000, most)]
    for one in found:
        table.add_row(
            f"{one['traces']:,.0f}", f"{one['cpu']:.2f}", f"{one['peak']:.0f}",
            f"{one['wall']:.2f}", f"{one['parent']:.0f}", f"{one['worker']:.0f}",
        )  # fmt: skip
    console = Console()
    console.print(table)
    few, many = found
    console.print(
        f"{most:,} against 1,000: {many['cpu'] / few['cpu']:.2f} times the time per trace, "
        f"{many['peak'] - few['peak']:+.0f} MB"
    )


def _in_a_process(count: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.datagen_filter", "--one", str(count)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def one(count: int) -> dict[str, float]:
    """Filter so many traces, alone and over every core: milliseconds a trace, peaks in MB."""
    with tempfile.TemporaryDirectory() as folder:
        work = Work(RunFolder(folder), DatagenSettings(), Console(quiet=True))
        write_many(work.run.generated, _WARM)
        filter_traces(work, processes=1)
        write_many(work.run.generated, count)
        began = time.process_time()
        filter_traces(work, processes=1)
        cpu = time.process_time() - began
        peak = _peak(resource.RUSAGE_SELF)
        began = time.perf_counter()
        filter_traces(work)
        wall = time.perf_counter() - began
    return {
        "traces": count,
        "cpu": 1000 * cpu / count,
        "peak": peak,
        "wall": 1000 * wall / count,
        "parent": _peak(resource.RUSAGE_SELF),
        "worker": _peak(resource.RUSAGE_CHILDREN),
    }


def _peak(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(int(sys.argv[2]))))  # noqa: T201
    else:
        main()
