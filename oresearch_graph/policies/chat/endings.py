"""Where a continuation ends, and what a listener hears of its stream until then."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from oresearch_graph.policies.chat.reply import Reply
from oresearch_graph.policies.policy import StopCause
from oresearch_graph.threads import Thread
from oresearch_graph.trace.escaping import PROTOCOL_TAGS
from oresearch_graph.trace.tags import close_tag, open_tag

EndCause = StopCause | Literal["think"]
"""`think`: the text ends inside an open think, which is no end: the thinking goes on."""


class Ending(NamedTuple):
    """A piece of policy text up to and including its stop tag."""

    text: str
    stop: EndCause
    closed_by_world: bool = False


def stop_end(text: str, stop: Sequence[str]) -> int | None:
    """Where the first stop tag in the text ends."""
    ends = [at + len(tag) for tag in stop if (at := text.find(tag)) >= 0]
    return min(ends, default=None)


def unclosed_element(text: str, stop: Sequence[str]) -> str | None:
    """The tag of the element that stands open at the end of the text."""
    return _scan(text, 0, stop).opened


class _Scan(NamedTuple):
    opened: str | None
    """The element that stands open at the end."""
    inner: str | None
    """The last tag that was opened inside that element and not closed."""
    end: int | None
    """Where the first stop tag ends that is not inside an open think."""


def _scan(text: str, start: int, stop: Sequence[str]) -> _Scan:
    """The elements of the text, up to its first stop tag that begins at `start` or behind it."""
    names = dict.fromkeys((*PROTOCOL_TAGS, *(tag[2:-1] for tag in stop)))
    pattern = re.compile(f"<(/?)({'|'.join(map(re.escape, names))})>")
    opened, inner = None, None
    for match in pattern.finditer(text):
        closing, name = match[1], match[2]
        if closing and match.start() >= start and match[0] in stop and opened != "think":
            return _Scan(None, None, match.end())
        if opened is None and not closing:
            opened = name
        elif closing and name == opened:
            opened = inner = None
        elif opened is not None:
            inner = None if closing else name
    return _Scan(opened, inner, None)


def end_of(before: str, text: str, stop: Sequence[str], reply: Reply) -> Ending:
    """The text cut after its first stop tag, or with the stop tag that the server ate put back.

    `before` is what the policy continues: an open answer tag, text that was cut.
    """
    scan = _scan(before + text, len(before), stop)
    if scan.end is not None:
        return Ending(text[: scan.end - len(before)], "stop")
    if reply.finish == "length":
        return Ending(text, "length")
    if scan.opened == "think":
        return _inside_think(text, scan.inner, stop, reply)
    if reply.stop_string in stop:
        return Ending(text + str(reply.stop_string), "stop", closed_by_world=True)
    opened = close_tag(scan.opened) if scan.opened else ""
    if reply.finish == "stop" and not reply.ended and opened in stop:
        return Ending(text + opened, "stop", closed_by_world=True)
    return Ending(text, "end")


def _inside_think(text: str, inner: str | None, stop: Sequence[str], reply: Reply) -> Ending:
    """The end of a text whose think is open: what the thinking mentions is neither call nor end."""
    if any(text.endswith(tag) for tag in stop):
        return Ending(text, "think")
    if reply.stop_string in stop:
        return Ending(text + str(reply.stop_string), "think")
    eaten = close_tag(inner) if inner else ""
    if reply.finish == "stop" and not reply.ended and eaten in stop:
        return Ending(text + eaten, "think")
    return Ending(text, "end")


def without_echo(beginning: str, text: str) -> str:
    """The continuation alone, where the server returns the given beginning with it.

    llama.cpp's server does so, except in a stream.
    """
    bare = beginning.lstrip()
    head = text.lstrip()
    return head[len(bare) :] if bare and head.startswith(bare) else text


class EchoGate:
    """Passes a stream's pieces on, without the given beginning at its head. Linear in the text."""

    def __init__(self, beginning: str, on_text: Callable[[str], None]) -> None:
        self._beginning, self._on_text = beginning, on_text
        self._at: int | None = 0
        """How much of the beginning was heard; None once it is over."""

    def __call__(self, piece: str) -> None:
        if self._at is None:
            self._on_text(piece)
            return
        rest = len(self._beginning) - self._at
        if self._beginning.startswith(piece[:rest], self._at):
            self._at += min(rest, len(piece))
            piece = piece[rest:]
            if self._at < len(self._beginning):
                return
        else:
            piece = self._beginning[: self._at] + piece
        self._at = None
        if piece:
            self._on_text(piece)


_OPEN, _CLOSE = "<think>", "</think>"


class TextGate:
    """Passes pieces on, without a leading inline think, a repeated open tag, or what follows the
    stop tag. A try that fails midway is followed by the pieces of the next one from its start."""

    def __init__(self, thread: Thread, stop: Sequence[str], on_text: Callable[[str], None]) -> None:
        self._stop, self._on_text = tuple(stop), on_text
        self._skips_think = thread.role != "researcher" and not thread.pending
        self._repeat = open_tag(thread.forced) if thread.forced and not thread.pending else None
        self._blanks: list[str] = []
        """White space heard before anything else."""
        self._held = ""
        """What follows it, while that may become a tag; of a thought its last characters."""
        self._thinks = self._started = self._stopped = False
        self._tail = ""
        self._tail_length = max(map(len, stop), default=1) - 1

    def __call__(self, piece: str) -> None:
        if self._thinks:
            heard = self._held + piece
            _, closed, piece = heard.partition(_CLOSE)
            self._thinks = not closed
            self._held = "" if closed else heard[1 - len(_CLOSE) :]
        if self._started:
            self._pass(piece)
        elif not self._thinks:
            self._open(piece)

    def _open(self, piece: str) -> None:
        """Drops from the opening what is not protocol text, and waits while more must be heard."""
        text = self._held + piece if self._held else piece.lstrip()
        self._blanks += [] if self._held else [piece[: len(piece) - len(text)]]
        self._held = text
        if self._skips_think and text.startswith(_OPEN):
            self._skips_think, self._thinks, self._held, self._blanks = False, True, "", []
            self(text[len(_OPEN) :])
        elif self._repeat and text.startswith(self._repeat):
            rest = text[len(self._repeat) :]
            self._repeat, self._held, self._blanks, self._started = None, "", [], bool(rest)
            self._pass(rest)
        else:
            possible = [_OPEN] if self._skips_think else []
            possible += [self._repeat] if self._repeat else []
            self._started = bool(text) and not any(tag.startswith(text) for tag in possible)
            if self._started:
                self._pass("".join([*self._blanks, text]))

    def _pass(self, piece: str) -> None:
        if self._stopped or not piece:
            return
        end = stop_end(self._tail + piece, self._stop)
        if end is not None:
            self._stopped = True
            piece = piece[: end - len(self._tail)]
        self._on_text(piece)
        if self._tail_length:
            self._tail = (self._tail + piece)[-self._tail_length :]
