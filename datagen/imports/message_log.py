"""OpenAI-style message logs: what the assistant wrote is the policy's, what tools gave back is an
observation, and what else came in between is the world's text outside every tag.

A tool call becomes a call step with the observation that answers it behind it. Searching and
reading under their usual names become `web_search` and `crawl_page`, where their arguments say no
more than those can; every other tool keeps its name and its JSON. Text beside a call, and
reasoning, are a `think`; the last message's text is the report.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from datagen.imports.trace import ImportFault
from oresearch_graph.trace import (
    PROTOCOL_TAGS,
    Step,
    StepKind,
    parse_policy_text,
    unescape_world,
    world_step,
    write_call,
)

_SEARCHES: Final = frozenset(
    ("web_search", "search", "search_web", "websearch", "google_search", "bing_search",
     "tavily_search", "tavily_search_results_json", "internet_search", "duckduckgo_search")
)  # fmt: skip
_READERS: Final = frozenset(
    ("crawl_page", "crawl", "fetch", "fetch_url", "fetch_page", "read_page", "read_url", "open_url",
     "visit", "visit_page", "visit_webpage", "browse", "scrape", "web_fetch", "tavily_extract")
)  # fmt: skip
_QUERIES: Final = ("queries", "query", "q")
_ADDRESSES: Final = ("urls", "url")
_COUNTS: Final = ("num", "k", "count", "max_results", "num_results", "top_k", "limit")
_REASONING: Final = ("reasoning_content", "reasoning", "thinking")
_OBSERVATION: Final = re.compile(r"\s*<observation>(.*?)</observation>(.*)", re.DOTALL)
_APART: Final = "\n\n"


class Log(NamedTuple):
    """A message log as steps."""

    question: str
    system: str
    steps: tuple[Step, ...]
    tools: tuple[str, ...]
    """Names of the tools whose tags are not the protocol's own."""


class _PendingCall:
    """A call that waits for its result."""

    def __init__(self, key: str | None, step: Step) -> None:
        self.key, self.step = key, step
        self.result: str | None = None


def read_log(messages: Any) -> Log:  # noqa: ANN401
    """Raises ImportFault, naming the message."""
    if not isinstance(messages, list) or not messages:
        raise ImportFault("`messages` is no list of messages")
    reader = _Reader()
    for number, message in enumerate(messages):
        if not isinstance(message, dict):
            raise ImportFault(f"messages[{number}] is no object with role and content")
        try:
            reader.read(message, last=number == len(messages) - 1)
        except ImportFault as fault:
            raise ImportFault(f"messages[{number}]: {fault}") from None
    return reader.log()


