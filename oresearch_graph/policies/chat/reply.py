"""What a chat model's message says, whoever the provider is: text, thinking, tool calls, why it
ended, what it cost; and where its own thinking goes in a thread."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

from langchain_core.messages import AIMessage

from oresearch_graph.threads import Thread
from oresearch_graph.trace.escaping import PROTOCOL_TAGS
from oresearch_graph.trace.tags import close_tag, open_tag, parse_policy_text

_OPEN: Final = "<think>"
_CLOSE: Final = "</think>"
_ANY_TAG: Final = re.compile(f"</?({'|'.join(PROTOCOL_TAGS)})>")
_SUBTASK: Final = re.compile(r"\s*<subtask>.*?</subtask>", re.DOTALL)
Finish = Literal["stop", "length", "filter", "fault"]
"""`fault`: the provider broke the reply off; nothing but the other three is an end."""
_FINISH_KEYS: Final = ("finish_reason", "stop_reason", "done_reason", "stopReason")
_STOPPED: Final = frozenset((
    "stop", "end_turn", "tool_calls", "tool_call", "tool_use", "function_call", "complete",
    "completed", "finish", "finished", "normal", "done", "eos", "eos_token", "endoftext",
    "end_of_text", "end_of_turn", "eosfound", "stop_sequence", "stop_criteria_met",
    "stopstringfound", "toolcalls",
))  # fmt: skip
_LENGTH: Final = frozenset((
    "length", "max_tokens", "max_output_tokens", "max_output", "model_length", "token_limit",
    "error_limit", "limit", "model_context_window_exceeded", "maxpredictedtokensreached",
    "contextlengthreached", "pause_turn",
))  # fmt: skip
"""`pause_turn`: Anthropic's, for a reply that is to be continued."""
_FILTER: Final = frozenset((
    "content_filter", "content_filtered", "contentfilter", "safety", "refusal", "sensitive",
    "recitation", "language", "blocklist", "prohibited_content", "spii", "image_safety",
    "model_armor", "error_toxic", "guardrail_intervened", "guardrails", "guardrail", "blocked",
    "moderation", "content_policy", "content_policy_violation", "flagged",
))  # fmt: skip
"""Names by OpenAI, Azure, Anthropic, Google, Mistral, Cohere, Bedrock, Zhipu, TGI, watsonx."""


class Thought(NamedTuple):
    """Protocol text, and the thinking that is not part of it."""

    text: str
    reasoning: str | None


def place_thinking(thread: Thread, text: str, reasoning: str | None) -> Thought:
    """Text as the protocol has it; `shown` is the thinking that the provider delivers apart."""
    continues = thread.forced is not None or bool(thread.pending)
    inline, rest = (None, text) if thread.pending else _leading_think(text)
    if thread.role != "researcher" or continues:
        return Thought(rest, _joined(reasoning, inline))
    subtask = _SUBTASK.match(rest)
    cut = subtask.end() if subtask else 0
    if rest[cut:].lstrip().startswith(_OPEN):
        return Thought(rest, _joined(reasoning, inline))
    if inline is not None and subtask is None:
        return Thought(_with_open(text), reasoning)
    thinking = _joined(reasoning, inline)
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
    texts = [part.strip() for part in parts if part and part.strip()]
    return "\n\n".join(texts) or None


def _as_element(thinking: str) -> str:
    """A think step. Tags that the thinking mentions lose their brackets: they are no elements."""
    return f"\n{_OPEN}{_ANY_TAG.sub(lambda tag: tag[0].strip('</>'), thinking)}{_CLOSE}\n"


def protocol_text(thread: Thread, stop: Sequence[str], reasoning: str) -> str | None:
    """What a server delivered as thinking although it is the answer: the tags that are asked for
    stand in it. None where it is thinking indeed; a call that prose comes before is a mention.
    """
    names = [tag[2:-1] for tag in stop]
    if thread.forced and close_tag(thread.forced) in reasoning:
        return reasoning
    for step in parse_policy_text(reasoning, [n for n in names if n not in PROTOCOL_TAGS]):
        if step.tag in names:
            return reasoning
        if not (step.closed and step.kind in _BEFORE_CALLS) and step.text.strip():
            break
    for name in names:
        before, opened, rest = reasoning.rpartition(open_tag(name))
        at_line_start = not before.rpartition("\n")[2].strip()
        if opened and at_line_start and name in _ANSWERS:
            return f"{_as_element(before.strip())}{opened}{rest}"
    return None


_BEFORE_CALLS: Final = frozenset(("think", "plan", "subtask"))
_ANSWERS: Final = frozenset(("subtask_list", "subtask_answer", "suggested_answer"))


class NativeCall(NamedTuple):
    """A tool call as the provider delivers it."""

    name: str
    arguments: dict[str, Any] | None
    """None when the model wrote arguments that are no JSON object."""
    raw: str = ""
    """Those arguments as written."""


class Pace(NamedTuple):
    """Tokens a second."""

    tokens: float
    """Of the reply."""
    prompt: float | None = None
    """Of what the server read anew of the prompt."""


