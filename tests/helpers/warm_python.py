"""A Python that has imported the project: each program runs in a fork of it, in a process of its
own with its own arguments, folder, environment, streams, interpreter's end and exit status, and
without the two seconds that the imports take."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

_SERVER: Final = """
import gc, json, os, sys, threading
import langchain_openai, langchain_core.tracers.langchain
import oresearch_graph.command.indexing, oresearch_graph.command.research
import oresearch_graph.command.files, oresearch_graph.tools.corpus.python_docs
from oresearch_graph.text.language import detect_language

detect_language("How does the identifier of languages get its model?")
assert threading.active_count() == 1, "no fork of this is safe"
gc.freeze()
for line in iter(sys.stdin.readline, ""):
    request = json.loads(line)
    child = os.fork()
    if child == 0:
        break
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
else:
    os._exit(0)

os.chdir(request["cwd"])
os.environ.clear()
os.environ.update(request["env"])
for stream, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
    os.dup2(os.open(request["streams"][stream], flags), stream)
sys.stdin = open(0, encoding=sys.stdin.encoding, closefd=False)
sys.argv = ["-c", *request["arguments"]]
exec(request["program"], {"__name__": "__main__"})
"""
"""It forks with one thread, so a fork is as good as a new process; what follows the loop is the
child, which ends as Python does."""


@cache
def _server() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _SERVER]
    server = subprocess.Popen(command, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    atexit.register(server.communicate)
    return server


class WarmProcess:
    """A program in a fork of the warm Python, as `subprocess.Popen` shows one. One at a time."""

    def __init__(
        self, program: str, *arguments: str, cwd: Path, env: dict[str, str],
        streams: tuple[str, str, str],
    ) -> None:  # fmt: skip
        """`streams` are the paths of what becomes standard input, output and error."""
        self._server, self.returncode = _server(), None
        assert self._server.stdin is not None
        request = {
            "program": program, "arguments": arguments, "cwd": str(cwd), "env": env,
            "streams": streams,
        }  # fmt: skip
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self.pid = self._number()

    returncode: int | None

    def poll(self) -> int | None:
        assert self._server.stdout is not None
        if self.returncode is None and select.select([self._server.stdout], [], [], 0)[0]:
            self.returncode = self._number()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            self.returncode = self._number(timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _number(self, timeout: float | None = None) -> int:
        """The server's next line."""
        assert self._server.stdout is not None
        if not select.select([self._server.stdout], [], [], timeout)[0]:
            raise TimeoutError(f"a program still runs after {timeout} seconds")
        return int(self._server.stdout.readline())


def run_warm(
    program: str, *arguments: str, cwd: Path, env: dict[str, str], stdin: str = "",
    seconds: float = 120.0,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """What `subprocess.run([sys.executable, "-c", program, *arguments], ...)` gives."""
    with TemporaryDirectory() as folder:
        given, out, err = (Path(folder, name) for name in ("stdin", "stdout", "stderr"))
        given.write_text(stdin, "utf-8")
        out.touch()
        err.touch()
        streams = (str(given), str(out), str(err))
        process = WarmProcess(program, *arguments, cwd=cwd, env=env, streams=streams)
        try:
            status = process.wait(seconds)
        finally:
            process.kill()
            process.wait()
        return subprocess.CompletedProcess(
            [program, *arguments], status, out.read_text("utf-8"), err.read_text("utf-8")
        )
