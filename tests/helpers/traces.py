"""Traces for tests: a good one, and ways to spoil it."""

from __future__ import annotations

from oresearch_graph.trace import Protocol, Source, Step, Trace, parse_steps

GOOD = """<subtask_list>
1. What tides are
2. How large they get
</subtask_list>

<subtask>What tides are</subtask>

<think>Look for causes.</think>

<plan>Search, then read.</plan>

<web_search>tides cause&serp_num=3</web_search>

<observation>[1001] Tides
https://example.org/tides
The Moon causes tides.</observation>

<think>Enough.</think>

<subtask_answer>The Moon causes tides [1001].</subtask_answer>

<subtask>How large they get</subtask>

<think>Look for the range.</think>

<crawl_page>https://example.org/range</crawl_page>

<observation>[2001] Range
https://example.org/range
Tides reach 16 metres.</observation>

<think>Enough.</think>

<subtask_answer>They reach 16 metres [2001].</subtask_answer>

<suggested_answer>
## Introduction
Tides are large.

## Findings
The Moon causes tides [1]. They reach 16 metres [2].

## Conclusion
Tides are the Moon's.

## References
[1]. https://example.org/tides - Tides
[2]. https://example.org/range - Range
</suggested_answer>"""

SOURCES = (
    Source.of(id=1001, url="https://example.org/tides", text="The Moon causes tides."),
    Source.of(id=2001, url="https://example.org/range", text="Tides reach 16 metres."),
)


def trace_of(text: str, **fields) -> Trace:
    """A parallel trace of this text, with the good trace's sources."""
    given = {"question": "What are tides?", "language": "en", "sources": SOURCES, **fields}
    tools = given.get("protocol", Protocol()).tools
    return Trace(steps=parse_steps(text, tools=tools), **given)


def good_trace(**fields) -> Trace:
    """A well-formed trace of two subtasks."""
    return trace_of(GOOD, **fields)


def kinds(steps: tuple[Step, ...]) -> list[str]:
    return [step.kind for step in steps if step.kind != "stray" or step.text.strip()]
