"""What stages hand to each other: one JSON object a line, each with its author's reasons.

A candidate is one try at answering one seed. Its id says both: `<seed>.<number>`; the Trace made
of it carries that id. Missing is None, never 0.
"""

from __future__ import annotations

import re
from typing import Final, Literal

from pydantic import Field

from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace import Execution, text_hash
from oresearch_graph.trace.validation import FrozenModel

_UNSAFE: Final = re.compile(r"[^\w-]+")


class Record(FrozenModel):
    """A line of a stage's file."""


class Seed(Record):
    """A question to be researched."""

    id: str = Field(pattern=r"^[\w-]+$")
    question: str = Field(pattern=r"\S")
    language: str | None = None
    """ISO 639-1 code."""
    domain: str | None = None
    source: str = ""
    """Where it comes from: a file's or a data set's name; for written ones the model."""
    license: str | None = None
    origin: Literal["given", "written", "imported"] = "given"
    key_points: tuple[KeyPoint, ...] = ()
    """Facts of a good report, where the seed file knew them: the deterministic judge's."""


class Dropped(Record):
    """A seed that was left out."""

    question: str
    reason: Literal["invalid", "duplicate", "contaminated", "not_open_ended", "surplus"]
    detail: str
    """What decided it: the seed it repeats, the benchmark's question, the quota."""
    source: str = ""
    """File and line."""


class Recipe(Record):
    """How one candidate is made; all that tells it from its siblings."""

    teacher: str
    """A name among `generate.teachers`."""
    temperature: float | None = None
    execution: Execution = "parallel"
    draw: int = 0
    """Draws researchers from the teacher's pool."""


class Candidate(Record):
    """One try at a seed: planned before anything runs, so that every machine plans the same."""

    id: str
    seed: str
    number: int = Field(ge=1)
    recipe: Recipe


class Lost(Record):
    """A candidate that ended without a Trace: infrastructure or configuration, never the policy."""

    id: str
    reason: str
    tries: int = 1
    tokens: int | None = None
    """Spent in all tries; None where no provider said."""
    cost: float | None = None
    """US dollars, likewise."""


class Finding(Record):
    """One reason against a candidate, with the place that shows it."""

    rule: str
    message: str
    step: int | None = None
    """Index into `Trace.steps`; None when something is missing altogether."""
    branch: int | None = None
    start: int | None = None
    """`steps[step].text[start:end]` is the offending span."""
    end: int | None = None


class Filtered(Record):
    """What the rules say of a candidate; no finding: it passed."""

    id: str
    seed: str
    findings: tuple[Finding, ...] = ()

    @property
    def passed(self) -> bool:
        return not self.findings


class Judgement(Record):
    """What the judge says of a candidate that passed the filter."""

    id: str
    seed: str
    judged: Judged | None = None
    """None: unjudged, kept apart and never a score."""
    unjudged: str | None = None
    """Why there is no verdict."""
    agreement: float | None = Field(default=None, ge=0, le=1)
    """Of the votes, see datagen/judge; None with one vote or none."""
    accepted: bool = False
    """Above every threshold."""
    chosen: bool = False
    """Among the best of its seed: what is exported as SFT rows."""
    key: str = ""
    """Hash of all that the verdict rests on: a line with the same key is not judged again."""
    tokens: int | None = None
    """Spent on the judge, failed requests too; None where no server said, or none was asked."""
    cost: float | None = None
    """US dollars, likewise."""

    @property
    def quality(self) -> float | None:
        return None if self.judged is None else self.judged.quality


class Decision(Record):
    """One reviewer's word on one item of the sample. The last word of a reviewer counts."""

    item: str
    reviewer: str
    accept: bool
    reason: str = ""
    content: str | None = None
    """Hash of what the reviewer saw: of another trace under the same id nothing is said. None: not
    recorded, it counts for any."""
    at: str
    """ISO 8601 in UTC."""


class SeedTruth(Record):
    """What reports on a seed are to be judged by in RL, made from accepted traces."""

    seed: str
    question: str
    truth: GroundTruth
    by: str
    """`claims` for the deterministic way, else the model's name."""
    traces: tuple[str, ...]
    """The accepted candidates it rests on."""


def seed_id(question: str) -> str:
    """The id of a seed that brings none: the same question has the same one."""
    return f"s{text_hash(' '.join(question.split()))[:12]}"


def safe_id(text: str) -> str:
    """An id from outside in letters, digits, `_` and `-`."""
    return _UNSAFE.sub("-", text).strip("-")


def candidate_id(seed: str, number: int) -> str:
    """The id of a seed's candidate, and of its Trace."""
    return f"{seed}.{number}"


def seed_of(candidate: str) -> str:
    """The seed's id in a candidate's or a Trace's id."""
    return candidate.rpartition(".")[0]
