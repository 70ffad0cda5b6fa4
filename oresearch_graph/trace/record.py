"""The Trace: the one record of a research run. Reports, training rows and rewards all read it.

It stores what cannot be derived and nothing else. Missing is None, never 0; failure is `outcome`
with named `failures`, never text inside an answer; token ids never live here.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Final, Literal, TypeVar, get_args

from pydantic import AfterValidator, Field, model_validator

from oresearch_graph.records import stored
from oresearch_graph.redaction import public_name, redacted
from oresearch_graph.trace.list_items import list_items
from oresearch_graph.trace.plain_text import iso_day, spelled_address, storable, title_line
from oresearch_graph.trace.step import Execution, Step, Text
from oresearch_graph.trace.validation import FrozenModel

SCHEMA_VERSION: Final = 2

Number = TypeVar("Number", int, float)

Role = Literal["planner", "researcher", "summarizer"]
Spender = Literal[Role, "verifier"]
"""Who spends: a role, or the model that reads a report against its sources."""
Outcome = Literal["complete", "partial", "failed"]
Dialect = Literal["paper", "released"]
Fault = Literal["policy", "web", "infrastructure", "person"]
"""Whose a failure is. Only the policy's are scored in training; infrastructure's void a rollout."""

FailureName = Literal[
    "grammar",  # text that breaks the protocol, after the corrections allowed
    "repaired",  # such text, corrected: the rejected attempt is kept here
    "revised",  # a report written once more by what its verifier found: the draft is kept here
    "unverified",  # a report that no model read against its sources, and why
    "recovered",  # such text, read as what it stands for: it is in the steps as it was sampled
    "cut",  # an answer cut by the token limit, or what a thread reads by its model's context
    "model_error",
    "tool_error",
    "timeout",
    "budget",
    "no_evidence",  # nothing was found, or an answer was given from memory
    "unread",  # no page that was asked for could be read
    "plan_fallback",  # the planner failed; the question itself became the one subtask
    "plan_rejected",
    "not_covered",  # a subtask that was dropped or stopped early; the message says why
    "citations_not_understood",  # the report cites nothing, or what leads nowhere
    "internal",
]

HARMLESS: Final[frozenset[FailureName]] = frozenset((
    "repaired", "revised", "recovered", "plan_fallback", "grammar", "unverified",
))  # fmt: skip
"""Failures after which nothing is missing, as long as the subtasks were answered."""


Address = Annotated[str, AfterValidator(spelled_address)]
"""An address that takes one line, as it is written wherever it is shown."""
Title = Annotated[str, AfterValidator(title_line)]


def _day(stated: str | None) -> str | None:
    return None if stated is None else iso_day(stated)


@stored
class Protocol(FrozenModel):
    """What a policy was told; two traces train together only when their fingerprints agree."""

    dialect: Dialect = "paper"
    execution: Execution = "parallel"
    prompt: Text = ""
    """Hash of the system prompt as every role is sent it, additions included."""
    tools: tuple[Text, ...] = ()
    """Names of the extra tools whose tags belong to the protocol."""
    extended: bool = False
    """True when an embedder's prompt additions, or the prompts by role, were in force: serving
    only, never training."""
    constrained: bool = False
    """True when the server held the policy's text to the protocol's grammar."""
    changed_by: tuple[Text, ...] = ()
    """Names of an embedder's middleware that changed what was asked or answered."""

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits over every field; a field that came later counts when set."""
        unset = {name for name in ("constrained", "changed_by") if not getattr(self, name)}
        fields = self.model_dump(mode="json", exclude=unset)
        canonical = json.dumps(fields, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]


@stored
class Source(FrozenModel):
    """One address that a run saw, with the text that was shown to the policy."""

    id: int = Field(ge=1)
    """Unique in the run: branch i counts from i * 1000 + 1 (evidence/sources.py)."""
    url: Address
    title: Title = ""
    text: Text = ""
    """What observations showed of it, and so all that a claim may rest on."""
    sha256: Text = ""
    """SHA-256 of `text` in UTF-8, hexadecimal."""
    read: bool = False
    """True when the page itself was opened; False when only a search result was seen."""
    branch: int | None = None
    published: Annotated[str | None, AfterValidator(_day)] = None
    """ISO date, when the source states one."""

    @classmethod
    def of(cls, *, id: int, url: str, text: str, title: str = "", read: bool = False,  # noqa: A002
           branch: int | None = None, published: str | None = None) -> Source:  # fmt: skip
        """A source with its hash filled in."""
        text = storable(text)
        return cls(id=id, url=url, title=title, text=text, sha256=text_hash(text), read=read,
                   branch=branch, published=published)  # fmt: skip


@stored
class Failure(FrozenModel):
    """Something that went wrong, named, with whose fault it was and where."""

    name: FailureName
    fault: Fault
    message: Annotated[Text, AfterValidator(redacted)]
    role: Role | None = None
    branch: int | None = None
    rejected: Text | None = None
    """The text that was refused, for `repaired` and `grammar`; the draft, for `revised`."""


@stored
class Usage(FrozenModel):
    """What one role spent in one branch on one model. None: the provider did not say."""

    role: Spender
    branch: int | None = None
    model: Annotated[Text, AfterValidator(public_name)] = ""
    calls: int = 0
    """Requests, every try counted."""
    unanswered: int = 0
    """Tries among them that brought no answer."""
    tool_calls: int = 0
    prompt_tokens: int | None = None
    cached_tokens: int | None = None
    completion_tokens: int | None = None
    estimated_tokens: int | None = None
    """Of tries that were not answered, and of answers whose provider did not say; not among the
    tokens above."""
    cost: float | None = None
    """US dollars, where the price of the model is known."""
    estimated_cost: float | None = None
    """Of the estimated tokens, where the price is known."""

    @property
    def tokens(self) -> int:
        """All that are known or estimated."""
        counts = (self.prompt_tokens, self.completion_tokens, self.estimated_tokens)
        return known_sum(counts) or 0

    def plus(self, other: Usage) -> Usage:
        """Both, as what this one is: of one role, branch and model."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        figures = {
            name: known_sum((getattr(self, name), getattr(other, name))) for name in _FIGURES
        }
        return self.model_copy(update={**sums, **figures, "model": self.model or other.model})


