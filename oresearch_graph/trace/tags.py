"""Tagged text: the projection of steps that policies read and write.

A policy step ends at its own first close tag; protocol tags inside it are text. An element whose
close tag never comes before the policy's turn ended (at a call answered by an observation) ends
at the next tag. World text is escaped (trace/escaping.py), policy text is never altered. Every
function here takes any string, never raises and loses no character.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, cast

from oresearch_graph.trace.escaping import PROTOCOL_TAGS, escape_world, unescape_world
from oresearch_graph.trace.plain_text import storable
from oresearch_graph.trace.step import Author, Execution, Step, StepKind


def open_tag(name: str) -> str:
    """`<name>`."""
    return f"<{name}>"


def close_tag(name: str) -> str:
    """`</name>`: what a policy stops at."""
    return f"</{name}>"


@lru_cache(maxsize=64)
def tag_pattern(tools: tuple[str, ...]) -> re.Pattern[str]:
    """Matches every tag of the protocol, the extra tools' included."""
    names = "|".join(re.escape(name) for name in (*PROTOCOL_TAGS, *tools))
    return re.compile(f"<(/?)({names})>")


def shown_text(step: Step, tools: Sequence[str] = ()) -> str:
    """The step's text as a model is shown it, without its tags: world text escaped."""
    return escape_world(step.text, tools) if step.author == "world" else step.text


def render_step(step: Step, tools: Sequence[str] = ()) -> str:
    """One step as protocol text, world text escaped."""
    return "".join(text for _, text in step_segments(step, tools))


def step_segments(step: Step, tools: Sequence[str] = ()) -> list[tuple[Author, str]]:
    """The step's text in pieces, each with its author: what loss masks are made of. A given open
    tag is the policy's there: it has to learn to write it."""
    text = shown_text(step, tools)
    if step.tag is None:
        return [(step.author, step.lead + text)]
    opener: Author | None = "policy" if step.opened == "given" else step.opened
    pieces: list[tuple[Author, str]] = [(opener or step.author, step.lead)]
    if opener is not None:
        pieces.append((opener, open_tag(step.tag)))
    pieces.append((step.author, text))
    if step.closed is not None:
        pieces.append((step.closed, close_tag(step.tag)))
    return [(author, piece) for author, piece in pieces if piece]


def render_steps(steps: Sequence[Step], tools: Sequence[str] = ()) -> str:
    """Steps as one text: what a policy is shown."""
    return "".join(render_step(step, tools) for step in steps)


def parse_steps(
    text: str, *, execution: Execution = "parallel", tools: Sequence[str] = ()
) -> tuple[Step, ...]:
    """The steps of a whole trajectory, authorship as the execution mode has it."""
    return _Parser(text, tuple(tools), world_subtasks=execution == "parallel").steps()


def parse_policy_text(text: str, tools: Sequence[str] = ()) -> tuple[Step, ...]:
    """The steps of text that a policy wrote in one go: nothing in it is the world's."""
    return _Parser(text, tuple(tools), world_observations=False).steps()


class _Tag(NamedTuple):
    start: int
    end: int
    name: str
    closing: bool


