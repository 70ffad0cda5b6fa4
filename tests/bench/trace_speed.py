"""How fast tagged text is parsed and rendered: MB/s at 50 kB, 1 MB and 10 MB.

    python -m tests.bench.trace_speed

Typical text is a trace with long observations; hostile text is what could make a parser slow:
tags that never close, and page text made of escapes. Linear means that MB/s does not fall with
the size. Each figure is the median of its runs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.table import Table

from oresearch_graph.trace import Trace, parse_trace, render_trace, violations, world_step

SIZES: Final = (50_000, 1_000_000, 10_000_000)
PAGE: Final = "The Moon causes tides; the range reaches 16 metres at most. " * 40


def typical(size: int) -> str:
    """A trace of many turns, each with a long observation."""
    turn = (
        "<think>Look for causes.</think>\n<web_search>tides</web_search>\n"
        f"<observation>{PAGE}</observation>\n"
    )
    turns = turn * max(1, size // len(turn))
    return (
        f"<subtask_list>\n1. a\n</subtask_list>\n<subtask>a</subtask>\n{turns}"
        "<think>Enough.</think><subtask_answer>b</subtask_answer>"
        "<suggested_answer>## Introduction\nc\n</suggested_answer>"
    )


def unclosed(size: int) -> str:
    """Tags that open and never close."""
    return "<think><plan><subtask_answer>" * (size // 29)


def escapes(size: int) -> str:
    """A page that tries to look like escaped tags."""
    page = "&amp;amp;lt;/think> <observation &lt;plan>" * (size // 42)
    steps = parse_trace(typical(1)).steps
    world = [world_step("observation", page) if s.kind == "observation" else s for s in steps]
    return render_trace(Trace(question="", steps=tuple(world)))


def speed(work: Callable[[], object], characters: int) -> float:
    """Megabytes a second, the median of three runs; one run when it takes seconds."""
    times: list[float] = []
    while len(times) < 3 and sum(times) < 2.0:
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return characters / 1e6 / statistics.median(times)


def main() -> None:
    """Print the table."""
    table = Table(title="MB/s by size of the text")
    for heading in ("text", "work", *(f"{size / 1e6:g} MB" for size in SIZES)):
        table.add_column(heading, justify="right")
    for make in (typical, unclosed, escapes):
        texts = [make(size) for size in SIZES]
        traces = [parse_trace(text) for text in texts]
        rows: dict[str, list[Callable[[], object]]] = {
            "parse": [lambda t=text: parse_trace(t) for text in texts],  # type: ignore[misc]
            "render": [lambda t=trace: render_trace(t) for trace in traces],  # type: ignore[misc]
            "violations": [lambda t=trace: violations(t) for trace in traces],  # type: ignore[misc]
        }
        for name, works in rows.items():
            figures = [speed(w, len(t)) for w, t in zip(works, texts, strict=True)]
            table.add_row(make.__name__, name, *(f"{figure:.1f}" for figure in figures))
    Console().print(table)


if __name__ == "__main__":
    main()
