"""What a listener hears of a stream: protocol text only, as far as can be told while it arrives."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from oresearch_graph.policies.endings import stop_end
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
        self._held = ""
        self._started = self._stopped = False
        self._tail = ""
        self._tail_length = max(map(len, stop), default=1) - 1

    def __call__(self, piece: str) -> None:
        if self._started:
            self._pass(piece)
            return
        self._held += piece
        if self._opening_is_known():
            self._started = True
            self._pass(self._held)

    def _opening_is_known(self) -> bool:
        """Drops from the held text what is not protocol text; False while more must be heard."""
        text = self._held.lstrip()
        if self._skips_think and text.startswith(_OPEN):
            _, closed, text = text.partition(_CLOSE)
            if not closed:
                return False
            self._held, self._skips_think = text, False
            text = text.lstrip()
        if self._repeat and text.startswith(self._repeat):
            self._held, self._repeat = text[len(self._repeat) :], None
            return bool(self._held)
        possible = [_OPEN] if self._skips_think else []
        possible += [self._repeat] if self._repeat else []
        return bool(text) and not any(tag.startswith(text) for tag in possible)

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
