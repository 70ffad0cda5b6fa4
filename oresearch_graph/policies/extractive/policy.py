"""The policy without a model: plans by facets, searches by keywords, quotes the best sentences.

The embedded default, the honest baseline and the fast double of tests. It reads only the Thread
and is deterministic: the same thread gives the same text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from oresearch_graph.policies.extractive.plan import numbered, plan, planned_limit
from oresearch_graph.policies.extractive.report import no_evidence, report
from oresearch_graph.policies.extractive.research import next_turn
from oresearch_graph.policies.policy import Continuation, StopCause
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.words import token_count
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Usage

__all__ = ["ExtractivePolicy", "no_evidence"]

_LANGUAGE: Final = re.compile(r"Write the report in the language ([a-z]{2})\b")


class ExtractivePolicy:
    """Continues threads with quotations from what they show."""

    name = "extractive"

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        continuation = await asyncio.to_thread(_continue, thread)
        text, cause = _until(continuation, stop)
        if on_text is not None:
            on_text(text)
        usage = Usage(
            role=thread.role, branch=thread.branch, model=self.name, calls=1,
            prompt_tokens=0, cached_tokens=0, completion_tokens=token_count(text), cost=0.0,
        )  # fmt: skip
        return Continuation(text=text, stop=cause, usage=usage)


def _continue(thread: Thread) -> str:
    text = _written(thread)
    return text.removeprefix(thread.pending) if thread.pending else text


def _written(thread: Thread) -> str:
    match thread.role:
        case "planner":
            language = detect_language(thread.question)
            items = numbered(plan(thread.question, language, planned_limit(thread.system)))
            return f"<subtask_list>\n{items}\n</subtask_list>"
        case "researcher":
            return next_turn(thread)
        case "summarizer":
            language_asked_for = _LANGUAGE.search(thread.system)
            language = (
                language_asked_for[1] if language_asked_for else detect_language(thread.question)
            )
            opened = "" if thread.forced else "<suggested_answer>"
            return f"{opened}{report(thread, language)}</suggested_answer>"
        case _:
            assert_never(thread.role)


def _until(text: str, stop: Sequence[str]) -> tuple[str, StopCause]:
    """The text up to and including the first stop tag."""
    ends = [text.index(tag) + len(tag) for tag in stop if tag in text]
    return (text[: min(ends)], "stop") if ends else (text, "end")
