"""The processes in which strangers' pages are read.

What is started (`python -m oresearch_graph.tools.reading.worker`) is the host. It has everything
imported and reads nothing: it forks a worker for whoever asks, so that a page which freezes, fills
or crashes its worker costs the next one no more than a fork. A worker reads pages from its own
socket, one at a time, under limits that the kernel holds. Neither is given a key: their environment
is what Python needs.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from oresearch_graph.tools.reading.extract import Extracted, extract

REQUEST: Final = struct.Struct(">II")
"""Before a page: length of its JSON header and of its bytes."""
ANSWER: Final = struct.Struct(">I")
"""Before each answer: length of its JSON."""
NUMBER: Final = struct.Struct(">i")
"""What the host reads and answers: 0 with a socket for a new worker, answered by its process id;
the id of one that has ended, answered by how (os.waitstatus_to_exitcode); or minus the id of one
that was killed, which is not answered."""
_REAP_SECONDS: Final = 0.2
_OWN_PAGE: Final = b"<html><body><article><h1>Tides</h1><p>Tides rise twice a day.</p></article>"
_NICENESS: Final = 10
_PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True)
class PageLimits:
    """What the reading of one page may take."""

    article_seconds: float = 3.0
    """CPU time to look for a page's article; after that all of its main part is taken."""
    cpu_seconds: float = 8.0
    memory_bytes: int = 1_000_000_000
    """Address space of a worker."""
    characters: int = 3_000_000
    """Of the text; what comes after is left out and marked."""


@dataclass(frozen=True)
class PageRequest:
    """The header of a page; its bytes follow."""

    media_type: str
    charset: str | None = None
    url: str | None = None
    fast: bool = False
    """Without looking for an article, which only HTML has."""
    limits: PageLimits = PageLimits()

    @property
    def seconds(self) -> float:
        return self.limits.cpu_seconds if self.fast else self.limits.article_seconds

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, header: bytes) -> PageRequest:
        values: dict[str, Any] = json.loads(header)
        return cls(**{**values, "limits": PageLimits(**values["limits"])})


def host(control: socket.socket) -> None:
    """Fork workers, and tell how they ended, until nobody asks any more."""
    control.sendall(NUMBER.pack(os.getpid()))
    killed: list[int] = []
    while True:
        # To free a gigabyte takes a while, and the next worker does not wait for it.
        killed = [process for process in killed if os.waitpid(process, os.WNOHANG)[0] == 0]
        control.settimeout(_REAP_SECONDS if killed else None)
        try:
            request, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1)
        except TimeoutError:
            continue
        if not request:
            return
        (process,) = NUMBER.unpack(request)
        if process < 0:
            killed.append(-process)
            continue
        if process:
            _, status = os.waitpid(process, 0)
            control.sendall(NUMBER.pack(os.waitstatus_to_exitcode(status)))
            continue
        here = os.getpid()
        process = os.fork()
        if process == 0:
            control.close()
            end_with_parent(here)
            with socket.socket(fileno=descriptors[0]) as pages:
                work(pages)
            os._exit(0)
        os.close(descriptors[0])
        control.sendall(NUMBER.pack(process))


def work(pages: socket.socket) -> None:
    """Answer for every page of the socket."""
    os.nice(_NICENESS)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGPROF])
    with pages.makefile("rb") as requests, pages.makefile("wb") as answers:
        while frame := requests.read(REQUEST.size):
            header_length, body_length = REQUEST.unpack(frame)
            request = PageRequest.decoded(requests.read(header_length))
            body = requests.read(body_length)
            _limit_memory(request.limits.memory_bytes)
            # At its end the kernel ends this process: nothing in it need be willing.
            signal.setitimer(signal.ITIMER_PROF, request.seconds)
            page = _read(request, body)
            signal.setitimer(signal.ITIMER_PROF, 0.0)
            _send(answers, page._asdict() | {"held_bytes": _held_bytes()})


def _read(request: PageRequest, body: bytes) -> Extracted:
    try:
        return extract(
            body, request.media_type, request.charset, request.url,
            fast=request.fast, characters=request.limits.characters,
        )  # fmt: skip
    except MemoryError:
        return Extracted(fault=too_large(request.limits))
    except Exception as error:  # noqa: BLE001 - whatever a parser trips over is the page's fault
        return Extracted(fault=f"cannot be read ({type(error).__name__})")


def too_large(limits: PageLimits) -> str:
    """The fault of a page whose reading does not fit the memory."""
    return f"takes more than {limits.memory_bytes / 1e6:.0f} MB of memory to read"


def _limit_memory(most: int) -> None:
    with suppress(OSError, ValueError):  # a system without such a limit
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _held_bytes() -> int:
    """Address space in use; 0 where the system does not say. What lxml and pdfium were given they
    seldom give back."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _send(answers: BinaryIO, answer: dict[str, Any]) -> None:
    line = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
    answers.write(ANSWER.pack(len(line)) + line)
    answers.flush()


def end_with_parent(parent: int) -> None:
    """Have the kernel end this process with the one that started it, where it can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def main(parent: int) -> None:
    """Be the host for the process `parent`, by the socket that is standard input."""
    end_with_parent(parent)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # trafilatura would load numpy for a language filter that is not used: half of its import.
    sys.modules["py3langid"] = None  # type: ignore[assignment]  # Python's way to block an import
    extract(_OWN_PAGE, "text/html")  # what is imported and compiled at first use, workers inherit
    import pypdfium2  # type: ignore[import-untyped]  # noqa: F401 - for the workers to find it loaded

    gc.freeze()  # a collection in a worker would touch, and so copy, all that it shares
    with socket.socket(fileno=os.dup(0)) as control:
        # What a library prints goes nowhere.
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        host(control)


if __name__ == "__main__":
    main(int(sys.argv[1]))
