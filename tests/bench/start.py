"""What the command line costs before it says anything: CPU seconds until the first line of
`oresearch run` on a terminal, and of `oresearch --help`, beside Python's own start.

    python -m tests.bench.start [TIMES]
"""

from __future__ import annotations

import os
import pty
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

COMMAND: Final = [sys.executable, "-c", "from oresearch_graph.command.cli import main; main()"]
FIRST_LINE: Final = 1.0
HELP: Final = 0.4
_TICKS: Final = os.sysconf("SC_CLK_TCK")


def first_line(folder: str) -> float:
    """CPU seconds of `oresearch run` until a person reads something."""
    terminal, inner = pty.openpty()
    command = [*COMMAND, "run", "How does pickle store objects?", "--no-keep"]
    with subprocess.Popen(command, cwd=folder, stdout=inner, stderr=inner) as process:
        os.close(inner)
        os.read(terminal, 1)
        fields = Path(f"/proc/{process.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
        process.kill()
    os.close(terminal)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def whole(*command: str) -> float:
    """CPU seconds of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(times: int = 5) -> None:
    with tempfile.TemporaryDirectory() as folder:
        line = statistics.median(first_line(folder) for _ in range(times))
    help_ = statistics.median(whole(*COMMAND, "--help") for _ in range(times))
    python = statistics.median(whole(sys.executable, "-c", "pass") for _ in range(times))
    for name, seconds, most in (("first line", line, FIRST_LINE), ("--help", help_, HELP)):
        sys.stdout.write(
            f"{name}: {seconds:.2f} s of CPU, {seconds / python:.0f} × python's start, "
            f"{'within' if seconds <= most else 'BEYOND'} {most} s\n"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
