"""What OpenAI-compatible servers and their models differ in, for the loopback server of the tests:
kinds of reply, habits, and faults of single requests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Message = dict[str, Any]
Body = dict[str, Any]


@dataclass(frozen=True)
class ToolCalls:
    """A reply that calls tools: (name, arguments) in order, with the text before them."""

    calls: tuple[tuple[str, dict[str, Any] | str], ...]
    """Arguments as a dict, or as a string to be sent as it is (broken JSON)."""
    text: str = ""


@dataclass(frozen=True)
class Thinking:
    """A reply of a reasoning model whose server delivers the thinking apart."""

    reasoning: str
    reply: str | ToolCalls


Brain = Callable[[list[Message], Body], "str | ToolCalls | Thinking"]


@dataclass(frozen=True)
class Habits:
    """What OpenAI-compatible servers differ in."""

    honours_stop: bool = True
    refuses_stop: bool = False
    """Answers 400 to `stop`, as OpenAI's reasoning models do."""
    keeps_stop: bool = True
    """Honours include_stop_str_in_output; else the stop string is always stripped."""
    names_stop: bool = True
    """Says in `stop_reason` which stop string ended the text (vLLM)."""
    on_final_assistant: Literal[
        "continue", "echo", "prefix", "prefix, echo", "restart", "refuse"
    ] = "restart"
    """`continue`: continue_final_message works; `echo`: so it does, without the field as well, and
    the given beginning is returned (llama.cpp; not in a stream); `prefix`: where the message says
    so, and other fields are refused (DeepSeek; with `echo` Mistral); `restart`: the field is
    ignored and the model answers anew; `refuse`: 400."""
    echoes_stream: bool = False
    """With `echo`: in a stream too."""
    tool_calling: bool = True
    usage: bool = True
    ignores_bound: bool = False
    """Writes on beyond max_tokens."""
    finish: str | None = None
    """The `finish_reason` of every answer, whatever ended it."""
    refusal: str | None = None
    """Delivered as the message's `refusal`, with empty content."""
    objects: bool = False
    """Arguments of tool calls are objects, not strings that hold one."""
    piece: int = 12
    """Characters in one streamed piece."""
    latency: float = 0.0


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request."""

    kind: Literal["status", "hang", "cut", "silence", "empty_choices", "garbage", "drop"]
    """`hang`: no answer at all; `cut`: a stream that ends midway; `silence`: a stream that goes
    quiet; `drop`: the connection is closed without an answer."""
    status: int = 500
    retry_after: str | None = None
    body: dict[str, Any] | str | None = None
    """A string is sent as plain text."""
    seconds: float = 5.0


def too_many(retry_after: str | None = "0") -> Fault:
    return Fault("status", 429, retry_after)
