"""The tiny world: invented places with invented figures, as documents, as questions, and a teacher
who researches them.

A figure stands in one document and nowhere else, so a policy that states it has read it. Names and
figures are drawn from a seed; the places of one split never occur in another.

The teacher is the policy whose traces the tiny model is fine-tuned on. It reads and writes
faultlessly, but in half of the branches it searches carelessly: for the attribute alone, without
the place, which finds other places' pages. So a fine-tuned model does either, and only the reward
tells it which of the two finds something. It reads nothing but its thread, as any policy does.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple, assert_never

from oresearch_graph.policies.policy import Continuation
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Step, Usage, list_items

ATTRIBUTES: Final = {
    "population": "counted", "area": "covered", "rainfall": "reached", "harvest": "yielded",
    "budget": "totalled", "height": "measured", "depth": "attained", "exports": "earned",
}  # fmt: skip
"""What a place has figures of, each with its own verb. The verb is what a model of this size finds
a figure by: with one verb for all it took the page's first figure in half of its answers."""
_CONSONANTS: Final = "bcdfghklmnprstvz"
_VOWELS: Final = "aeiou"
_FILLERS: Final = (
    "The council met twice in spring.",
    "A new bridge opened last year.",
    "Trains stop there every hour.",
    "Farmers grow barley and beans.",
)
ATTRIBUTES_ASKED: Final = 2
"""Attributes that one question asks for: as many subtasks, and so branches."""
CARELESS: Final = 0.5
"""Share of branches whose search leaves out the place."""
_FACT = re.compile(r"The (\w+) of (\w+) \w+ \d+\.")
_QUESTION = re.compile(r"Report on (\w+): ([\w, ]+)\.")
_SOURCE = re.compile(r"^\[(\d+)\] (.*)$", re.MULTILINE)


class TinyPlace(NamedTuple):
    """A place with its figures, three digits each."""

    name: str
    figures: dict[str, int]

    @property
    def document(self) -> str:
        """The page about it."""
        facts = " ".join(fact(self.name, name, value) for name, value in self.figures.items())
        return f"# Register of {self.name}\n\n{facts}\n"


class Task(NamedTuple):
    """One question about one place."""

    place: TinyPlace
    attributes: tuple[str, ...]

    @property
    def question(self) -> str:
        return f"Report on {self.place.name}: {', '.join(self.attributes)}."

    @property
    def key_points(self) -> tuple[KeyPoint, ...]:
        """One for each figure: the figure, and what it is of, in one sentence or two."""
        return tuple(
            KeyPoint(
                text=fact(self.place.name, name, self.place.figures[name]),
                needs=((str(self.place.figures[name]),), (name,), (self.place.name,)),
            )
            for name in self.attributes
        )


def fact(place: str, attribute: str, value: int) -> str:
    """The sentence that states a figure, in documents and in good reports."""
    return f"The {attribute} of {place} {ATTRIBUTES[attribute]} {value}."


def places(count: int, seed: int = 0) -> list[TinyPlace]:
    """`count` places with names of their own."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible world, no secret
    names: dict[str, None] = {}
    while len(names) < count:
        syllables = draw.randint(2, 3)
        word = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(syllables))
        names[word.capitalize()] = None
    return [_place(name, draw) for name in names]


def _place(name: str, draw: random.Random) -> TinyPlace:
    attributes = draw.sample(tuple(ATTRIBUTES), ATTRIBUTES_ASKED + 1)
    return TinyPlace(name, {attribute: draw.randint(100, 999) for attribute in attributes})


def tasks(of: Sequence[TinyPlace], per_place: int = 1) -> Iterator[Task]:
    """Questions about each place, each for another pair of its figures."""
    for place in of:
        attributes = list(place.figures)
        for turn in range(per_place):
            start = turn % len(attributes)
            rotated = [*attributes[start:], *attributes[:start]]
            yield Task(place, tuple(rotated[:ATTRIBUTES_ASKED]))


def write_documents(folder: Path, of: Sequence[TinyPlace]) -> None:
    """One Markdown file per place, with a sentence that says nothing now and then."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, place in enumerate(of):
        filler = _FILLERS[number % len(_FILLERS)]
        (folder / f"{place.name.lower()}.md").write_text(f"{place.document}{filler}\n", "utf-8")


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
        text = self._text(thread)
        if on_text is not None:
            on_text(text)
        usage = Usage(role=thread.role, model=self.name, calls=1)
        return Continuation(text=text, stop="stop", usage=usage)

    def _text(self, thread: Thread) -> str:
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
    place, attributes = _question_parts(thread)
    lines = [f"{number}. {name} of {place}" for number, name in enumerate(attributes, start=1)]
    return "<subtask_list>\n" + "\n".join(lines) + "\n</subtask_list>"


def _research(thread: Thread, careless: float) -> str:
    branch_steps = [step for step in thread.steps if step.branch == thread.branch]
    opening = ""
    if not any(step.kind == "subtask" for step in branch_steps):
        subtask_list = next(step.text for step in thread.steps if step.kind == "subtask_list")
        subtask = list_items(subtask_list)[(thread.branch or 1) - 1]
        opening = f"\n\n<subtask>{subtask}</subtask>"
    else:
        subtask = next(step.text for step in branch_steps if step.kind == "subtask")
    name, place = subtask.split(" of ")
    observed = [step.text for step in branch_steps if step.kind == "observation"]
    if not observed:
        # A draw that is the same whenever the subtask is: traces can be made again.
        draw = random.Random(subtask).random()  # noqa: S311 - no secret
        query = name if draw < careless else subtask
        return f"{opening}\n\n<think>Search.</think>\n\n<web_search>{query}</web_search>"
    answer = _fact_with_source(place, name, "\n".join(observed))
    return f"{opening}\n\n<think>Answer.</think>\n\n<subtask_answer>{answer}</subtask_answer>"


def _fact_with_source(place: str, name: str, observed: str) -> str:
    """The figure with the number of the source that shows it."""
    heads = list(_SOURCE.finditer(observed))
    for match in _FACT.finditer(observed):
        if (match[1], match[2]) == (name, place):
            source = [head[1] for head in heads if head.start() < match.start()][-1]
            return f"{match[0][:-1]} [{source}]."
    return f"No figure for the {name} of {place} was found."


def _report(thread: Thread) -> str:
    place, _ = _question_parts(thread)
    answers = [step.text for step in _answers(thread.steps)]
    numbers = dict.fromkeys(n for text in answers for n in re.findall(r"\[(\d+)\]", text))
    references = "\n".join(f"[{number}]. Register of {place}" for number in numbers)
    body = "\n".join(answers)
    return (
        f"\n\n<suggested_answer>\n## Introduction\nReport on {place}.\n\n## Findings\n{body}\n\n"
        f"## Conclusion\nDone.\n\n## References\n{references}\n</suggested_answer>"
    )


def _answers(steps: Sequence[Step]) -> list[Step]:
    return [step for step in steps if step.kind == "subtask_answer"]


def _question_parts(thread: Thread) -> tuple[str, list[str]]:
    match = _QUESTION.search(thread.question)
    if match is None:
        raise ValueError(f"not a question about the tiny world: {thread.question!r}")
    return match[1], match[2].split(", ")
