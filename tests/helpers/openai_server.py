"""A loopback OpenAI-compatible server with a programmable brain, for tests: real sockets, real SSE.

    with OpenAIServer(brain) as server:
        model = ChatOpenAI(base_url=server.base_url, api_key="x", model="fake")

A brain maps (messages, request body) to what a model would write if nothing stopped it: text, or
`ToolCalls`. The server does what servers differ in, set by `Habits`: whether stop strings are
honoured, kept in the output or stripped, whether a final assistant message is continued, whether
thinking is delivered apart. Faults are scripted for coming requests (`server.faults.append(...)`)
or chosen by request (`server.fault_for = lambda body: ...`). `server.requests` has every body.

`research_brain` (tests/helpers/research_brain.py) plays planner, researcher and summarizer.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.helpers.server_habits import (
    Body,
    Brain,
    Fault,
    Habits,
    Thinking,
    ToolCalls,
)


@dataclass
class OpenAIServer:
    """The server; a context manager. `base_url` ends in /v1."""

    brain: Brain
    habits: Habits = field(default_factory=Habits)
    models: tuple[str, ...] = ("fake",)
    context: int | None = None
    """Told as vLLM does; None: not at all."""
    cuts: int | None = None
    """Tokens to which prompts are cut in silence, told as Ollama does once a model is loaded."""
    tells_context: bool = True
    owned_by: str | None = None
    """The list of models says so."""
    slots: int | None = None
    """Told as llama.cpp does, with `pace`; None: not at all."""
    pace: float = 100.0
    pages: dict[str, Any] = field(default_factory=dict)
    """What other paths answer to GET."""
    characters: float = 4.0
    """Of one token."""
    faults: deque[Fault | None] = field(default_factory=deque)
    """For the coming requests, in order; None lets one through."""
    fault_for: Callable[[Body], Fault | None] | None = None
    requests: list[Body] = field(default_factory=list)
    refused: list[Body] = field(default_factory=list)
    """What a test's own `fault_for` refused."""
    most_at_once: int = 0
    answered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of what was answered, told or not."""

    def __post_init__(self) -> None:
        self._seen: list[str] = []
        self._lock = threading.Lock()
        self._now = 0
        self.closing = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def enter(self, body: Body) -> Fault | None:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            self.requests.append(body)
            if self.faults:
                return self.faults.popleft()
        return self.fault_for(body) if self.fault_for else None

    def leave(self) -> None:
        with self._lock:
            self._now -= 1

    def usage(self, body: Body, written: str) -> dict[str, Any]:
        """The longest prefix seen before counts as cached."""
        prompt = json.dumps(body["messages"], ensure_ascii=False)
        with self._lock:
            cached = max((common_prefix(prompt, seen) for seen in self._seen), default=0)
            self._seen.append(prompt)
        read = min(self.tokens(body), self.cuts or self.tokens(body))
        saved = int(cached / self.characters)
        counts = read, max(1, int(len(written) / self.characters))
        with self._lock:
            self.answered += 1
            self.prompt_tokens += counts[0]
            self.completion_tokens += counts[1]
        return {
            "prompt_tokens": counts[0],
            "completion_tokens": counts[1],
            "total_tokens": sum(counts),
            **({} if self.cuts else {"prompt_tokens_details": {"cached_tokens": saved}}),
        }

    def tokens(self, body: Body) -> int:
        """Of the prompt."""
        prompt = json.dumps(body["messages"], ensure_ascii=False)
        return int(len(prompt) / self.characters)


def common_prefix(one: str, other: str) -> int:
    """Characters with which both begin."""
    length = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        length += 1
    return length


@dataclass(frozen=True)
class _Answer:
    text: str
    finish: str
    stop_reason: str | None
    reasoning: str | None = None
    calls: tuple[tuple[str, dict[str, Any] | str], ...] = ()


class _Handler(BaseHTTPRequestHandler):
    """One request. HTTP/1.1 with chunked streams, so that a cut stream is seen as cut."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each small piece waits 40 ms for the one before it
    owner: OpenAIServer

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        context, slots = self.owner.context, self.owner.slots
        if (page := self.owner.pages.get(self.path)) is not None:
            self._json(200, page)
            return
        if self.path == "/props" and slots:
            settings = {"n_ctx": context or 8192}
            self._json(200, {"default_generation_settings": settings, "total_slots": slots})
            return
        if self.path == "/api/ps" and self.owner.cuts:
            length = {"context_length": self.owner.cuts} if self.owner.tells_context else {}
            loaded = self.owner.models if self.owner.requests else ()
            self._json(200, {"models": [{"name": name, **length} for name in loaded]})
            return
        more: dict[str, Any] = {"owned_by": "vllm", "max_model_len": context} if context else {}
        more = {"owned_by": "llamacpp"} if slots else more
        more = {"owned_by": "library"} if self.owner.cuts else more
        more = {"owned_by": self.owner.owned_by} if self.owner.owned_by else more
        data = [{"id": name, "object": "model", **more} for name in self.owner.models]
        self._json(200, {"object": "list", "data": data})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        fault = self.owner.enter(body)
        try:
            self.owner.closing.wait(self.owner.habits.latency)
            if fault is not None:
                self._go_wrong(fault, body)
            elif refusal := self._refusal(body):
                self._json(*refusal)
            else:
                self._answer(body, _echoed(self.owner, body, _answer(self.owner, body)))
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            self.owner.leave()

    def _refusal(self, body: Body) -> tuple[int, dict[str, Any]] | None:
        habits = self.owner.habits
        if body.get("model") not in self.owner.models:
            return 404, _error(f"The model `{body.get('model')}` does not exist", "model")
        if habits.refuses_stop and body.get("stop"):
            return 400, _error("Unsupported parameter: 'stop' is not supported", "stop")
        if habits.on_final_assistant.startswith("prefix"):
            for name in {"continue_final_message", "include_stop_str_in_output"} & body.keys():
                return 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", name]}]}
        if habits.on_final_assistant == "refuse" and body.get("continue_final_message"):
            return 400, _error("Unknown field continue_final_message", "continue_final_message")
        return None

    def _go_wrong(self, fault: Fault, body: Body) -> None:
        match fault.kind:
            case "status":
                after = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
                if isinstance(fault.body, str):
                    self._send(fault.status, fault.body.encode(), "text/plain", after)
                    return
                self._json(fault.status, fault.body or _error(f"fault {fault.status}"), after)
            case "hang":
                self.owner.closing.wait(fault.seconds)
                self.close_connection = True
            case "drop":
                self.close_connection = True
            case "garbage":
                self._send(200, b"<html>502 Bad Gateway</html>", "text/html")
            case "empty_choices" if not body.get("stream"):
                self._json(200, {**_frame(body, "chat.completion"), "choices": []})
            case "empty_choices":
                self._begin_stream()
                self._event({**_frame(body, "chat.completion.chunk"), "choices": []})
                self._end_stream()
            case "cut" | "silence" if not body.get("stream"):
                self.close_connection = True
            case "cut" | "silence":
                self._half_stream(body, fault)

    def _half_stream(self, body: Body, fault: Fault) -> None:
        answer = _answer(self.owner, body)
        self._begin_stream()
        self._event(_delta(body, {"role": "assistant", "content": answer.text[:5]}))
        if fault.kind == "silence":
            self.owner.closing.wait(fault.seconds)
        self.wfile.flush()
        self.close_connection = True

    def _answer(self, body: Body, answer: _Answer) -> None:
        usage: dict[str, Any] | None = self.owner.usage(body, answer.text)
        usage = usage if self.owner.habits.usage else None
        if body.get("stream"):
            self._stream(body, answer, usage)
            return
        message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
        if answer.reasoning is not None:
            message["reasoning_content"] = answer.reasoning
        if self.owner.habits.refusal is not None:
            message |= {"content": None, "refusal": self.owner.habits.refusal}
        if answer.calls:
            message["tool_calls"] = _tool_calls(answer.calls, self.owner.habits)
        choice = {"index": 0, "message": message, **self._ending(answer)}
        whole = {**_frame(body, "chat.completion"), "choices": [choice], **self._timings()}
        self._json(200, whole | ({} if usage is None else {"usage": usage}))

    def _timings(self) -> dict[str, Any]:
        pace = self.owner.pace
        told = {"predicted_per_second": pace, "prompt_per_second": 4 * pace, "prompt_n": 50}
        return {"timings": told} if self.owner.slots else {}

    def _ending(self, answer: _Answer) -> dict[str, Any]:
        ending: dict[str, Any] = {"finish_reason": self.owner.habits.finish or answer.finish}
        if self.owner.habits.names_stop:
            ending["stop_reason"] = answer.stop_reason
        return ending

    def _stream(self, body: Body, answer: _Answer, usage: dict[str, Any] | None) -> None:
        self._begin_stream()
        piece = self.owner.habits.piece
        self._event(_delta(body, {"role": "assistant", "content": ""}))
        if answer.reasoning is not None:
            for at in range(0, len(answer.reasoning), piece):
                part = answer.reasoning[at : at + piece]
                self._event(_delta(body, {"reasoning_content": part}))
        for at in range(0, len(answer.text), piece):
            self._event(_delta(body, {"content": answer.text[at : at + piece]}))
        for index, call in enumerate(_tool_calls(answer.calls, self.owner.habits)):
            self._event(_delta(body, {"tool_calls": [{"index": index, **call}]}))
        self._event({**_delta(body, {}, **self._ending(answer)), **self._timings()})
        if usage is not None and (body.get("stream_options") or {}).get("include_usage"):
            last = {**_frame(body, "chat.completion.chunk"), "choices": [], "usage": usage}
            self._event(last)
        self._end_stream()

    def _json(
        self, status: int, content: dict[str, Any], headers: dict[str, str] | None = None
    ) -> None:
        self._send(status, json.dumps(content).encode(), "application/json", headers)

    def _send(
        self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(f"data: {json.dumps(content)}\n\n".encode())

    def _end_stream(self) -> None:
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def _answer(owner: OpenAIServer, body: Body) -> _Answer:
    """What the brain writes, ended as this server's habits and the request have it."""
    habits = owner.habits
    asked = body.get("continue_final_message") and habits.on_final_assistant == "continue"
    messages = body["messages"]
    by_prefix = habits.on_final_assistant.startswith("prefix") and messages[-1].get("prefix")
    continues = asked or by_prefix or habits.on_final_assistant == "echo"
    if messages[-1]["role"] == "assistant" and not continues:
        messages = [*messages, {"role": "user", "content": ""}]
    if not habits.tool_calling:
        body = {**body, "tools": []}
    made = owner.brain(messages, body)
    reasoning = None
    if isinstance(made, Thinking):
        reasoning, made = made.reasoning, made.reply
    if isinstance(made, ToolCalls):
        return _Answer(made.text, "tool_calls", None, reasoning, made.calls)
    text, stop_reason = made, None
    stops = body.get("stop") or [] if habits.honours_stop else []
    found = [(at, tag) for tag in stops if (at := made.find(tag)) >= 0]
    if found:
        at, stop_reason = min(found)
        keeps = habits.keeps_stop and body.get("include_stop_str_in_output")
        text = made[: at + len(stop_reason) if keeps else at]
    limit = body.get("max_completion_tokens") or body.get("max_tokens")
    if limit and not habits.ignores_bound and len(text) > 4 * limit:
        return _Answer(text[: 4 * limit], "length", None, reasoning)
    return _Answer(text, "stop", stop_reason, reasoning)


def _echoed(owner: OpenAIServer, body: Body, answer: _Answer) -> _Answer:
    """The answer with the beginning that it continues, where the server returns it."""
    habits, last = owner.habits, body["messages"][-1]
    silent = body.get("stream") and not habits.echoes_stream
    if not habits.on_final_assistant.endswith("echo") or silent or last["role"] != "assistant":
        return answer
    return replace(answer, text=last["content"] + answer.text)


def _tool_calls(
    calls: tuple[tuple[str, dict[str, Any] | str], ...], habits: Habits
) -> list[dict[str, Any]]:
    return [
        {
            "id": f"served_{index}",
            "type": "function",
            "function": {
                "name": name,
                "arguments": (
                    arguments
                    if isinstance(arguments, str) or habits.objects
                    else json.dumps(arguments)
                ),
            },
        }
        for index, (name, arguments) in enumerate(calls)
    ]


def _frame(body: Body, kind: str) -> dict[str, Any]:
    return {"id": "made-1", "object": kind, "created": int(time.time()), "model": body["model"]}


def _delta(body: Body, delta: dict[str, Any], **ending: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": None, **ending}
    return {**_frame(body, "chat.completion.chunk"), "choices": [choice]}


def _error(message: str, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param}}
