"""The process in which strangers' pages are read: `python -m oresearch_graph.tools.reader_worker`.

It takes one page at a time on standard input and answers on standard output, under limits that the
kernel holds. A page may freeze it, fill its memory or crash it: the pool that started it notices,
ends it and goes on with another. It is given no keys: its environment is what Python needs.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, Final

from oresearch_graph.tools.extract import Extracted, extract, page_kind
from oresearch_graph.tools.html_text import load_article_reader

FRAME: Final = struct.Struct(">II")
"""Before each request: length of its JSON header and of the page's bytes."""
ANSWER: Final = struct.Struct(">I")
"""Before each answer: length of its JSON."""
INTERRUPT: Final = signal.SIGUSR1
"""Sent to give up the page in work; the worker stays."""
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
    """The header of a request; the page's bytes follow it."""

    media_type: str
    charset: str | None = None
    url: str | None = None
    fast: bool = False
    limits: PageLimits = PageLimits()

    def encoded(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decoded(cls, header: bytes) -> PageRequest:
        values: dict[str, Any] = json.loads(header)
        return cls(**{**values, "limits": PageLimits(**values["limits"])})


class _GivenUp(BaseException):
    """The pool wants the worker back. Raised where the reading stands; no library catches it."""


class _ArticleTime(BaseException):
    """The time to look for the article is over."""


_RAISED: Final = {INTERRUPT: _GivenUp, signal.SIGPROF: _ArticleTime}


class _Interruption:
    """Signals that end the reading in work, and nothing else."""

    def __init__(self) -> None:
        self._armed = False
        for number in _RAISED:
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 (a handler's)
        if self._armed:
            self._armed = False
            raise _RAISED[signal.Signals(number)]

    @contextmanager
    def allowed(self, cpu_seconds: float | None = None) -> Iterator[None]:
        """A block that the pool, or the end of `cpu_seconds`, may interrupt."""
        self._armed = True
        try:
            if cpu_seconds is not None:
                signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
            yield
        finally:
            self._armed = False
            signal.setitimer(signal.ITIMER_PROF, 0.0)


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more."""
    interruption = _Interruption()
    _send(answers, {"ready": os.getpid()})
    while frame := requests.read(FRAME.size):
        header_length, body_length = FRAME.unpack(frame)
        request = PageRequest.decoded(requests.read(header_length))
        body = requests.read(body_length)
        answer = _answer(request, body, interruption)
        _send(answers, answer | {"held_bytes": _held_bytes()})


def _answer(request: PageRequest, body: bytes, interruption: _Interruption) -> dict[str, Any]:
    def read(*, fast: bool) -> Extracted:
        return extract(
            body, request.media_type, request.charset, request.url,
            fast=fast, characters=request.limits.characters,
        )  # fmt: skip

    limit_cpu(request.limits.cpu_seconds)
    try:
        if not request.fast and page_kind(body, request.media_type) == "html":
            load_article_reader()  # half a second, once: not the page's doing
            limit_cpu(request.limits.cpu_seconds)
            with (
                suppress(_ArticleTime, MemoryError, RecursionError),
                interruption.allowed(request.limits.article_seconds),
            ):
                return read(fast=False)._asdict()
        with interruption.allowed():
            return read(fast=True)._asdict()
    except _GivenUp:
        return {"given_up": True}
    except MemoryError:
        return Extracted(fault=too_large(request.limits))._asdict()
    except Exception as error:  # noqa: BLE001 - whatever a parser trips over is the page's fault
        return Extracted(fault=f"cannot be read ({type(error).__name__})")._asdict()


def too_large(limits: PageLimits) -> str:
    """The fault of a page whose reading does not fit the memory."""
    return f"takes more than {limits.memory_bytes / 1e6:.0f} MB of memory to read"


def limit_cpu(seconds: float) -> None:
    """The kernel ends this process when it has used so much more CPU time."""
    spent = time.process_time()
    _limit(resource.RLIMIT_CPU, int(spent + seconds) + 1)


def _limit(kind: int, most: int) -> None:
    # Only the soft limit: the hard one could not be raised for the next page.
    with suppress(OSError, ValueError):  # a system without such a limit
        resource.setrlimit(kind, (most, resource.getrlimit(kind)[1]))


def _held_bytes() -> int:
    """Address space in use; 0 where the system does not say. What lxml and pdfium were given they
    seldom give back."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[0]
    except OSError:
        return 0
    return int(pages) * resource.getpagesize()


def _send(answers: BinaryIO, answer: dict[str, Any]) -> None:
    written = json.dumps(answer, ensure_ascii=False).encode("utf-8", "replace")
    answers.write(ANSWER.pack(len(written)) + written)
    answers.flush()


def _end_with(parent: int) -> None:
    """Have the kernel end this process with the one that started it, where it can."""
    with suppress(OSError, AttributeError):
        prctl: Callable[..., int] = ctypes.CDLL(None).prctl
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


def main(parent: int, memory_bytes: int) -> None:
    """Serve the process `parent` on the standard streams."""
    _end_with(parent)
    os.nice(_NICENESS)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, memory_bytes)
    # trafilatura would load numpy for a language filter that is not used: half of its import.
    sys.modules["py3langid"] = None  # type: ignore[assignment]  # Python's way to block an import
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # What a library prints goes nowhere: standard output belongs to the answers.
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    serve(requests, answers)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
