"""A policy that writes from a script, and documents that stand in a dict: the graph's test doubles
at its two seams. A script is a function from the thread to the text that continues it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence

from oresearch_graph.errors import PolicyError
from oresearch_graph.policies.policy import Continuation, StopCause
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.trace import Usage

Script = Callable[[Thread], str]
"""May raise, to play a service that fails."""

CUT = "\0cut"
"""A script's text that ends with this was cut by the token limit."""

REPORT = """<suggested_answer>
## Introduction
The question is answered below.

## Findings
{findings}

## Conclusion
That is what the sources say.

## References
{references}
</suggested_answer>"""


class ScriptedPolicy:
    """Writes what its script says, after `seconds`; keeps every thread it was given."""

    def __init__(self, script: Script, seconds: float = 0.0, tokens: int | None = 10) -> None:
        self.name = "scripted"
        self.threads: list[Thread] = []
        self.script, self._seconds, self._tokens = script, seconds, tokens

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        self.threads.append(thread)
        if self._seconds:
            await asyncio.sleep(self._seconds)
        text = self.script(thread)
        if on_text is not None:
            on_text(text)
        usage = Usage(
            role=thread.role,
            model=self.name,
            calls=1,
            prompt_tokens=self._tokens,
            completion_tokens=self._tokens,
        )
        ended = any(text.rstrip().endswith(tag) for tag in stop)
        cause: StopCause = "length" if text.endswith(CUT) else "stop" if ended else "end"
        return Continuation(text=text.removesuffix(CUT), stop=cause, usage=usage)


class Documents:
    """Search backend and page reader over a dict of address → text."""

    name = "documents"

    def __init__(self, pages: dict[str, str], seconds: float = 0.0) -> None:
        self.pages, self._seconds = pages, seconds
        self.searched: list[str] = []
        self.read_urls: list[str] = []

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self.searched += queries
        return [Hits(query=query, hits=tuple(self._hits(query))[:k]) for query in queries]

    def _hits(self, query: str) -> list[Hit]:
        words = set(re.findall(r"\w+", query.lower()))
        return [
            Hit(url=url, title=url.rsplit("/", 1)[-1], snippet=text[:300])
            for url, text in self.pages.items()
            if words & set(re.findall(r"\w+", text.lower()))
        ]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        if self._seconds:
            await asyncio.sleep(self._seconds)
        self.read_urls += urls
        return [
            Page(url=url, title=url.rsplit("/", 1)[-1], text=self.pages[url])
            if url in self.pages
            else Page(url=url, fault="404 Not Found")
            for url in urls
        ]


PAGES = {
    "https://example.org/tides": "Tides are caused by the Moon. The tidal range reaches 16 metres "
    "in the Bay of Fundy.",
    "https://example.org/moon": "The Moon orbits the Earth in 27.3 days. Its gravity causes tides.",
    "https://example.org/sun": "The Sun causes spring tides twice a month.",
}


def research_script(
    subtasks: Sequence[str] = ("What causes tides?", "How large are tides?"), turns: int = 1
) -> Script:
    """Plays every role well: plans `subtasks`, searches `turns` times, cites what it was shown."""

    def write(thread: Thread) -> str:
        if thread.role == "planner":
            lines = "\n".join(f"{i}. {text}" for i, text in enumerate(subtasks, start=1))
            return f"<subtask_list>\n{lines}\n</subtask_list>"
        if thread.role == "summarizer":
            return "\n\n" + report_text(thread)
        return _research(thread, subtasks, turns)

    return write


def _research(thread: Thread, subtasks: Sequence[str], turns: int) -> str:
    own = [step for step in thread.steps if step.branch == thread.branch]
    observed = [step.text for step in own if step.kind == "observation"]
    opening = ""
    if not any(step.kind == "subtask" for step in own):
        opening = f"\n\n<subtask>{subtasks[(thread.branch or 1) - 1]}</subtask>"
    if thread.forced:
        return f"The Moon causes tides {citation(observed)}.</subtask_answer>"
    think = f"{opening}\n\n<think>Turn {len(observed) + 1}.</think>"
    if len(observed) < turns:
        query = f"tides Moon Sun {len(observed) + 1}"
        return f"{think}\n\n<web_search>{query}&serp_num=3</web_search>"
    answer = f"The Moon causes tides {citation(observed)}."
    return f"{think}\n\n<subtask_answer>{answer}</subtask_answer>"


def citation(observed: Sequence[str]) -> str:
    """The first source number that the observations show, in brackets."""
    shown = re.findall(r"^\[(\d+)\]", "\n".join(observed), re.MULTILINE)
    return f"[{shown[0]}]" if shown else ""


def report_text(thread: Thread) -> str:
    """A report that cites what the subtask answers cite."""
    answers = [step.text for step in thread.steps if step.kind == "subtask_answer"]
    cited = sorted({int(n) for text in answers for n in re.findall(r"\[(\d+)\]", text)})
    findings = " ".join(f"The Moon causes tides [{n}]." for n in cited)
    # Every branch finds the same page first; its address is part of PAGES.
    lines = "\n".join(f"[{n}]. https://example.org/tides - tides" for n in cited)
    return REPORT.format(findings=findings, references=lines)


def failing(script: Script, branch: int, after: int = 1) -> Script:
    """The script, whose service fails in one branch after so many observations."""

    def write(thread: Thread) -> str:
        seen = sum(step.kind == "observation" for step in thread.steps)
        if thread.branch == branch and seen >= after:
            raise PolicyError("the model's server is gone; start it again")
        return script(thread)

    return write


__all__ = ["PAGES", "Documents", "ScriptedPolicy", "failing", "research_script"]