class Reply(NamedTuple):
    """One answer of a chat model."""

    text: str
    reasoning: str | None = None
    """Thinking that the provider delivers outside the text."""
    calls: tuple[NativeCall, ...] = ()
    finish: Finish | None = None
    """None: the provider did not say why it ended."""
    end: str = ""
    """Why, in the provider's word."""
    stop_string: str | None = None
    """The stop string that ended the text, where the server names it."""
    ended: bool = False
    """The server says that no stop string ended the text."""
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    pace: Pace | None = None
    """As the server tells it."""


def read_message(message: AIMessage) -> Reply:
    """The reply in a message, whole or merged from a stream."""
    metadata = message.response_metadata
    stop_string, ended = _stop_string(metadata)
    prompt, cached, completion = _tokens(message)
    return Reply(
        text=str(message.text),
        reasoning=_reasoning(message),
        calls=_calls(message),
        finish="filter" if _refused(message) else _finish(metadata),
        end=_end(metadata) or "",
        stop_string=stop_string,
        ended=ended,
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        pace=_pace(metadata.get("timings")),
    )


_READ: Final = 16
"""Tokens of a prompt from which on its reading tells a pace."""


def _pace(timings: object) -> Pace | None:
    """What llama.cpp's server tells of each request."""
    if not isinstance(timings, Mapping):
        return None
    written, read, count = map(
        timings.get, ("predicted_per_second", "prompt_per_second", "prompt_n")
    )
    if not isinstance(written, int | float) or not 0 < written < 1e6:
        return None
    told = isinstance(count, int) and count >= _READ and isinstance(read, int | float) and read > 0
    return Pace(float(written), float(cast("float", read)) if told else None)


def _refused(message: AIMessage) -> bool:
    """A refusal is told apart from the reason (OpenAI), or the prompt's alone (Google)."""
    if str(message.text).strip() or message.tool_calls:
        return False
    feedback = message.response_metadata.get("prompt_feedback")
    blocked = feedback.get("block_reason") if isinstance(feedback, Mapping) else None
    blocks = message.content if isinstance(message.content, list) else []
    refusals = (isinstance(each, Mapping) and each.get("type") == "refusal" for each in blocks)
    return bool(message.additional_kwargs.get("refusal") or blocked or any(refusals))


def _end(metadata: Mapping[str, Any]) -> str | None:
    reason = next((value for key in _FINISH_KEYS if (value := metadata.get(key))), None)
    if metadata.get("status") == "incomplete":  # OpenAI's Responses API
        reason = (metadata.get("incomplete_details") or {}).get("reason")
    elif reason is None and metadata.get("status") in {"completed", "failed", "cancelled"}:
        reason = metadata["status"]
    return reason if isinstance(reason, str) else None


def _finish(metadata: Mapping[str, Any]) -> Finish | None:
    if (reason := _end(metadata)) is None:
        return None
    name = reason.lower().rpartition(".")[2].removeprefix("finish_reason_")
    half = name[: len(name) // 2]
    name = half if half + half == name else name  # said in two chunks of a stream, and merged
    if name in _LENGTH:
        return "length"
    if name in _FILTER or "content_filter" in name:
        return "filter"
    return "stop" if name in _STOPPED else "fault"


def _stop_string(metadata: Mapping[str, Any]) -> tuple[str | None, bool]:
    """vLLM names it `stop_reason`, SGLang `matched_stop`, Anthropic `stop_sequence`.

    vLLM's null, and a token id in its place, mean that the model ended by itself.
    """
    for key in ("stop_reason", "matched_stop", "stop_sequence"):
        if key in metadata and "finish_reason" in metadata:
            value = metadata[key]
            return (value, False) if isinstance(value, str) else (None, True)
    value = metadata.get("stop_sequence")
    return (value if isinstance(value, str) else None), metadata.get("stop_reason") == "end_turn"


def _reasoning(message: AIMessage) -> str | None:
    reasoning = ""
    if isinstance(message.content, list):
        reasoning = "".join(
            str(block.get("reasoning", ""))
            for block in message.content_blocks
            if block["type"] == "reasoning"
        )
    if not reasoning:
        content = message.additional_kwargs.get("reasoning_content")
        reasoning = content if isinstance(content, str) else ""
    return reasoning if reasoning.strip() else None


def _calls(message: AIMessage) -> tuple[NativeCall, ...]:
    sound = [NativeCall(call["name"], call["args"]) for call in message.tool_calls]
    broken = [
        NativeCall(call.get("name") or "", None, call.get("args") or "")
        for call in message.invalid_tool_calls
    ]
    return tuple(sound + broken)


def _tokens(message: AIMessage) -> tuple[int | None, int | None, int | None]:
    usage = message.usage_metadata
    if usage is None:
        return None, None, None
    cached = (usage.get("input_token_details") or {}).get("cache_read")
    return usage["input_tokens"], cached, usage["output_tokens"]
