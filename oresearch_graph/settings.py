"""ResearchSettings: every knob of a run, essential first, and what `effort` makes of the rest. The
same class is the graph's context schema, so LangGraph Studio draws its form from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from oresearch_graph.keys import hidden, holds_secret
from oresearch_graph.known_secrets import is_secret_name
from oresearch_graph.limits import EFFORTS, Effort, Limits, Price
from oresearch_graph.redaction import brief, redacted
from oresearch_graph.trace import Dialect, Execution, Role
from oresearch_graph.trace.plain_text import body_text, title_line

Rendering = Literal["auto", "prefill", "turns", "tools"]
Part = Literal["planner", "turn", "answer", "report"]
"""What a continuation writes: the plan, a researcher's turn, a subtask's answer that the thread was
told to give, the report."""

_LONGEST: Final = 4_000
"""Characters of a setting on one line."""


def _essential(title: str, description: str, default: object, **more: Any) -> Any:  # noqa: ANN401
    return Field(default, title=title, description=description, **more)


def _advanced(
    title: str,
    description: str,
    default: object,
    *,
    node: str | None = None,
    **more: Any,  # noqa: ANN401
) -> Any:  # noqa: ANN401
    """`node`: Studio shows the setting at this node of the graph as well."""
    extra: dict[str, Any] = {"advanced": True} | ({"langgraph_nodes": [node]} if node else {})
    return Field(default, title=title, description=description, json_schema_extra=extra, **more)


def _by_effort(title: str, description: str, **bounds: Any) -> Any:  # noqa: ANN401
    return _advanced(title, f"{description} Empty: as the effort says.", None, **bounds)


class ResearchSettings(BaseModel):
    """Settings of one research run."""

    # LangGraph shows a ValidationError of a run's context as it is.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: Annotated[str | None, {"__template_metadata__": {"kind": "llm"}}] = _essential(
        "Model",
        "A LangChain model name such as openai:gpt-5-mini, or local:FILE.gguf. Empty: the "
        "model-free extractive policy, which quotes passages and needs no key.",
        None,
    )
    base_url: str | None = _essential(
        "Base URL", "An OpenAI-compatible server to call instead of the provider's own.", None
    )
    search: str = _essential(
        "Search",
        "Where to search: auto, tavily, tavily-extract (Tavily opens the pages too), corpus, "
        "python (the embedded corpus), or searxng:URL. "
        "auto takes the corpus if one is set, else Tavily if its key is set, else python.",
        "auto",
    )
    corpus: str | None = _essential(
        "Corpus", "A folder of md, html, txt, rst and pdf files to search, or one file.", None
    )
    effort: Effort = _essential(
        "Effort", "Sets subtasks, steps, tool calls and budgets together.", "standard"
    )
    execution: Execution = _essential(
        "Execution",
        "parallel: one researcher per subtask, at the same time. sequential: one growing context, "
        "the paper's training format.",
        "parallel",
    )
    approve_plan: bool = _essential(
        "Approve the plan", "Stop after planning until a person approves or edits the plan.", False
    )
    language: str | None = _essential(
        "Language",
        "ISO 639-1 code of the report's language. Empty: as the question asks, else its own.",
        None,
        pattern=r"^[a-z]{2}$",
    )

    max_subtasks: int | None = _by_effort("Subtasks", "At most so many.", node="plan", ge=1, le=20)
    max_steps: int | None = _by_effort(
        "Steps", "Model calls per subtask.", node="research", ge=1, le=50
    )
    max_tool_calls: int | None = _by_effort(
        "Tool calls", "Per subtask.", node="research", ge=0, le=50
    )
    max_model_calls: int | None = _by_effort("Model calls", "Of the whole run.", ge=1)
    max_tokens: int | None = _by_effort("Tokens", "Of the whole run.", ge=1_000)
    max_seconds: float | None = _by_effort("Seconds", "Of the whole run.", gt=0)
    max_cost: float | None = _advanced(
        "Cost", "US dollars for the whole run; needs a model whose price is known.", None, gt=0
    )
    prices: dict[str, Price] = _advanced(
        "Prices",
        "Of models that have no list price, by name: US dollars per million tokens of the prompt, "
        "of what of it is cached, and of the reply; then, if you like, since when.",
        {},
    )
    soft_limit: float = _advanced(
        "Soft limit",
        "At this share of any budget, threads are told to answer from what they have.",
        0.8,
        gt=0,
        le=1,
    )
    observation_tokens: int | None = _by_effort(
        "Observation", "Tokens of one observation.", node="research", ge=100, le=100_000
    )
    results_per_query: int | None = _by_effort(
        "Results", "Per query.", node="research", ge=1, le=50
    )

    planner_model: str | None = _advanced(
        "Planner's model", "Empty: the model above.", None, node="plan"
    )
    researcher_models: tuple[str, ...] = _advanced(
        "Researchers' models", "A pool that subtasks draw from, by the seed.", (), node="research"
    )
    summarizer_model: str | None = _advanced(
        "Summarizer's model", "Empty: the model above.", None, node="summarize"
    )
    verifier: Literal["auto", "on", "off"] = _advanced(
        "Verifier",
        "A model reads the report against the pages it cites, and the summarizer may mend once "
        "what it finds. auto: with a chat model, where the effort is standard or deep.",
        "auto",
        node="mend",
    )
    verifier_model: str | None = _advanced(
        "Verifier's model", "Empty: the summarizer's.", None, node="mend"
    )
    verifier_votes: int = _advanced(
        "Verifier's votes",
        "Opinions on each sentence; more than half must agree.",
        1,
        node="mend",
        ge=1,
        le=9,
    )
    parameters: dict[Role, dict[str, Any]] = _advanced(
        "Parameters", "More parameters of the model call, per role, such as top_p.", {}
    )
    allow_plain_http: bool = _advanced(
        "Plain http", "Let keys go over http to other machines, in a network that you trust.", False
    )
    seed: int = _advanced("Seed", "Draws researchers from the pool.", 0, ge=0)
    temperature: float | None = _advanced("Temperature", "Empty: the provider's.", None, ge=0, le=2)
    max_output_tokens: int | None = _advanced("Output", "Tokens of one model call.", None, ge=64)
    bounds: dict[Part, Annotated[int, Field(ge=16)]] = _advanced(
        "Bounds",
        "Tokens of one continuation: planner, turn, answer, report. Text that is cut there is "
        "continued. Not named: as the effort says.",
        {},
    )
    prompt_style: Literal["auto", "training", "roles"] = _advanced(
        "Prompt style",
        "training: one prompt for all roles, as released and trained models know it. roles: a "
        "short prompt for each role, for small models. auto: roles where the model's server is "
        "slow or takes one request at a time.",
        "auto",
    )
    constraint: Literal["auto", "on", "off"] = _advanced(
        "Constraint",
        "Hold the model to the protocol's grammar where its server can: tags, calls and citations "
        "of shown sources only. auto: with prompts by role.",
        "auto",
    )
    branches_at_once: int | None = _advanced(
        "Branches at once",
        "Researchers that work at one time; the others wait. Empty: as many as the model's server "
        "has slots, all where it does not say.",
        None,
        ge=1,
        le=64,
    )
    rendering: Rendering = _advanced(
        "Rendering",
        "How a thread is sent: prefill (continue one assistant message), turns (observations as "
        "user messages), tools (native tool calls). auto: by what is known of the model.",
        "auto",
    )
    model_timeout: float = _advanced("Model time-out", "Seconds for one model call.", 180.0, gt=0)
    tool_timeout: float = _advanced("Tool time-out", "Seconds for one tool call.", 45.0, gt=0)
    subtask_timeout: float = _advanced("Subtask time-out", "Seconds of one branch.", 1_200.0, gt=0)
    concurrency: int = _advanced(
        "Concurrency", "Model calls at one time to one server with one key, of all runs of a "
        "process together. Where runs differ, the lowest of those under way holds.", 8, ge=1, le=256
    )  # fmt: skip
    max_runs: int | None = _advanced(
        "Runs", "Runs at one time in this process, of all its graphs; the others wait in order. "
        "Where graphs differ, the lowest holds. Not in a run's context. Empty: any number.",
        None, ge=1,
    )  # fmt: skip
    corrections: int = _advanced(
        "Corrections",
        "Tries to mend text that breaks the protocol. 0, as in training: what was written is what "
        "is judged; near misses are not read for what they stand for either.",
        2,
        ge=0,
        le=5,
    )
    continuations: int = _advanced(
        "Continuations", "Times a text cut by the token limit is continued.", 4, ge=0, le=20
    )
    dialect: Dialect = _advanced("Dialect", "How tool calls are written.", "paper")

    include_domains: tuple[str, ...] = _advanced("Include", "Only these domains.", ())
    exclude_domains: tuple[str, ...] = _advanced("Exclude", "Never these domains.", ())
    published_after: date | None = _advanced("After", "Only sources dated on or after.", None)
    published_before: date | None = _advanced("Before", "Only sources dated on or before.", None)
    allow_private_addresses: bool = _advanced(
        "Private addresses", "Let the reader reach loopback and private addresses.", False
    )
    tenant: str | None = _advanced(
        "Tenant", "Name of a page cache shared between runs. Empty: each run has its own.", None
    )
    cache_seconds: float = _advanced("Cache", "Seconds a cached page stays good.", 3_600.0, ge=0)

    length: str | None = _advanced(
        "Length", "Of the report, in words: 800, two pages.", None, node="summarize"
    )
    tone: str | None = _advanced(
        "Tone", "Of the report: for engineers, plain, formal.", None, node="summarize"
    )
    outline: tuple[str, ...] = _advanced(
        "Outline", "Section headings the body must have.", (), node="summarize"
    )
    prompts: dict[Role, str] = _advanced(
        "Prompt additions", "Extra instructions for planner, researcher or summarizer.", {}
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: object) -> object:
        """A form sends an empty text for a field that was left alone."""
        if not isinstance(values, dict):
            return values
        for name in values:
            if name not in cls.model_fields:
                raise PydanticCustomError("unknown_setting", "{fault}", {"fault": unknown(name)})
        return {name: value for name, value in values.items() if value != ""}

    @field_validator("parameters", mode="after")
    @classmethod
    def _keys_are_secrets(cls, values: dict[Role, dict[str, Any]]) -> dict[Role, dict[str, Any]]:
        return {role: hidden(options) for role, options in values.items()}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Addresses without what they give away: a representation goes to logs and tracers."""
        for name, value in super().__repr_args__():
            if isinstance(value, str):
                yield name, redacted(value)
            elif isinstance(value, tuple):
                yield name, tuple(redacted(v) if isinstance(v, str) else v for v in value)
            else:
                yield name, value

    @field_validator("length", "tone", "tenant")
    @classmethod
    def _line(cls, text: str | None) -> str | None:
        """What a form or a client sends for these has neither line ends nor control characters."""
        return None if text is None else title_line(text, _LONGEST)

    @field_validator("outline", "include_domains", "exclude_domains")
    @classmethod
    def _lines(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(title_line(text, _LONGEST) for text in texts)

    @field_validator("prompts")
    @classmethod
    def _prompts(cls, texts: dict[Role, str]) -> dict[Role, str]:
        return {role: body_text(text) for role, text in texts.items()}

    @property
    def limits(self) -> Limits:
        """Effort's figures with every explicitly set one in its place."""
        base = EFFORTS[self.effort]
        overrides: dict[str, Any] = {
            "subtasks": self.max_subtasks,
            "steps": self.max_steps,
            "tool_calls": self.max_tool_calls,
            "model_calls": self.max_model_calls,
            "tokens": self.max_tokens,
            "seconds": self.max_seconds,
            "observation_tokens": self.observation_tokens,
            "results": self.results_per_query,
            "bounds": base.bounds._replace(**self.bounds),
        }
        return base._replace(
            **{name: value for name, value in overrides.items() if value is not None}
        )

    @property
    def explicit(self) -> dict[str, Any]:
        """What is set explicitly."""
        return {name: getattr(self, name) for name in self.model_fields_set}

    @property
    def storable(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """What is set explicitly, as JSON; and the names of what is not among it, for it holds a
        key."""
        names = {n for n in self.model_fields_set if not holds_secret(getattr(self, n))}
        withheld = tuple(sorted(self.model_fields_set - names))
        return self.model_dump(mode="json", include=names), withheld

    @property
    def by_role(self) -> bool:
        """True when each role has a prompt of its own. A sequential thread plays all roles."""
        return self.prompt_style == "roles" and self.execution == "parallel"

    @property
    def constrained(self) -> bool:
        """True when servers that can are to hold the model to the grammar."""
        return self.constraint == "on" or (self.constraint == "auto" and self.by_role)

    @property
    def verifies(self) -> bool:
        """True when a chat model is to read the report against its sources."""
        return self.verifier == "on" or (self.verifier == "auto" and self.effort != "quick")

    @property
    def extended(self) -> bool:
        """True when prompts go beyond the training protocol."""
        additions = (self.prompts, self.length, self.tone, self.outline, self.language)
        return self.by_role or any(map(bool, additions))


OF_PROCESS: Final = ("max_runs",)
"""What no run sets, for it holds for all of them."""

CLIENTS: Final = (
    "effort", "execution", "approve_plan", "language", "length", "tone", "outline", "model",
    "planner_model", "researcher_models", "summarizer_model", "include_domains", "exclude_domains",
    "published_after", "published_before", "seed",
    *(n for n in ResearchSettings.model_fields if n.startswith("max_") and n not in OF_PROCESS),
)  # fmt: skip
"""What whoever asks may set, complete: nothing that reads files, sends keys or opens addresses."""


def unknown(name: str, prefix: str = "") -> str:
    """What is wrong with the name of a setting, with the one that was probably meant. `prefix`: in
    the environment."""
    near = get_close_matches(name, ResearchSettings.model_fields, n=1, cutoff=0.7)
    wrong, *nearest = [f"{prefix}{each.upper()}" if prefix else each for each in (name, *near)]
    fix = f"did you mean {nearest[0]}?" if nearest else "oresearch settings lists them"
    return f"there is no setting {brief(repr(wrong), 60)}; {fix}"


def setting_fault(error: ValidationError, prefix: str = "the setting ") -> str:
    """The first fault of invalid settings in one line; a value that may be a key is not told.

    Raise what it is told by `from None`: a ValidationError repeats what was given.
    """
    first = error.errors(include_url=False)[0]
    if first["type"] == "unknown_setting":
        return first["msg"]
    place = first["loc"]
    name = ".".join(brief(part, 60) for part in place) or "settings"
    fault = brief(first["msg"])
    if (
        not {"parameters", "prompts"}.isdisjoint(place)
        or isinstance(first["input"], Mapping)
        or any(is_secret_name(str(part)) for part in place)
    ):
        return f"{prefix}{name}: {fault}"
    return f"{prefix}{name} cannot be {brief(repr(first['input']), 80)}: {fault}"