class _Parser:
    """One pass over the tags of a text; linear in its length."""

    def __init__(
        self, text: str, tools: tuple[str, ...], *,
        world_subtasks: bool = False, world_observations: bool = True,
    ) -> None:  # fmt: skip
        text = storable(text)
        self.text, self.tools = text, tools
        self.world_subtasks, self.world_observations = world_subtasks, world_observations
        self.tags = [
            _Tag(m.start(), m.end(), m[2], bool(m[1])) for m in tag_pattern(tools).finditer(text)
        ]
        self.closes: dict[str, list[int]] = {}
        for index, tag in enumerate(self.tags):
            if tag.closing:
                self.closes.setdefault(tag.name, []).append(index)
        self.turn_ends = self._turn_ends() if world_observations else []
        self.elements: list[Step] = []
        self.position = 0
        self.branches = 0
        self.branch: int | None = None

    def _turn_ends(self) -> list[int]:
        """Tags that close a call which an observation follows: there the policy stopped."""
        calls = {"web_search", "crawl_page", *self.tools}
        return [
            index
            for index, (tag, after) in enumerate(zip(self.tags, self.tags[1:], strict=False))
            if tag.closing
            and tag.name in calls
            and (after.name, after.closing) == ("observation", False)
            and not self.text[tag.end : after.start].strip()
        ]

    def steps(self) -> tuple[Step, ...]:
        index = 0
        while index < len(self.tags):
            tag = self.tags[index]
            if tag.name == "observation":
                index = self._observation(index)
            elif tag.closing:
                self._add(tag.name, self.position, tag.start, tag.end, opened=None)
                index += 1
            else:
                index = self._element(index)
        if self.position < len(self.text):
            self._stray(len(self.text))
        return tuple(self.elements)

    def _element(self, index: int) -> int:
        tag = self.tags[index]
        close = self._own_close(index)
        start, end = self._ends(index, close)
        of_world = tag.name == "subtask" and self.world_subtasks and close is not None
        author: Author = "world" if of_world else "policy"
        self._add(tag.name, tag.end, start, end, lead=self._lead(tag.start), author=author,
                  opened=author, closed=None if close is None else author)  # fmt: skip
        return index + 1 if close is None else close + 1

    def _ends(self, index: int, close: int | None) -> tuple[int, int]:
        """Where the element's text ends, and where the element does."""
        if close is not None:
            return self.tags[close].start, self.tags[close].end
        end = self.tags[index + 1].start if index + 1 < len(self.tags) else len(self.text)
        return end, end

    def _own_close(self, index: int) -> int | None:
        tag = self.tags[index]
        closes = self.closes.get(tag.name, [])
        at = bisect_left(closes, index)
        if at == len(closes):
            return None
        turn_end = bisect_left(self.turn_ends, index)
        bounded = tag.name != "suggested_answer" and turn_end < len(self.turn_ends)
        return None if bounded and closes[at] > self.turn_ends[turn_end] else closes[at]

    def _observation(self, index: int) -> int:
        """The world's when it answers a call; otherwise text that the policy made up."""
        tag = self.tags[index]
        if tag.closing:
            return index + 1
        close = self._own_close(index)
        if not self._answers_call(index):
            return index + 1 if close is None else close + 1
        start, end = self._ends(index, close)
        self._add("observation", tag.end, start, end, lead=self._lead(tag.start), author="world",
                  opened="world", closed=None if close is None else "world")  # fmt: skip
        return index + 1 if close is None else close + 1

    def _answers_call(self, index: int) -> bool:
        """True when nothing but white space lies between a call and the tag at `index`."""
        return (
            self.world_observations
            and bool(self.elements)
            and self.elements[-1].is_call
            and self.position >= self.tags[index - 1].start
            and not self.text[self.position : self.tags[index].start].strip()
        )

    def _lead(self, upto: int) -> str:
        between = self.text[self.position : upto]
        if not between or between.isspace():
            return between
        self._stray(upto)
        return ""

    def _stray(self, upto: int) -> None:
        self.elements.append(
            Step(kind="stray", text=self.text[self.position : upto], branch=self._branch("stray"))
        )
        self.position = upto

    def _branch(self, kind: StepKind) -> int | None:
        if kind == "subtask":
            self.branches += 1
            self.branch = self.branches
        if kind == "suggested_answer":
            self.branch = None
        return self.branch if kind != "subtask_list" else None

    def _add(
        self, tag: str, start: int, stop: int, end: int, *, lead: str = "",
        author: Author = "policy", opened: Author | None = "policy",
        closed: Author | None = "policy",
    ) -> None:  # fmt: skip
        kind = cast("StepKind", tag if tag in PROTOCOL_TAGS else "tool_call")
        text = self.text[start:stop]
        self.elements.append(
            Step(
                kind=kind,
                text=unescape_world(text, self.tools) if author == "world" else text,
                author=author,
                branch=self._branch(kind),
                lead=lead,
                opened=opened,
                closed=closed,
                name=tag if kind == "tool_call" else None,
            )
        )
        self.position = end
