"""The tiny world: invented places with invented figures, as documents and as questions.

A figure stands in one document and nowhere else, so a policy that states it has read it. Names and
figures are drawn from a seed; the places of one split never occur in another.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from oresearch_graph.judging.key_points import KeyPoint

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
ASKED: Final = 2
"""Attributes that one question asks for: as many subtasks, and so branches."""


class Place(NamedTuple):
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

    place: Place
    asked: tuple[str, ...]

    @property
    def question(self) -> str:
        return f"Report on {self.place.name}: {', '.join(self.asked)}."

    @property
    def key_points(self) -> tuple[KeyPoint, ...]:
        """One for each figure: the figure, and what it is of, in one sentence or two."""
        return tuple(
            KeyPoint(
                text=fact(self.place.name, name, self.place.figures[name]),
                needs=((str(self.place.figures[name]),), (name,), (self.place.name,)),
            )
            for name in self.asked
        )


def fact(place: str, attribute: str, value: int) -> str:
    """The sentence that states a figure, in documents and in good reports."""
    return f"The {attribute} of {place} {ATTRIBUTES[attribute]} {value}."


def places(count: int, seed: int = 0) -> list[Place]:
    """`count` places with names of their own."""
    draw = random.Random(seed)  # noqa: S311 - a reproducible world, no secret
    names: dict[str, None] = {}
    while len(names) < count:
        syllables = draw.randint(2, 3)
        word = "".join(draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(syllables))
        names[word.capitalize()] = None
    return [_place(name, draw) for name in names]


def _place(name: str, draw: random.Random) -> Place:
    chosen = draw.sample(tuple(ATTRIBUTES), ASKED + 1)
    return Place(name, {attribute: draw.randint(100, 999) for attribute in chosen})


def tasks(of: Sequence[Place], per_place: int = 1) -> Iterator[Task]:
    """Questions about each place, each for another pair of its figures."""
    for place in of:
        known = list(place.figures)
        for turn in range(per_place):
            start = turn % len(known)
            rotated = [*known[start:], *known[:start]]
            yield Task(place, tuple(rotated[:ASKED]))


def write_documents(folder: Path, of: Sequence[Place]) -> None:
    """One Markdown file per place, with a sentence that says nothing now and then."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, place in enumerate(of):
        filler = _FILLERS[number % len(_FILLERS)]
        (folder / f"{place.name.lower()}.md").write_text(f"{place.document}{filler}\n", "utf-8")
