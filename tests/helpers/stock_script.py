"""The script that our agent loop and verl's stock one play (tests/helpers/stock_loop.py): what the
policy writes, and documents that cost nothing to search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits
from tests.helpers.scripted import Documents, Script, citation, report_text

QUESTION: Final = "What causes tides?"
PAGES: Final = {
    f"https://example.org/{place}": " ".join(
        f"At gauge {gauge} of {place} the tides follow the Moon by {gauge * 7 % 60} minutes and "
        f"rise {gauge % 15}.{gauge * 3 % 10} metres."
        for gauge in range(1, 61)
    )
    for place in ("tides", "moon", "sun", "fundy", "severn", "brest", "derby", "hull", "kiel")
}
"""Pages of 5,000 characters."""


class InstantDocuments(Documents):
    """Searches each query once: tools cost neither loop anything."""

    def __init__(self) -> None:
        super().__init__(PAGES)
        self.found: dict[str, Hits] = {}

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        for query in queries:
            if query not in self.found:
                [self.found[query]] = await super().search([query], k)
        return [self.found[query] for query in queries]


def research_turns(subtasks: int, turns: int) -> Script:
    """Plans so many subtasks; each searches and reads by turns, then answers."""

    def write(thread: Thread) -> str:
        if thread.role == "planner":
            lines = "\n".join(f"{i}. How tides come, part {i}" for i in range(1, subtasks + 1))
            return f"<subtask_list>\n{lines}\n</subtask_list>"
        if thread.role == "summarizer":
            return "\n\n" + report_text(thread)
        return _research(thread, turns)

    return write


def _research(thread: Thread, turns: int) -> str:
    own = [step for step in thread.steps if step.branch == thread.branch]
    seen = [step.text for step in own if step.kind == "observation"]
    opening = ""
    if not any(step.kind == "subtask" for step in own):
        opening = f"\n\n<subtask>How tides come, part {thread.branch}</subtask>"
    think = f"{opening}\n\n<think>{'The Moon pulls at the water. ' * 8}</think>\n\n"
    if len(seen) == turns:
        return f"{think}<subtask_answer>The Moon causes tides {citation(seen)}.</subtask_answer>"
    if len(seen) % 2:
        page = ((thread.branch or 1) * turns + len(seen)) % len(PAGES)
        return f"{think}<crawl_page>{list(PAGES)[page]}</crawl_page>"
    return f"{think}<web_search>tides {thread.branch} Moon {len(seen)}&serp_num=4</web_search>"
