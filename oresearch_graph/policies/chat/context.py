"""What a model's server holds at one time: the tokens of one request, as far as they are known,
and the slot that each thread has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from langchain_core.messages import BaseMessage

from oresearch_graph.errors import PolicyOverflow
from oresearch_graph.policies.chat.model_faults import ANY_LONGER, LONGER
from oresearch_graph.policies.chat.reply import Reply
from oresearch_graph.policies.chat.servers import Server
from oresearch_graph.text.words import token_count

_LEAST: Final = 64
"""Tokens of a reply; with fewer a request is not worth sending."""
_SHARE: Final = 8
"""Of a context, which part a text that is begun must have."""
_FRAMED: Final = 300
"""Tokens of a prompt beside which a template's own count for little."""
_FRAME: Final = 4
"""Tokens that a chat template puts around a message."""
_DENSEST: Final = 4.0
"""Of a model's tokens in one of ours: scripts that it hardly knows."""
_WORD: Final = re.compile(r"[A-Za-z]\S*")
_FULL: Final = 0.95
"""Of a context, that a cut prompt takes."""
_LEAST_CONTEXT: Final = 1_024
"""Tokens; a smaller count is what a cache left to read."""


class ContextWindow:
    """Tokens that one request to a model may hold, and how its server counts them."""

    def __init__(self, model: str) -> None:
        self._model = model
        self.tokens: int | None = None
        """As a refusal or a cut prompt showed; what the server says of itself comes first."""
        self._scale = 1.2
        """How many of the model's tokens we count as one, at most."""
        self._short_count: int | None = None
        """Tokens of the last prompt that the server counted to less than it has."""

    def estimate(self, messages: Sequence[BaseMessage]) -> int:
        """The model's tokens of the messages, at most."""
        return round(self._scale * _counted(messages))

    def learn(self, messages: Sequence[BaseMessage], reply: Reply) -> None:
        """How the server counts tokens."""
        ours = _counted(messages)
        if reply.prompt_tokens is not None and ours >= _FRAMED:
            self._scale = min(_DENSEST, max(self._scale, reply.prompt_tokens / ours))

    def room(self, messages: Sequence[BaseMessage], server: Server, *, begins: bool) -> int | None:
        """Tokens that are left for the reply; None where that is not known. `begins`: a text is
        begun, not continued.

        Raises PolicyOverflow where that is too little: the server would refuse, or cut.
        """
        if (context := server.context or self.tokens) is None:
            return None
        prompt = self.estimate(messages)
        if (room := context - prompt) < (context // _SHARE if begins else _LEAST):
            raise PolicyOverflow(
                f"{self._model}: about {prompt:,} tokens leave no room in a context of "
                f"{context:,}; {LONGER.get(server.kind, ANY_LONGER)}",
                context=context, prompt=prompt,
            )  # fmt: skip
        return room

    def cut(
        self, messages: Sequence[BaseMessage], reply: Reply, server: Server
    ) -> PolicyOverflow | None:
        """The overflow that a server hides by cutting the prompt, as Ollama does at `num_ctx`.

        A prompt has more tokens than words, in any script that has words. A count below that may
        as well be of what was not cached; it is of a cut prompt where it is at the context that the
        server tells, where the words alone are beyond that, or where two prompts were counted
        the same.
        """
        if not self.counts_short(messages, reply):
            return None
        counted, words = _count(reply), _words(messages)
        context, before, self._short_count = server.context, self._short_count, counted
        again = before is not None and abs(counted - before) <= before // 100
        if context is None and again and counted >= _LEAST_CONTEXT:
            context = self.tokens = counted
        if context is None or (words <= context and counted < _FULL * context):
            return None
        return PolicyOverflow(
            f"{self._model}: the server cut the prompt in silence, to {counted} of more than "
            f"{words} tokens: {LONGER.get(server.kind, ANY_LONGER)}",
            context=context,
        )

    def counts_short(self, messages: Sequence[BaseMessage], reply: Reply) -> bool:
        """The server counted fewer tokens than the prompt has words."""
        return bool(reply.prompt_tokens) and _count(reply) < _words(messages)


class Slots:
    """Which slot of llama.cpp's server each thread has. Left to itself the server gives a new
    thread the slot of one with the same system prompt; all else that stood there is lost, unless it
    has a cache in memory beside its slots, as newer ones have (--cache-ram)."""

    def __init__(self) -> None:
        self._by_thread: dict[str, int] = {}
        """The thread that waits longest for its next call is first."""
        self._free: list[int] | None = None

    def fields(self, thread_id: str, server: Server) -> dict[str, int]:
        """The request field that keeps a thread in one slot of its server, where it has several."""
        if server.kind != "llama.cpp" or server.slots is None or server.slots == 1:
            return {}
        return {"id_slot": self.take(thread_id, server.slots)}

    def leave(self, thread_id: str) -> None:
        """The thread is over."""
        if self._free is not None and thread_id in self._by_thread:
            self._free.append(self._by_thread.pop(thread_id))

    def take(self, thread_id: str, slots: int) -> int:
        """The thread's slot of so many: a free one, else that of the thread that waits longest."""
        if self._free is None:
            self._free = list(reversed(range(slots)))
        slot = self._by_thread.pop(thread_id, None)
        if slot is None:
            oldest = next(iter(self._by_thread), "")
            slot = self._free.pop() if self._free else self._by_thread.pop(oldest, 0)
        self._by_thread[thread_id] = slot
        return slot


def _counted(messages: Sequence[BaseMessage]) -> int:
    """Tokens of the messages, their tool calls among them, as we count."""
    texts = (f"{message.text}{getattr(message, 'tool_calls', None) or ''}" for message in messages)
    return sum(map(token_count, texts)) + _FRAME * len(messages)


def _words(messages: Sequence[BaseMessage]) -> int:
    return sum(1 for message in messages for _ in _WORD.finditer(str(message.text)))


def _count(reply: Reply) -> int:
    return (reply.prompt_tokens or 0) + (reply.cached_tokens or 0)
