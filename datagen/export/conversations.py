"""Whole trajectories as chat logs that other trainers read.

OpenAI messages: each call is an assistant's tool call and its observation a tool message; what the
policy wrote before it is the message's content, in tags. ShareGPT: `gpt` and `observation` (or
`human`) alternate, calls stay tags in the text of `gpt`. What the world wrote outside observations
(a subtask given to a parallel researcher) is the user's in both, so that no trainer learns it; an
answer's tag that the world opened counts as the answer's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any, Final, Literal

from oresearch_graph.rows.files import Row
from oresearch_graph.trace import Step, Trace, escape_world, read_call, render_step, shown_text

_TOOLS: Final[dict[str, tuple[str, str]]] = {
    "web_search": ("Search the web; each query has its own results.", "queries"),
    "crawl_page": ("Open pages and read their text.", "urls"),
}
TOOLS: Final = json.dumps(
    [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": description,
                "parameters": {
                    "type": "object",
                    "properties": {
                        items: {"type": "array", "items": {"type": "string"}},
                        **({"num": {"type": "integer"}} if name == "web_search" else {}),
                    },
                    "required": [items],
                },
            },
        }
        for name, (description, items) in _TOOLS.items()
    ]
)
"""JSON Schema of the tools that messages call."""

_Side = Literal["gpt", "observation", "human"]


def messages(trace: Trace, system: str) -> list[Row]:
    """The trace as OpenAI messages."""
    log = [_message("system", system), _message("user", _question(trace))]
    pending: list[str] = []
    calls = 0
    for step in trace.steps:
        if step.is_call:
            calls += 1
            log.append(_message("assistant", _joined(pending), tool_calls=[_call(step, calls)]))
        elif step.kind == "observation" and log[-1]["tool_calls"] and not _joined(pending):
            call = log[-1]["tool_calls"][0]["id"]
            log.append(_message("tool", shown_text(step, trace.protocol.tools), tool_call_id=call))
        elif _side(step) != "gpt":
            if text := _joined(pending):
                log.append(_message("assistant", text))
            log.append(_message("user", _tagged(trace, step).strip()))
        else:
            pending.append(_tagged(trace, step))
    if text := _joined(pending):
        log.append(_message("assistant", text))
    return log


def sharegpt(trace: Trace) -> list[dict[str, str]]:
    """The trace as ShareGPT turns, the question first; the system prompt has its own column."""
    turns = [("human", [_question(trace)])]
    for side, steps in groupby(trace.steps, key=_side):
        text = "".join(_tagged(trace, step) for step in steps).strip()
        if not text:
            continue
        last = turns[-1][0]
        other = side if side == "gpt" or last == "gpt" else last
        if last == other:
            turns[-1][1].append(text)
        else:
            turns.append((other, [text]))
    return [{"from": side, "value": "\n\n".join(texts)} for side, texts in turns]


def _side(step: Step) -> _Side:
    if step.kind == "observation":
        return "observation"
    return "human" if step.author == "world" and step.text.strip() else "gpt"


def _question(trace: Trace) -> str:
    return escape_world(trace.question, trace.protocol.tools)


def _tagged(trace: Trace, step: Step) -> str:
    return render_step(step, trace.protocol.tools)


def _joined(pending: list[str]) -> str:
    text = "".join(pending).strip()
    pending.clear()
    return text


def _message(role: str, content: str, **more: Any) -> Row:  # noqa: ANN401 - JSON values
    return {"role": role, "content": content, "tool_calls": None, "tool_call_id": None, **more}


def _call(step: Step, number: int) -> Row:
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {
            "name": step.tag,
            "arguments": json.dumps(dict(_arguments(step)), ensure_ascii=False),
        },
    }


def _arguments(step: Step) -> Iterator[tuple[str, Any]]:
    """A call that cannot be read is told as it was written."""
    call = read_call(step)
    if call.fault is not None:
        yield "text", step.text
    elif step.kind == "tool_call":
        yield from (call.arguments or {}).items()
    else:
        yield _TOOLS[step.kind][1], list(call.items)
        if call.num is not None:
            yield "num", call.num