_COUNTS: Final = ("calls", "unanswered", "tool_calls")
_FIGURES: Final = (
    "prompt_tokens", "cached_tokens", "completion_tokens", "estimated_tokens", "cost",
    "estimated_cost",
)  # fmt: skip


@stored
class Span(FrozenModel):
    """When something ran, in seconds since the run began: the time line of the branches."""

    name: Text
    """`model`, `web_search`, `crawl_page`, a tool's name, or a role for the whole of its work."""
    branch: int | None = None
    start: float
    seconds: float


class Evidence(FrozenModel):
    """Where in a source a claim's checkable parts stand: `source.text[start:end] == quote`."""

    source: int
    start: int
    end: int
    quote: Text
    score: float
    """Alignment between claim and quote, 0 to 1."""


ClaimStatus = Literal[
    "quoted",  # it stands in a cited source word for word
    "supported",  # a model that read the cited passages quoted the words that say it
    "found",  # its figures, names and most of its words stand in one passage; meaning not checked
    "unchecked",  # nothing in it can be looked up, or too little of it stands in one passage
    "missing",  # parts of it stand nowhere in the cited sources
    "contradicted",  # the passage has another figure, or says the opposite
    "unsupported",  # a model that read them named words of it that they do not say
    "dangling",  # its citations lead to no source
    "not_checkable",  # the cited sources have no text, or another script
]


STATUSES: Final[tuple[ClaimStatus, ...]] = get_args(ClaimStatus)
WARNINGS: Final[frozenset[ClaimStatus]] = frozenset(("missing", "contradicted", "unsupported"))
"""Something in the sentence speaks against it."""


class Claim(FrozenModel):
    """One cited sentence of the report: `suggested_answer.text[start:end]`."""

    start: int
    end: int
    text: Text
    sources: tuple[int, ...]
    """Ledger ids its citations resolve to."""
    dangling: tuple[Text, ...] = ()
    """Citation marks that resolve to nothing, as written."""
    status: ClaimStatus
    missing: tuple[Text, ...] = ()
    """Quotes, numbers, dates and names of the sentence that no cited source holds."""
    evidence: tuple[Evidence, ...] = ()

    @property
    def holds(self) -> bool:
        """Its words, what can be looked up in it, or its meaning stand in a cited source."""
        return self.status in {"quoted", "supported", "found"}

    @property
    def warns(self) -> bool:
        """Something in it speaks against it."""
        return self.status in WARNINGS