class _Reader:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.question: str | None = None
        self.system: list[str] = []
        self.tools: dict[str, None] = {}
        self.pending: list[_PendingCall] = []
        self.orphans: list[str] = []

    def read(self, message: Mapping[str, Any], *, last: bool) -> None:
        role, text = message.get("role"), _text(message.get("content"))
        match role:
            case "system" | "developer":
                self.system.append(text)
            case "user":
                self._user(text)
            case "assistant":
                self._assistant(message, text, last=last)
            case "tool" | "function":
                self._result(message.get("tool_call_id"), text)
            case _:
                raise ImportFault(
                    f"the role {role!r} is none of system, developer, user, assistant, tool"
                )

    def log(self) -> Log:
        self._settle()
        if self.question is None:
            raise ImportFault("no message of the user holds a question")
        tools = tuple(self.tools)
        return Log(self.question, "\n\n".join(self.system), tuple(self.steps), tools)

    def _user(self, text: str) -> None:
        self._settle()
        if self.question is None:
            self.question = text if text.strip() else None
        elif self.steps and self.steps[-1].is_call:
            match = _OBSERVATION.match(text)
            observation = unescape_world(match[1]) if match else text
            self.steps.append(world_step("observation", observation))
            if match and match[2].strip():
                self.steps.append(world_step("stray", match[2], lead=""))
        elif text.strip():
            self.steps.append(world_step("stray", text))

    def _assistant(self, message: Mapping[str, Any], text: str, *, last: bool) -> None:
        self._settle()
        self.pending = [self._call(call) for call in _calls(message)]
        reasoning = next(
            (value for name in _REASONING if isinstance(value := message.get(name), str)), ""
        )
        steps = [self._step("think", reasoning)] if reasoning.strip() else []
        kind: StepKind = "think" if self.pending else "suggested_answer" if last else "stray"
        self.steps += [*steps, *self._written(text, kind)]

    def _written(self, text: str, kind: StepKind) -> list[Step]:
        """The assistant's text as steps; `kind` is that of what stands outside every tag."""
        if not text.strip():
            return []
        steps = list(parse_policy_text(text, tuple(self.tools)))
        tagged = {step.kind for step in steps if step.kind != "stray"}
        if tagged <= {"think"}:
            steps = [
                self._step(kind, step.text) if step.kind == "stray" and step.text.strip() else step
                for step in steps
            ]
        first = steps[0]
        return [first.model_copy(update={"lead": first.lead or _APART}), *steps[1:]]

    def _call(self, call: Mapping[str, Any]) -> _PendingCall:
        function = call.get("function")
        function = function if isinstance(function, dict) else call
        name, raw = function.get("name"), function.get("arguments")
        if not isinstance(name, str) or not name.strip():
            raise ImportFault("a tool call has no name")
        key, step = call.get("id"), self._call_step(name.strip(), raw)
        return _PendingCall(key if isinstance(key, str) else None, step)

    def _call_step(self, name: str, raw: Any) -> Step:  # noqa: ANN401
        arguments = _arguments(raw)
        if arguments is not None and (text := _protocol_call(name, arguments)):
            kind: StepKind = "web_search" if name in _SEARCHES else "crawl_page"
            return self._step(kind, text)
        tag = re.sub(r"\W", "_", name)
        if tag in PROTOCOL_TAGS or not tag.isidentifier():
            tag = f"tool_{tag}"
        self.tools[tag] = None
        text = raw if isinstance(raw, str) else json.dumps(raw or {}, ensure_ascii=False)
        return self._step("tool_call", text).model_copy(update={"name": tag})

    def _step(self, kind: StepKind, text: str) -> Step:
        return Step(kind=kind, text=text, lead=_APART)

    def _result(self, key: object, text: str) -> None:
        """To the call with its id; one without id to the first call that waits."""
        waiting = [call for call in self.pending if call.result is None]
        if key is not None:
            waiting = [call for call in waiting if call.key == key]
        if waiting:
            waiting[0].result = text
        else:
            self.orphans.append(text)

    def _settle(self) -> None:
        """Write the calls of the last message, each with its result behind it."""
        for call in self.pending:
            self.steps.append(call.step)
            if call.result is not None:
                self.steps.append(world_step("observation", call.result))
        self.steps += [world_step("observation", text) for text in self.orphans]
        self.pending, self.orphans = [], []


def _text(content: Any) -> str:  # noqa: ANN401
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise ImportFault(f"its content is {type(content).__name__}: text or text parts are read")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if isinstance(part, str):
            parts.append(part)
        elif kind in {"text", "input_text", "output_text"} and isinstance(part.get("text"), str):
            parts.append(part["text"])
        else:
            raise ImportFault(f"a part of its content is of type {kind!r}: only text is read")
    return "".join(parts)


def _calls(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
        raise ImportFault("tool_calls is no list of calls")
    old = message.get("function_call")
    return [*calls, old] if isinstance(old, dict) else calls


def _arguments(raw: Any) -> dict[str, Any] | None:  # noqa: ANN401
    """The arguments as an object; None when they are none."""
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError):
            return None
    return raw if isinstance(raw, dict) else None


def _protocol_call(name: str, arguments: Mapping[str, Any]) -> str | None:
    """The text of a search or a reading; None for other tools, and for arguments that it could
    not hold."""
    values = {key: value for key, value in arguments.items() if value is not None}
    if name in _SEARCHES:
        items, num = _strings(values, _QUERIES), _count(values)
        names = {*_QUERIES, *_COUNTS}
    elif name in _READERS:
        items, num = _strings(values, _ADDRESSES), None
        names = {*_ADDRESSES}
    else:
        return None
    if not items or set(values) - names:
        return None
    return write_call("web_search" if name in _SEARCHES else "crawl_page", items, num)


def _strings(values: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    value: Any = next((values[name] for name in names if values.get(name)), [])
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str) and item.strip()]


def _count(values: Mapping[str, Any]) -> int | None:
    num = next((values[name] for name in _COUNTS if name in values), None)
    return num if isinstance(num, int) and not isinstance(num, bool) and 0 < num < 10_000 else None
