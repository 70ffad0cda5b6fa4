"""How long the export takes a trace, and how much memory it holds, from few traces to many.

`python -m tests.bench.datagen_export [MOST]`: 1,000 traces of 50 kB, then MOST (10,000; the issue's
figure is 100,000, which needs 10 GB of disk and two hours), each in a process of its own. Time is
the processor's, so that others on the machine do not matter.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from rich.console import Console

from datagen.export.dataset import write_dataset
from datagen.records import Judgement
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import write_records
from datagen.settings import DatagenSettings
from oresearch_graph.judging.ground_truth import Judged
from tests.helpers.many_traces import PER_SEED, write_many


def main() -> None:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    found = [_in_a_process(count) for count in (1_000, most)]
    for one in found:
        print(  # noqa: T201
            f"{one['traces']:>7} traces: {1000 * one['seconds'] / one['traces']:.1f} ms a trace, "
            f"peak {one['peak']:.0f} MB, {one['bytes'] / 1e6:.0f} MB written"
        )
    few, many = ((one["seconds"] / one["traces"]) for one in found)
    print(f"time per trace {many / few:.2f} times that of 1,000")  # noqa: T201


def _in_a_process(count: int) -> dict[str, float]:
    command = [sys.executable, "-c", f"from tests.bench.datagen_export import one; one({count})"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def one(count: int) -> None:
    """Export so many traces and print what it took as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(folder)
        write_many(run.generated, count)
        write_records(run.judged, _judged(count))
        settings = DatagenSettings.model_validate({"export": {"formats": ["parquet"]}})
        start = time.process_time()
        counts = write_dataset(Work(run, settings, Console(quiet=True)))
        seconds = time.process_time() - start
        size = sum(p.stat().st_size for p in run.dataset.rglob("*") if p.is_file())
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        told = {"traces": counts["traces"], "seconds": seconds, "peak": peak, "bytes": size}
        print(json.dumps(told))  # noqa: T201


def _judged(count: int) -> Iterator[Judgement]:
    """Every candidate is chosen, so that the time is one trace's."""
    for n in range(count):
        seed, number = divmod(n, PER_SEED)
        yield Judgement(
            id=f"s{seed:08}.{number + 1}", seed=f"s{seed:08}", accepted=True, chosen=True,
            judged=Judged(quality=0.8, by="bench"),
        )  # fmt: skip


if __name__ == "__main__":
    main()
