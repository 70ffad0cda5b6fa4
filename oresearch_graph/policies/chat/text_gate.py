"""What a listener hears of a stream: protocol text only, as far as can be told while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oresearch_graph.policies.chat.endings import stop_end
from oresearch_graph.threads import Thread
from oresearch_graph.trace.tags import open_tag

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
