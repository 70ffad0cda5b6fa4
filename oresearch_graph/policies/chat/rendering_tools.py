"""A thread by native tool calling: call steps are tool calls, observations are tool messages,
and the reply's tool calls become protocol text again."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.messages.tool import tool_call

from oresearch_graph.policies.chat.endings import unclosed_element
from oresearch_graph.policies.chat.rendering import (
    PolicyText,
    Request,
    before_continuation,
    correction_messages,
    is_hidden_think,
    read_text,
    what_to_write,
    without_repeat,
)
from oresearch_graph.policies.chat.reply import NativeCall, Reply, place_thinking
from oresearch_graph.redaction import brief
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Author, Dialect, Step
from oresearch_graph.trace.calls import item_strings, json_value, read_call, write_call
from oresearch_graph.trace.escaping import PROTOCOL_TAGS
from oresearch_graph.trace.tags import close_tag, open_tag, render_step, shown_text

WEB_SEARCH: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "web_search",
        "description": "Search for several queries at once.",
        "parameters": {
            "type": "object",
            "properties": {
                "queries": {"type": "array", "items": {"type": "string"}},
                "num": {"type": "integer", "description": "Results per query."},
            },
            "required": ["queries"],
        },
    },
}
CRAWL_PAGE: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "crawl_page",
        "description": "Read one or more web pages whole.",
        "parameters": {
            "type": "object",
            "properties": {"urls": {"type": "array", "items": {"type": "string"}}},
            "required": ["urls"],
        },
    },
}


_COUNTS: Final = ("num", "serp_num", "num_results", "count", "k")
_LONGEST_NAME: Final = 300
_NAMESPACE: Final = re.compile(r"\A(?:functions?|tools?|default_api|api|mcp|namespace)_+")


class Tools:
    """Native tool calling."""

    def __init__(self, tools: Sequence[str] = (), dialect: Dialect = "paper") -> None:
        self.extra = tuple(tools)
        self.names = ("web_search", "crawl_page", *self.extra)
        self.dialect = dialect
        names = "|".join(map(re.escape, (*PROTOCOL_TAGS, *self.extra)))
        self._tags = re.compile(f"</?(?:{names})>")

    def request(self, thread: Thread, stop: Sequence[str]) -> Request:
        talk = _Conversation(thread, self.extra)
        steps = [*thread.steps]
        while steps:
            step = steps.pop(0)
            arguments = call_arguments(step) if step.is_call else None
            if is_hidden_think(step):
                talk.new_turn()
            elif arguments is not None and steps and steps[0].kind == "observation":
                talk.call(str(step.tag), arguments, steps.pop(0))
            else:
                talk.step(step)
        if thread.pending:
            talk.say("policy", before_continuation(thread))
        talk.say("world", what_to_write(thread, talk.last))
        callable_now = tuple(name for name in self.names if close_tag(name) in stop)
        tools = callable_now or (self.names if talk.calls else ())
        return Request(
            talk.messages() + correction_messages(thread),
            tools=tools,
            may_call=bool(callable_now),
        )

    def read(self, thread: Thread, stop: Sequence[str], reply: Reply) -> PolicyText:
        if not reply.calls:
            return read_text(thread, stop, without_repeat(thread, reply))
        thinking = reply.text.strip()
        if thinking and not self._tags.search(thinking):
            thinking = f"<think>{thinking}</think>"
        text, reasoning = place_thinking(thread, thinking, reply.reasoning)
        if unclosed_element(text, ()) == "think":
            text += "</think>"  # else what the thinking mentions would be read as calls
        hidden = "<think>" not in text
        unknown = [call.name for call in reply.calls if not known_name(call.name, self.names)]
        elements = [self.element(call) for call in reply.calls]
        text_with_calls = "\n".join(part for part in (text.rstrip(), *elements) if part)
        faults = tuple(
            f"there is no tool {brief(name, 60)!r}; the tools are {', '.join(self.names)}"
            for name in unknown
        )
        return PolicyText(
            text_with_calls, "stop", reasoning, hidden_reasoning=hidden, faults=faults
        )

    def element(self, call: NativeCall) -> str:
        """The call as protocol text; arguments that make no sense are kept as written."""
        name = known_name(call.name, self.names) or call.name
        return f"{open_tag(name)}{self._call_text(name, call)}{close_tag(name)}"

    def _call_text(self, name: str, call: NativeCall) -> str:
        arguments = call.arguments
        if arguments is None:
            value = json_value(call.raw)
            if value is None:
                return call.raw
            arguments = value if isinstance(value, dict) else {"items": value}
        if name == "web_search":
            items = item_strings(arguments, name)
            return write_call("web_search", items, asked_count(arguments), self.dialect)
        if name == "crawl_page":
            return write_call("crawl_page", item_strings(arguments, name), None, self.dialect)
        return json.dumps(arguments, ensure_ascii=False)


def known_name(name: str, names: Sequence[str]) -> str | None:
    """The tool that a provider's name stands for: `functions.web_search`,
    `web_search<|channel|>commentary`, `default_api:web_search` mean web_search."""
    if name in names:
        return name
    by_letters = {_letters(each): each for each in names}
    words = re.split(r"[^\w-]+", name[:_LONGEST_NAME])
    hits = [by_letters.get(_letters(_NAMESPACE.sub("", word))) for word in words]
    return next(iter({hit for hit in hits if hit}), None) if len({*hits} - {None}) == 1 else None


def _letters(word: str) -> str:
    return word.replace("_", "").replace("-", "").lower()


class _Conversation:
    """Messages under construction. Calls that no text parts belong to one assistant message."""

    def __init__(self, thread: Thread, tools: Sequence[str]) -> None:
        self.calls = 0
        self.last: Author = "world"
        self._done: list[BaseMessage] = [
            SystemMessage(thread.system),
            HumanMessage(thread.user_message(tools)),
        ]
        self._tools = tools
        self._turn: AIMessage | None = None

    def new_turn(self) -> None:
        self._turn = None

    def step(self, step: Step) -> None:
        self.say(step.author, render_step(step, self._tools))

    def say(self, author: Author, text: str) -> None:
        if not text.strip():
            return
        before = self._done[-1]
        kind = AIMessage if author == "policy" else HumanMessage
        if isinstance(before, kind) and not getattr(before, "tool_calls", None):
            before.content = f"{before.content}\n\n{text.strip()}"
        else:
            self._done.append(kind(text.strip()))
        latest = self._done[-1]
        self._turn = latest if isinstance(latest, AIMessage) else None
        self.last = author

    def call(self, name: str, arguments: dict[str, Any], observation: Step) -> None:
        if self._turn is None:
            self._turn = AIMessage("")
            self._done.append(self._turn)
        self.calls += 1
        key = call_id(self.calls)
        self._turn.tool_calls.append(tool_call(name=name, args=arguments, id=key))
        content = shown_text(observation, self._tools).strip()
        self._done.append(ToolMessage(content or "(empty)", tool_call_id=key))
        self.last = "world"

    def messages(self) -> list[BaseMessage]:
        return self._done


def call_id(nth: int) -> str:
    """Of a thread's nth call, from 1: nine letters and digits, the only form Mistral takes."""
    return f"call{nth:05d}"


def call_arguments(step: Step) -> dict[str, Any] | None:
    """The arguments of a call step; None where its text holds none."""
    call = read_call(step)
    if step.kind == "tool_call":
        return call.arguments
    if not call.items:
        return None
    if step.kind == "crawl_page":
        return {"urls": list(call.items)}
    return {"queries": list(call.items)} | ({} if call.num is None else {"num": call.num})


def asked_count(arguments: Mapping[str, Any]) -> int | None:
    """Results per query that a search's arguments ask for."""
    num = next((arguments[name] for name in _COUNTS if name in arguments), None)
    if isinstance(num, str) and num.isdecimal() and len(num) <= 4:
        return int(num)
    return num if isinstance(num, int) and not isinstance(num, bool) else None
