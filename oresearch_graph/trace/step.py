"""The Step: one element of a research trajectory, and who wrote each part of it."""

from __future__ import annotations

from typing import Annotated, Final, Literal, get_args

from pydantic import AfterValidator, Field

from oresearch_graph.records import stored
from oresearch_graph.trace.plain_text import storable
from oresearch_graph.trace.validation import FrozenModel

StepKind = Literal[
    "subtask_list",
    "subtask",
    "think",
    "plan",
    "web_search",
    "crawl_page",
    "tool_call",
    "observation",
    "subtask_answer",
    "suggested_answer",
    "stray",
]
"""The paper's nine tags; `tool_call` for an embedder's own tool (written as a tag with the tool's
name); `stray` for text outside every tag."""

Author = Literal["policy", "world"]
"""Who wrote a piece of text. The SFT loss mask and the RL response mask read this and no more."""

Opener = Literal["policy", "world", "given"]
"""Who wrote an open tag. `given`: the world, where the protocol demands this very tag next and the
server could begin the reply for the model. A trained model has to write it itself, so rows for
training have it as the policy's."""

Execution = Literal["parallel", "sequential"]

KINDS: Final[tuple[StepKind, ...]] = get_args(StepKind)
CALL_KINDS: Final[frozenset[StepKind]] = frozenset(("web_search", "crawl_page", "tool_call"))
ANSWER_KINDS: Final[frozenset[StepKind]] = frozenset(("subtask_answer", "suggested_answer"))


Text = Annotated[str, AfterValidator(storable)]
"""Text from outside. A lone surrogate, as a broken JSON escape yields it, would make the record
impossible to write; NUL cannot be stored in PostgreSQL."""


@stored
class Step(FrozenModel):
    """One tagged element, frozen, with the exact text between its tags.

    As text a step is `lead + <tag> + text + </tag>`. The open tag and the lead belong to `opened`,
    the close tag to `closed`, the text to `author`; `None` means that the tag is not there.
    """

    kind: StepKind
    text: Text
    """Exactly what stands between the tags; world text unescaped."""
    author: Author = "policy"
    branch: int | None = Field(default=None, ge=1)
    """The subtask this step belongs to, counted from 1; None for the planner and summarizer."""
    lead: Text = ""
    """White space before the open tag."""
    opened: Opener | None = "policy"
    """Who wrote the open tag; None: the policy left it out (an orphan close tag)."""
    closed: Author | None = "policy"
    """Who wrote the close tag; None: it never came (cut short)."""
    name: Text | None = None
    """The tool's name, for `tool_call`."""

    @property
    def tag(self) -> str | None:
        """The tag this step is written with; None for stray text."""
        if self.kind == "stray":
            return None
        return self.name if self.kind == "tool_call" else self.kind

    @property
    def is_call(self) -> bool:
        return self.kind in CALL_KINDS


def world_step(kind: StepKind, text: str, *, branch: int | None = None, lead: str = "\n\n") -> Step:
    """A step that the world wrote from open tag to close tag: an observation, a given subtask."""
    return Step(
        kind=kind, text=text, author="world", opened="world", closed="world", branch=branch,
        lead=lead,
    )  # fmt: skip
