"""The host of reader workers, and one worker, as their parent sees them: started, asked, ended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

from oresearch_graph.tools.reading.extract import Extracted
from oresearch_graph.tools.reading.worker import (
    ANSWER,
    NUMBER,
    REQUEST,
    PageRequest,
    too_large,
)

_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.01
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


class ReaderHost:
    """The child that forks workers. Safe across threads.

    Raises ReaderUnavailable where it does not come up.
    """

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        self._lock = threading.Lock()
        command = [
            sys.executable or "python3", "-P", "-m", "oresearch_graph.tools.reading.worker",
            str(os.getpid()),
        ]  # fmt: skip
        try:
            self._child = subprocess.Popen(  # noqa: S603 - this Python, this package
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=_environment(),
                start_new_session=True,  # a Ctrl-C is for the parent
            )
        except (OSError, ValueError) as error:
            self._control.close()
            raise ReaderUnavailable(f"no reader process can be started ({error})") from error
        finally:
            theirs.close()
        self._control.settimeout(_START_SECONDS)
        try:
            self._number()
        except OSError as error:
            self.end()
            raise ReaderUnavailable("a reader process was started and does not answer") from error

    @property
    def alive(self) -> bool:
        return self._child.poll() is None

    def fork(self, pages: socket.socket) -> int:
        """A new worker on the socket; its process id. Raises OSError."""
        with self._lock:
            socket.send_fds(self._control, [NUMBER.pack(0)], [pages.fileno()])
            return self._number()

    def wait(self, process: int) -> int:
        """How a worker ended, once it has. Raises OSError."""
        with self._lock:
            self._control.sendall(NUMBER.pack(process))
            return self._number()

    def forget(self, process: int) -> None:
        """A worker was killed; nobody asks how it ended. Raises OSError."""
        with self._lock:
            self._control.sendall(NUMBER.pack(-process))

    def _number(self) -> int:
        answer = self._control.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(answer) < NUMBER.size:
            raise ConnectionError("the host of the readers has ended")
        return int(NUMBER.unpack(answer)[0])

    def end(self) -> None:
        """Kill it. Safe to call again."""
        self._child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(1.0)
        self._control.close()


class ReaderProcess:
    """One worker. One page at a time, from one thread; `end` from any.

    Raises ReaderUnavailable where the host cannot fork it.
    """

    def __init__(self, host: ReaderHost) -> None:
        self._host = host
        self._pages, theirs = socket.socketpair()
        self._lock = threading.Lock()
        self._ended = False
        self._worn = False
        try:
            with theirs:
                self.id = host.fork(theirs)
        except OSError as error:
            self._pages.close()
            host.end()
            raise ReaderUnavailable(f"no reader process can be started ({error})") from error

    @property
    def usable(self) -> bool:
        """False once the worker was ended, or when a fresh one is due."""
        return not (self._ended or self._worn) and self._host.alive

    def read(self, request: PageRequest, body: bytes, given_up: Callable[[], bool]) -> Extracted:
        """What the page says. `given_up` is asked while it is read.

        Raises WorkerLost, and GivenUp once `given_up` says so.
        """
        header = request.encoded()
        deadline = monotonic() + request.seconds * _WALL_SHARE
        frame = REQUEST.pack(len(header), len(body)) + header
        try:
            self._send(memoryview(frame), deadline, given_up)
            self._send(memoryview(body), deadline, given_up)
            (length,) = ANSWER.unpack(self._received(ANSWER.size, deadline, given_up))
            # A character takes at most six bytes in JSON.
            if length > 6 * request.limits.characters + 100_000:
                raise WorkerLost("its reader answers without end")
            answer: dict[str, Any] = json.loads(self._received(length, deadline, given_up))
        except TimeoutError:
            self.end()
            raise WorkerLost(_too_slow(request)) from None
        except OSError as error:
            raise self._loss(request) from error
        except (GivenUp, WorkerLost):
            self.end()
            raise
        self._worn = answer.pop("held_bytes") > _WORN_SHARE * request.limits.memory_bytes
        return Extracted(**answer)

    def _send(self, data: memoryview, deadline: float, given_up: Callable[[], bool]) -> None:
        self._pages.settimeout(_POLL_SECONDS)
        while data:
            try:
                data = data[self._pages.send(data) :]
            except TimeoutError:
                _go_on(deadline, given_up)

    def _received(self, length: int, deadline: float, given_up: Callable[[], bool]) -> bytes:
        data = bytearray()
        while len(data) < length:
            try:
                piece = self._pages.recv(min(length - len(data), 1 << 20))
            except TimeoutError:
                _go_on(deadline, given_up)
                continue
            if not piece:
                raise ConnectionError("the worker has ended")
            data += piece
        return bytes(data)

    def _loss(self, request: PageRequest) -> WorkerLost:
        """Why the worker ended, as the fault of the page that it was reading."""
        status = self._ending()
        if status == -signal.SIGPROF:
            return WorkerLost(_too_slow(request))
        if status is None or status >= 0:
            return WorkerLost("ended its reader")
        cause = signal.strsignal(-status)
        return WorkerLost(
            f"{too_large(request.limits)}, or breaks its reader ({cause})",
            by_others=status == -signal.SIGKILL,
        )

    def _ending(self) -> int | None:
        """How a worker that has closed its socket ended; None where that is not known."""
        if not self._close():
            return None
        with contextlib.suppress(OSError):
            return self._host.wait(self.id)
        return None

    def end(self) -> None:
        """Kill the worker. Safe to call again."""
        if self._close():
            with contextlib.suppress(OSError):
                self._host.forget(self.id)

    def _close(self) -> bool:
        """Kill the worker and close its socket; False where that was done before."""
        with self._lock:
            if self._ended:
                return False
            self._ended = True
        with contextlib.suppress(OSError):
            # Its id is its own until the host has waited for it.
            os.kill(self.id, signal.SIGKILL)
        self._pages.close()
        return True


def _go_on(deadline: float, given_up: Callable[[], bool]) -> None:
    if given_up():
        raise GivenUp
    if monotonic() > deadline:
        raise TimeoutError


def _too_slow(request: PageRequest) -> str:
    return f"takes more than {request.seconds:g} s to read"


def _environment() -> dict[str, str]:
    """What Python needs to import what this process imports, and no key of the user's."""
    variables = {
        name: value
        for name, value in os.environ.items()
        if name in _INHERITED or name.startswith(_INHERITED_PREFIXES)
    }
    # An empty entry is the working folder.
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100
    return variables | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
