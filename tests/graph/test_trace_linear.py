"""No text makes the language slow: 200 kB of each hostile pattern is read in seconds.

A quadratic reader needs minutes for these; a linear one less than half a second each.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from oresearch_graph.trace import (
    Step,
    Trace,
    list_items,
    parse_trace,
    read_call,
    render_trace,
    violations,
    world_step,
)
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.references import seen_sources

SIZE = 200_000
HOSTILE = {
    "white space": "# a" + " " * SIZE + "x",
    "white space in a tag": "<" + " " * SIZE + "x",
    "slashes in a tag": ("<" + " " * 50 + "/" + " " * 50) * (SIZE // 102),
    "white space in a call": "https://a" + " " * SIZE + "x",
    "escapes": "&" + "amp;" * (SIZE // 4),
    "escaped escapes": "&amp;amp;lt;" * (SIZE // 12),
    "one word": "[1] " + "a" * SIZE,
    "dotted word": "[1] " + "a." * (SIZE // 2),
    "brackets": "[1] https://x.org/" + ")" * SIZE,
    "open marks": "[1" * (SIZE // 2),
    "a long mark": "[1, " + "1 , " * (SIZE // 4),
    "marks and code": "`a` [1] " * (SIZE // 8),
    "references": "## References\n[1] https://x.org\n" * (SIZE // 32),
    "fences": "```\n" * (SIZE // 4),
    "observations": "<web_search>q</web_search> x" + "<observation>" * (SIZE // 13),
    "unclosed turns": "<think><web_search>q</web_search><observation>" * (SIZE // 47),
    "orphans": "x</think>" * (SIZE // 9),
    "json": "[" * SIZE,
    "bars": "<|" * (SIZE // 2),
    "a long token": "<|" + "a" * SIZE,
    "escaped brackets": "&amp;#91;INST" * (SIZE // 13),
}
READERS: dict[str, Callable[[str], object]] = {
    "parse": parse_trace,
    "render": lambda text: render_trace(
        Trace(question="", steps=(world_step("observation", text),))
    ),
    "answer": parse_answer,
    "sections": lambda text: parse_answer(text).sections("en"),
    "list": list_items,
    "calls": lambda text: [
        read_call(Step(kind=kind, text=text)) for kind in ("web_search", "crawl_page", "tool_call")
    ],
    "sources": lambda text: seen_sources([Step(kind="observation", text=text)]),
    "violations": lambda text: violations(
        Trace(question="", language="en", steps=(Step(kind="suggested_answer", text=text),))
    ),
}


@pytest.mark.parametrize("pattern", HOSTILE)
def test_hostile_text_is_read_in_linear_time(pattern):
    text = HOSTILE[pattern]
    spent: dict[str, float] = {}
    for name, reader in READERS.items():
        start = time.process_time()
        reader(text)
        spent[name] = time.process_time() - start
    assert max(spent.values()) < 4, spent
