"""A brain for OpenAIServer that researches by quoting what it is shown, and judges.

It plans two subtasks, searches for the question's words, reads a page, quotes sentences with the
ids of their sources, and writes a report of all the quotes. Asked as a judge it gives scores that
depend on the material alone, so that runs can be compared.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Any

from tests.helpers.research_brain import INVENTED, ResearchBrain, _Talk
from tests.helpers.server_habits import (
    Body,
    Message,
    ToolCalls,
)

_HEAD = re.compile(r"^\[(\d{1,6})\][^\n]*\n[a-z]+:\S*\n", re.MULTILINE)
_SENTENCE = re.compile(r"[A-Z][^.!?\n\[\]<>|`#*]{50,260}\.(?=\s|$)")
_QUOTES = 6
"""Sentences in one subtask's answer."""


@dataclass(frozen=True)
class QuotingBrain(ResearchBrain):
    """See the module."""

    subtasks: tuple[str, ...] = ("What it is and how it works", "How it is used and what to mind")

    def __call__(self, messages: list[Message], body: Body) -> str | ToolCalls:
        if "strict and fair judge" in str(messages[0]["content"]):
            return _verdict(str(messages[1]["content"]))
        return super().__call__(messages, body)

    def _next_call(self, talk: _Talk) -> tuple[str, str]:
        kind, item = super()._next_call(talk)
        if kind == "crawl_page":
            return kind, item
        part = self.subtasks.index(talk.subtask) if talk.subtask in self.subtasks else 0
        return kind, f"{talk.question.strip()} {('', 'example')[part]}".strip()

    def _subtask_answer(self, talk: _Talk, *, forced: bool) -> str:
        quotes = _quotes("\n".join(talk.observations))[:_QUOTES]
        told = " ".join(f"{sentence[:-1]} [{source}]." for source, sentence in quotes)
        text = f"\n{told or 'The sources say nothing of it.'}\n</subtask_answer>"
        return text if forced else f"<think>Enough.</think>\n<subtask_answer>{text}{INVENTED}"


def _quotes(observed: str) -> list[tuple[str, str]]:
    """Sentences with the id of the source they stand under, each once."""
    heads = list(_HEAD.finditer(observed))
    found: dict[str, str] = {}
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        text = observed[head.end() : following.start() if following else len(observed)]
        for sentence in _SENTENCE.findall(text):
            if "call was made before" not in sentence:  # the tool's own notice, no source's
                found.setdefault(sentence, head[1])
    return [(source, sentence) for sentence, source in found.items()]


def _verdict(asked: str) -> str:
    (count,) = re.findall(r"criteria 1 to (\d+)", asked) or ["1"]
    draw = int(hashlib.sha256(asked.encode()).hexdigest(), 16) % 3
    report = asked.rpartition("<report-")[2]
    (quote,) = re.findall(r"^[^#\n<][^\n.\[]{20,200}", report, re.MULTILINE)[:1] or [""]
    rows: list[dict[str, Any]] = [
        {"number": n, "reason": "as the material shows", "quote": quote, "score": 7 + draw}
        for n in range(1, int(count) + 1)
    ]
    return json.dumps({"criteria": rows})
