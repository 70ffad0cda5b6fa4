"""One reader worker as its parent sees it: started, asked, and ended when a page passes a limit."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable
from time import monotonic
from typing import IO, Any, Final

from oresearch_graph.tools.extract import Extracted
from oresearch_graph.tools.reader_worker import (
    ANSWER,
    FRAME,
    INTERRUPT,
    PageLimits,
    PageRequest,
    too_large,
)

_START_SECONDS: Final = 20.0
_POLL_SECONDS: Final = 0.05
_GRACE_SECONDS: Final = 0.25
"""For a worker to give up a page by itself; what runs outside Python does not hear it."""
_WALL_SHARE: Final = 4.0
"""Seconds on the wall for one of CPU: a worker is niced, and the machine may be busy."""
_WORN_SHARE: Final = 0.5
"""Of the memory limit: a worker that still holds so much after a page makes room for another."""
_INHERITED: Final = frozenset(
    ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "PYTHONHOME", "LD_LIBRARY_PATH")
)
_INHERITED_PREFIXES: Final = ("LC_", "DYLD_", "OPENBLAS_")


class ReaderUnavailable(Exception):
    """No worker can be started here; the message says why."""


class WorkerLost(Exception):
    """The page cost its worker; the message is the page's fault."""

    def __init__(self, fault: str, *, by_others: bool = False) -> None:
        super().__init__(fault)
        self.by_others = by_others
        """Someone else killed the worker: a person, or a system short of memory."""


class GivenUp(Exception):
    """The page was stopped for another's sake, or because nobody wants it any more."""


class ReaderProcess:
    """A started worker. One page at a time, from one thread; `end` from any.

    Raises ReaderUnavailable where it does not come up.
    """

    def __init__(self, limits: PageLimits) -> None:
        self._limits = limits
        command = [
            sys.executable or "python3", "-P", "-m", "oresearch_graph.tools.reader_worker",
            str(os.getpid()), str(limits.memory_bytes),
        ]  # fmt: skip
        try:
            self._child = subprocess.Popen(  # noqa: S603 - this Python, this package
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C is for the parent
            )
        except (OSError, ValueError) as error:
            raise ReaderUnavailable(f"no reader process can be started ({error})") from error
        self._ready = selectors.DefaultSelector()
        self._ready.register(self._pipe(self._child.stdout), selectors.EVENT_READ)
        self._worn = False
        try:
            self._answer(monotonic() + _START_SECONDS)
        except (WorkerLost, TimeoutError, ValueError) as error:
            self.end()
            raise ReaderUnavailable("a reader process was started and does not answer") from error

    @property
    def id(self) -> int:
        return self._child.pid

    @property
    def usable(self) -> bool:
        """False once the worker has ended, or has used so much memory that a fresh one is due."""
        return not self._worn and self._child.poll() is None

    def read(self, request: PageRequest, body: bytes, given_up: Callable[[], bool]) -> Extracted:
        """What the page says. `given_up` is asked while it is read.

        Raises WorkerLost, and GivenUp once `given_up` says so.
        """
        deadline = monotonic() + request.limits.cpu_seconds * _WALL_SHARE
        try:
            self._send(request.encoded(), body)
            answer = self._answer(deadline, given_up)
        except TimeoutError:
            self.end()
            raise WorkerLost(_too_slow(request.limits)) from None
        except (WorkerLost, GivenUp):
            self.end()
            raise
        if "given_up" in answer:
            raise GivenUp
        self._worn = answer.pop("held_bytes") > _WORN_SHARE * request.limits.memory_bytes
        return Extracted(**answer)

    def _send(self, header: bytes, body: bytes) -> None:
        pipe = self._pipe(self._child.stdin)
        try:
            pipe.write(FRAME.pack(len(header), len(body)))
            pipe.write(header)
            pipe.write(body)
            pipe.flush()
        except (OSError, ValueError) as error:
            raise self._loss() from error

    def _answer(
        self, deadline: float, given_up: Callable[[], bool] | None = None
    ) -> dict[str, Any]:
        (length,) = ANSWER.unpack(self._received(ANSWER.size, deadline, given_up))
        if length > self._longest:
            raise WorkerLost("its reader answered without end")
        answer: dict[str, Any] = json.loads(self._received(length, deadline, None))
        return answer

    @property
    def _longest(self) -> int:
        """Bytes of an answer: a character takes at most six in JSON."""
        return 6 * self._limits.characters + 100_000

    def _received(self, length: int, deadline: float, given_up: Callable[[], bool] | None) -> bytes:
        """So many bytes. Raises WorkerLost at the stream's end, TimeoutError at the deadline."""
        pipe, parts, missing = self._pipe(self._child.stdout), list[bytes](), length
        interrupted = False
        while missing:
            if self._ready.select(_POLL_SECONDS):
                part = os.read(pipe.fileno(), min(missing, 1 << 20))
                if not part:
                    raise GivenUp if interrupted else self._loss()
                parts.append(part)
                missing -= len(part)
            elif monotonic() > deadline:
                if interrupted:
                    raise GivenUp
                raise TimeoutError
            elif given_up is not None and not interrupted and given_up():
                interrupted, deadline = True, monotonic() + _GRACE_SECONDS
                self._child.send_signal(INTERRUPT)
        return b"".join(parts)

    def _loss(self) -> WorkerLost:
        """Why the worker ended, as the fault of the page that it was reading."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        status = self._child.returncode
        if status == -signal.SIGXCPU:
            return WorkerLost(_too_slow(self._limits))
        if status is None or status >= 0:
            return WorkerLost("ended its reader")
        cause = f"{too_large(self._limits)}, or breaks its reader ({signal.strsignal(-status)})"
        return WorkerLost(cause, by_others=status == -signal.SIGKILL)

    def end(self) -> None:
        """Kill the worker, and free its pipes."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self._ready.close()
        for pipe in (self._child.stdin, self._child.stdout):
            with contextlib.suppress(OSError):
                self._pipe(pipe).close()

    @staticmethod
    def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
        if stream is None:
            raise RuntimeError("the worker was started without this pipe")
        return stream


def _too_slow(limits: PageLimits) -> str:
    return f"takes more than {limits.cpu_seconds:g} s to read"


def _environment() -> dict[str, str]:
    """What Python needs to import what this process imports, and no key of the user's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - "" is the working folder
    return kept | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
