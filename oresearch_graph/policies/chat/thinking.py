"""Where a model's own thinking goes: a researcher's becomes the `think` of its turn unless it
wrote one; everybody else's is kept beside the text."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from oresearch_graph.threads import Thread
from oresearch_graph.trace.escaping import PROTOCOL_TAGS

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_ANY_TAG: Final = re.compile(f"</?({'|'.join(PROTOCOL_TAGS)})>")
_SUBTASK: Final = re.compile(r"\s*<subtask>.*?</subtask>", re.DOTALL)


class Thought(NamedTuple):
    """Protocol text, and the thinking that is not part of it."""

    text: str
    reasoning: str | None


def place_thinking(thread: Thread, text: str, shown: str | None) -> Thought:
    """Text as the protocol has it; `shown` is the thinking that the provider delivers apart."""
    continues = thread.forced is not None or bool(thread.pending)
    inline, rest = (None, text) if thread.pending else _leading_think(text)
    if thread.role != "researcher" or continues:
        return Thought(rest, _joined(shown, inline))
    subtask = _SUBTASK.match(rest)
    cut = subtask.end() if subtask else 0
    if rest[cut:].lstrip().startswith(_OPEN):
        return Thought(rest, _joined(shown, inline))
    if inline is not None and subtask is None:
        return Thought(_with_open(text), shown)
    thinking = _joined(shown, inline)
    if thinking is None:
        return Thought(text, None)
    return Thought(rest[:cut] + _as_element(thinking) + rest[cut:], None)


def _leading_think(text: str) -> tuple[str | None, str]:
    """The think that precedes everything, and what follows it.

    Chat templates of some reasoning models open the tag themselves: then only its close is there.
    """
    first = _ANY_TAG.search(text)
    if first is None or first[1] != "think":
        return None, text
    opened = first[0] == _OPEN
    if opened and text[: first.start()].strip():
        return None, text
    close = text.find(_CLOSE)
    if close < 0:
        return None, text
    start = first.end() if opened else 0
    return text[start:close], text[close + len(_CLOSE) :]


def _with_open(text: str) -> str:
    return text if text.lstrip().startswith(_OPEN) else _OPEN + text


def _joined(*parts: str | None) -> str | None:
    kept = [part.strip() for part in parts if part and part.strip()]
    return "\n\n".join(kept) or None


def _as_element(thinking: str) -> str:
    """A think step. Tags that the thinking mentions lose their brackets: they are no elements."""
    return f"\n{_OPEN}{_ANY_TAG.sub(lambda tag: tag[0].strip('</>'), thinking)}{_CLOSE}\n"
