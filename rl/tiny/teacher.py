"""The tiny world's teacher: a policy that researches it faultlessly, so that its traces can be
learned from. It reads nothing but its thread, as any policy does."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from oresearch_graph.policies.policy import Continuation
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage, list_items

_FACT = re.compile(r"The (\w+) of (\w+) was (\d+)\.")
_QUESTION = re.compile(r"Report on (\w+): ([\w, ]+)\.")
_SOURCE = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


class TinyTeacher:
    """Writes as every role; each subtask takes it one search."""

    name = "tiny-teacher"

    async def continue_thread(
        self,
        thread: Thread,
        stop: Sequence[str],  # noqa: ARG002 - it always ends where it should
        *,
        on_text: Callable[[str], None] | None = None,
    ) -> Continuation:
        text = _WRITERS[thread.role](thread)
        if on_text is not None:
            on_text(text)
        usage = Usage(role=thread.role, model=self.name, calls=1)
        return Continuation(text=text, stop="stop", usage=usage)


def _plan(thread: Thread) -> str:
    place, asked = _asked(thread)
    lines = [f"{number}. {name} of {place}" for number, name in enumerate(asked, start=1)]
    return "<subtask_list>\n" + "\n".join(lines) + "\n</subtask_list>"


def _research(thread: Thread) -> str:
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
        return f"{opening}\n\n<think>Search.</think>\n\n<web_search>{subtask}</web_search>"
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
    references = "\n".join(f"[{number}]. {place}" for number in cited)
    body = "\n".join(answers)
    return (
        f"\n\n<suggested_answer>\n## Introduction\n{place} in figures.\n\n## Findings\n{body}\n\n"
        f"## Conclusion\nDone.\n\n## References\n{references}\n</suggested_answer>"
    )


def _answers(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.kind == "subtask_answer"]


def _asked(thread: Thread) -> tuple[str, list[str]]:
    found = _QUESTION.search(thread.question)
    if found is None:
        raise ValueError(f"not a question about the tiny world: {thread.question!r}")
    return found[1], found[2].split(", ")


_WRITERS: dict[str, Callable[[Thread], str]] = {
    "planner": _plan,
    "researcher": _research,
    "summarizer": _report,
}
