"""A thread that is too long for its model's context, made shorter: what the world wrote into it is
cut, what the policy wrote stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oresearch_graph.errors import PolicyOverflow
from oresearch_graph.evidence.ledger import cut_to, source_heads
from oresearch_graph.text.words import token_count
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step

_SHARE: Final = 0.7
"""Of the context, for the prompt; the rest is for the reply."""
_LEAST: Final = 60
"""Tokens below which an observation or an answer is not cut."""
_PART: Final = 30
"""Tokens of its text that each source keeps."""
_QUESTION: Final = 300
"""Tokens that a question keeps: a follow-up's holds an earlier report."""


def shortened(thread: Thread, overflow: PolicyOverflow) -> Thread | None:
    """The thread cut to what fits its context, as far as the overflow tells it, else to half;
    None where nothing is left to cut. A researcher with observations is to answer from them."""
    sizes = [token_count(step.text) if _is_cut(thread, step) else 0 for step in thread.steps]
    cuttable = sum(size for size in sizes if size > _LEAST)
    question = token_count(thread.question)
    total = question + token_count(thread.system) + sum(
        token_count(step.text) for step in thread.steps
    )  # fmt: skip
    # Our count of tokens and the server's differ by a factor that the overflow shows.
    scale = total / overflow.prompt if overflow.prompt else 1.0
    allowed = _SHARE * scale * overflow.context if overflow.context else total / 2
    excess = max(total - allowed, total / 10)
    if cuttable:
        share = max(0.0, 1 - excess / cuttable)
        steps = [
            _cut(step, thread, max(_LEAST, int(size * share))) if size > _LEAST else step
            for step, size in zip(thread.steps, sizes, strict=True)
        ]
        forced = _forced(thread)
        expected = (
            thread.next.model_copy(update={"tag": forced}) if thread.next and forced else None
        )
        return thread.model_copy(
            update={
                "steps": tuple(steps),
                "corrections": (),
                "forced": forced,
                "next": expected,
            }
        )
    if question > _QUESTION:
        text = cut_to(thread.question, thread.question[:_QUESTION], _QUESTION)
        return thread.model_copy(update={"question": text, "corrections": ()})
    return None


def forced_answer(thread: Thread) -> Thread | None:
    """A researcher's thread that is to end now, by what it has seen; None where it has seen nothing
    or is to end anyway."""
    if thread.role != "researcher" or thread.forced or not _forced(thread):
        return None
    expected = thread.next and thread.next.model_copy(update={"tag": "subtask_answer"})
    return thread.model_copy(
        update={"forced": "subtask_answer", "next": expected, "corrections": (), "pending": ""}
    )


def _is_cut(thread: Thread, step: Step) -> bool:
    """Observations; for the summarizer the answers as well."""
    return step.kind == "observation" or (
        thread.role == "summarizer" and step.kind == "subtask_answer"
    )


def _cut(step: Step, thread: Thread, tokens: int) -> Step:
    cut = _cut_sources if step.kind == "observation" else cut_to
    return step.model_copy(update={"text": cut(step.text, _focus(thread), tokens)})


def _cut_sources(text: str, focus: str, tokens: int) -> str:
    """An observation cut to so many tokens: of its first sources, their numbers and addresses
    whole, so that they can be cited, and of each a part of its text."""
    heads = source_heads(text)
    if not heads:
        return cut_to(text, focus, tokens)
    spent = [token_count(text[head.start : head.end]) + _PART for head in heads]
    most = next((n for n in range(len(heads), 1, -1) if sum(spent[:n]) <= tokens), 1)
    each = max(_PART, (tokens - sum(spent[:most])) // most + _PART)
    ends = [*(head.start for head in heads[1:]), len(text)]
    parts = [
        f"{text[head.start : head.end]}\n{cut_to(text[head.end : end], focus, each)}"
        for head, end in zip(heads[:most], ends, strict=False)
    ]
    return "\n\n".join([text[: heads[0].start].strip()[:_QUESTION], *parts]).strip()


def _focus(thread: Thread) -> str:
    """What the cut text is to be about: the subtask in hand, else the question."""
    subtasks = _texts(thread.steps, "subtask", thread.branch)
    return subtasks[-1] if thread.role == "researcher" and subtasks else thread.question


def _texts(steps: Sequence[Step], kind: str, branch: int | None) -> list[str]:
    return [step.text for step in steps if step.kind == kind and step.branch == branch]


def _forced(thread: Thread) -> str | None:
    if thread.role == "researcher" and _texts(thread.steps, "observation", thread.branch):
        return "subtask_answer"
    return thread.forced