@stored
class CitationReport(FrozenModel):
    """The check of a report against its sources."""

    claims: tuple[Claim, ...] = ()
    sentences: int = 0
    """Sentences of the body: the denominator of `coverage`."""

    @property
    def counts(self) -> dict[ClaimStatus, int]:
        """How many claims have each status that any has, in the statuses' order."""
        found = Counter(claim.status for claim in self.claims)
        return {status: found[status] for status in STATUSES if status in found}

    @property
    def accuracy(self) -> float | None:
        """Share of the claims of which anything is known that hold; None without any such claim.
        Unchecked ones and those that are not checkable are left out."""
        known = [c for c in self.claims if c.status not in {"unchecked", "not_checkable"}]
        return sum(claim.holds for claim in known) / len(known) if known else None

    @property
    def coverage(self) -> float | None:
        """Share of the body's sentences with a citation that leads to a source, and that nothing
        speaks against."""
        if not self.sentences:
            return None
        cited = sum(not claim.warns and claim.status != "dangling" for claim in self.claims)
        return cited / self.sentences


def _of_today(claim: object) -> object:
    if not isinstance(claim, dict) or claim.get("status") not in ("supported", "unsupported"):
        return claim
    not_found = "missing" if claim.get("missing") else "unchecked"
    return claim | {"status": "found" if claim["status"] == "supported" else not_found}


@stored
class Trace(FrozenModel):
    """A question, what was done about it, and how it ended."""

    version: Literal[2] = SCHEMA_VERSION
    id: Text = ""
    question: Text
    language: Text | None = None
    """ISO 639-1 code of the question's language."""
    protocol: Protocol = Protocol()
    steps: tuple[Step, ...] = ()
    sources: tuple[Source, ...] | None = None
    """The ledger; None when the trace came from bare text."""
    outcome: Outcome = "complete"
    failures: tuple[Failure, ...] = ()
    usage: tuple[Usage, ...] = ()
    citations: CitationReport | None = None
    spans: tuple[Span, ...] = ()
    models: dict[Text, Text] = Field(default_factory=dict)
    """Which model wrote as which role; `extractive` is the watermark of the model-free policy."""
    created: Text | None = None
    """When the run began, ISO 8601 in UTC."""

    @model_validator(mode="before")
    @classmethod
    def _of_any_version(cls, trace: object) -> object:
        """Version 1 had two statuses of claims, by their words alone."""
        if not isinstance(trace, dict) or trace.get("version") != 1:
            return trace
        citations = trace.get("citations")
        if isinstance(citations, dict) and isinstance(
            claims := citations.get("claims"), list | tuple
        ):
            citations = {**citations, "claims": tuple(map(_of_today, claims))}
        return {**trace, "version": SCHEMA_VERSION, "citations": citations}

    @property
    def why_no_report(self) -> str:
        """What its failures say, of a run that ended without a report."""
        reasons = dict.fromkeys(each.message for each in self.failures)
        return "; ".join(reasons) or "the run gives no reason"

    @property
    def execution(self) -> Execution:
        return self.protocol.execution

    @property
    def subtasks(self) -> tuple[str, ...]:
        """The subtasks as the planner listed them, without their list marks."""
        plan = next((step.text for step in self.steps if step.kind == "subtask_list"), "")
        return list_items(plan)

    @property
    def branches(self) -> dict[int, tuple[Step, ...]]:
        """Steps of each branch, by branch number."""
        branches: dict[int, list[Step]] = {}
        for step in self.steps:
            if step.branch is not None:
                branches.setdefault(step.branch, []).append(step)
        return {branch: tuple(steps) for branch, steps in sorted(branches.items())}

    @property
    def answer(self) -> Step | None:
        """The last `suggested_answer`, exactly as the policy wrote it."""
        return None if (at := self.answer_at) is None else self.steps[at]

    @property
    def answer_at(self) -> int | None:
        """The place of the last `suggested_answer` among the steps. One inside a branch of a
        parallel run was written by who has seen that subtask alone: it is none."""
        places = range(len(self.steps) - 1, -1, -1)
        return next((at for at in places if _is_report(self.steps[at])), None)

    @property
    def changed_by(self) -> tuple[str, ...]:
        """Names of the middleware that changed a request or a reply of some researcher."""
        return self.protocol.changed_by

    @property
    def extractive(self) -> bool:
        """True when any role was played without a language model."""
        return "extractive" in self.models.values()

    @property
    def repaired(self) -> bool:
        """True when some text was rejected and corrected before it entered the steps, or is in them
        as something else than it was written as, or was written again by what a verifier found."""
        names = {"repaired", "recovered", "revised"}
        return any(failure.name in names for failure in self.failures)


def _is_report(step: Step) -> bool:
    return step.kind == "suggested_answer" and step.branch is None


def text_hash(text: str) -> str:
    """SHA-256 of the text in UTF-8, hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def known_sum(values: Iterable[Number | None]) -> Number | None:
    """The sum of the known values, or None when none is known."""
    numbers = [value for value in values if value is not None]
    return sum(numbers) if numbers else None
