"""The tiny world's teacher: a policy whose traces the tiny model is fine-tuned on.

It reads and writes faultlessly, but in half of the branches it searches carelessly: for the
attribute alone, without the place, which finds other places' pages. So a fine-tuned model does
either, and only the reward tells it which of the two finds something. It reads nothing but its
thread, as any policy does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Final, assert_never

from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage, list_items

CARELESS: Final = 0.5
"""Share of branches whose search leaves out the place."""

_FACT = re.compile(r"The (\w+) of (\w+) \w+ \d+\.")
_QUESTION = re.compile(r"Report on (\w+): ([\w, ]+)\.")
_SOURCE = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


class TinyTeacher:
    """Writes as every role; each subtask takes it one search."""

    name = "tiny-teacher"

    def __init__(self, careless: float = CARELESS) -> None:
        self._careless = careless

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],  # noqa: ARG002 - it always ends where it should
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        text = self._written(thread)
        if on_text is not None:
            on_text(text)
        usage = Usage(role=thread.role, model=self.name, calls=1)
        return Continuation(text=text, stop="stop", usage=usage)

    def _written(self, thread: Thread) -> str:
        match thread.role:
            case "planner":
                return _plan(thread)
            case "researcher":
                return _research(thread, self._careless)
            case "summarizer":
                return _report(thread)
            case _:
                assert_never(thread.role)


def _plan(thread: Thread) -> str:
    place, asked = _asked(thread)
    lines = [f"{number}. {name} of {place}" for number, name in enumerate(asked, start=1)]
    return "<subtask_list>\n" + "\n".join(lines) + "\n</subtask_list>"


def _research(thread: Thread, careless: float) -> str:
    own = [step for step in thread.steps if step.branch == thread.branch]
    opening = ""
    if not any(step.kind == "subtask" for step in own):
        listed = next(step.text for step in thread.steps if step.kind == "subtask_list")
        subtask = list_items(listed)[(thread.branch or 1) - 1]
        opening = f"\n\n<subtask>{subtask}</subtask>"
    else:
        subtask = next(step.text for step in own if step.kind == "subtask")
    name, place = subtask.split(" of ")
    observed = [step.text for step in own if step.kind == "observation"]
    if not observed:
        # A draw that is the same whenever the subtask is: traces can be made again.
        draw = random.Random(subtask).random()  # noqa: S311 - no secret
        query = name if draw < careless else subtask
        return f"{opening}\n\n<think>Search.</think>\n\n<web_search>{query}</web_search>"
    answer = _stated(place, name, "\n".join(observed))
    return f"{opening}\n\n<think>Answer.</think>\n\n<subtask_answer>{answer}</subtask_answer>"


def _stated(place: str, name: str, observed: str) -> str:
    """The figure with the number of the source that shows it."""
    heads = list(_SOURCE.finditer(observed))
    for found in _FACT.finditer(observed):
        if (found[1], found[2]) == (name, place):
            source = [head[1] for head in heads if head.start() < found.start()][-1]
            return f"{found[0][:-1]} [{source}]."
    return f"No figure for the {name} of {place} was found."


def _report(thread: Thread) -> str:
    place, _ = _asked(thread)
    answers = [step.text for step in _answers(thread.steps)]
    cited = dict.fromkeys(n for text in answers for n in re.findall(r"\[(\d+)\]", text))
    references = "\n".join(f"[{number}]. Register of {place}" for number in cited)
    body = "\n".join(answers)
    return (
        f"\n\n<suggested_answer>\n## Introduction\nReport on {place}.\n\n## Findings\n{body}\n\n"
        f"## Conclusion\nDone.\n\n## References\n{references}\n</suggested_answer>"
    )


def _answers(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.kind == "subtask_answer"]


def _asked(thread: Thread) -> tuple[str, list[str]]:
    found = _QUESTION.search(thread.question)
    if found is None:
        raise ValueError(f"not a question about the tiny world: {thread.question!r}")
    return found[1], found[2].split(", ")
