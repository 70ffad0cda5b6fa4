"""parse_trace and render_trace: a whole Trace as tagged text and back.

Tagged text alone tells most traces completely. Where it does not, `render_trace` puts a line
`<?oresearch …?>` in front: the names of extra tools where their tags occur, and a table of the
steps' lengths and authors where tags do not tell them — the world opened an answer tag for a
thread out of budget, a step was cut short. So the round trip is exact for every Trace.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pydantic import ValidationError

from oresearch_graph.trace.escaping import unescape_world
from oresearch_graph.trace.plain_text import storable
from oresearch_graph.trace.record import Protocol, Trace
from oresearch_graph.trace.step import Author, Execution, Step
from oresearch_graph.trace.tags import (
    close_tag,
    open_tag,
    parse_steps,
    render_steps,
    shown_text,
)

_TABLE_OPEN: Final = "<?oresearch "
_TABLE_CLOSE: Final = "?>\n"


def render_trace(trace: Trace) -> str:
    """The trace as tagged text; `parse_trace` gives back its steps, stray text and authorship."""
    tools = trace.protocol.tools
    body = render_steps(trace.steps, tools)
    lossless = parse_steps(body, execution=trace.execution, tools=tools) == trace.steps
    bare = not tools or parse_steps(body, execution=trace.execution) == trace.steps
    if lossless and bare and not body.startswith(_TABLE_OPEN):
        return body
    head: dict[str, Any] = {"tools": tools}
    if not lossless:
        head["steps"] = [_row(step, tools) for step in trace.steps]
    return f"{_TABLE_OPEN}{json.dumps(head, separators=(',', ':'))}{_TABLE_CLOSE}{body}"


def parse_trace(
    text: str, *, execution: Execution = "parallel", tools: Sequence[str] = (), question: str = ""
) -> Trace:
    """The steps of tagged text as a Trace. Never raises; no character is lost.

    What text cannot tell stays None: sources, language, usage. Lone surrogates, which no file can
    hold, become U+FFFD.
    """
    text, question = storable(text), storable(question)
    table = _read_table(text, execution)
    if table is None:
        steps = parse_steps(text, execution=execution, tools=tools)
        table = steps, Protocol(execution=execution, tools=tuple(tools))
    return Trace(question=question, steps=table[0], protocol=table[1])


def _row(step: Step, tools: Sequence[str]) -> list[Any]:
    return [step.kind, step.author, step.opened, step.closed, step.branch, step.name,
            len(step.lead), len(shown_text(step, tools))]  # fmt: skip


def _read_table(text: str, execution: Execution) -> tuple[tuple[Step, ...], Protocol] | None:
    """The steps by the line in front; None where there is none or it does not fit the text."""
    end = text.find(_TABLE_CLOSE)
    if not text.startswith(_TABLE_OPEN) or end < 0:
        return None
    try:
        table = json.loads(text[len(_TABLE_OPEN) : end])
        json.dumps(table, ensure_ascii=False).encode()  # raises on the escape of a lone surrogate
        protocol = Protocol(execution=execution, tools=table["tools"])
        body = text[end + len(_TABLE_CLOSE) :]
        if "steps" not in table:
            return parse_steps(body, execution=execution, tools=protocol.tools), protocol
        return tuple(_cut(body, table["steps"], protocol.tools)), protocol
    except (ValueError, TypeError, KeyError, RecursionError, ValidationError):
        return None


def _cut(body: str, rows: Sequence[Any], tools: tuple[str, ...]) -> Iterator[Step]:
    at = 0

    def take(length: int) -> str:
        nonlocal at
        piece = body[at : at + length]
        if length < 0 or len(piece) != length:
            raise ValueError("the table does not fit the text")
        at += length
        return piece

    def take_tag(author: Author | None, tag: str) -> None:
        if author is not None and take(len(tag)) != tag:
            raise ValueError("the table does not fit the text")

    for kind, author, opened, closed, branch, name, lead_length, length in rows:
        lead = take(lead_length)
        probe = Step(kind=kind, text="", author=author, opened=opened, closed=closed, name=name)
        if probe.tag is not None:
            take_tag(opened, open_tag(probe.tag))
        piece_text = take(length)
        if probe.tag is not None:
            take_tag(closed, close_tag(probe.tag))
        text = unescape_world(piece_text, tools) if author == "world" else piece_text
        yield Step(kind=kind, text=text, author=author, branch=branch, lead=lead, opened=opened,
                   closed=closed, name=name)  # fmt: skip
    if at != len(body):
        raise ValueError("the table does not fit the text")
