"""Settings of the generate stage."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from oresearch_graph.limits import Price
from oresearch_graph.settings import Rendering
from oresearch_graph.trace import Execution, Role
from oresearch_graph.trace.validation import FrozenModel


class Teacher(FrozenModel):
    """One author of candidates: a model, or several that share the roles."""

    name: str = Field(pattern=r"^[\w.-]+$")
    """What recipes call it."""
    model: str | None = None
    """A LangChain model name such as openai:gpt-5-mini. None: the extractive policy."""
    base_url: str | None = None
    """An OpenAI-compatible server, where the provider's own is not meant."""
    planner_model: str | None = None
    """None: `model`."""
    researcher_models: tuple[str, ...] = ()
    """A pool that subtasks draw from; empty: `model` alone."""
    summarizer_model: str | None = None
    """None: `model`."""
    parameters: dict[Role, dict[str, Any]] = Field(default_factory=dict)
    """More parameters of the model call, per role, such as top_p."""
    temperatures: tuple[float, ...] | None = None
    """In place of `generate.temperatures`, for a model that takes others or none."""
    max_output_tokens: int | None = Field(default=None, ge=64)
    """Tokens of one model call. None: the provider's limit."""
    rendering: Rendering = "auto"
    """How threads are sent, as `research.rendering` says."""

    @property
    def extractive(self) -> bool:
        """True when no language model writes."""
        return not (
            self.model or self.planner_model or self.researcher_models or self.summarizer_model
        )


class TokenPrice(FrozenModel):
    """US dollars per million tokens."""

    prompt: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    """Prompt tokens from the provider's cache. None: as `prompt`."""
    completion: float = Field(ge=0)

    @property
    def price(self) -> Price:
        """As policies and judges reckon with it."""
        cached = self.prompt if self.cached is None else self.cached
        return Price(self.prompt, cached, self.completion)


class GenerateSettings(FrozenModel):
    """How many candidates a seed gets, and who writes them."""

    candidates: int = Field(default=4, ge=1, le=10_000)
    """Per seed. Four leave best-of-N and preference pairs a choice."""
    imported_seeds: bool = False
    """Make candidates of imported questions too; their imported trace stands without."""
    teachers: tuple[Teacher, ...] = ()
    """Empty: the extractive policy, whose traces are watermarked."""
    temperatures: tuple[float, ...] = ()
    """Sampling temperatures that candidates cycle over. Empty: the provider's own, which every
    model takes."""
    executions: tuple[Execution, ...] = Field(default=("parallel", "sequential"), min_length=1)
    """Execution modes that candidates cycle over. Both, so that SFT sees both."""
    ask_for_reasoning: bool = True
    """Tell chat teachers to write their reasoning out in <think>; exports restate the plain
    training prompt."""
    allow_extractive: bool = False
    """Let extractive candidates stand beside those of models."""
    concurrency: int = Field(default=8, ge=1, le=1_024)
    """Candidates at one time; `research.concurrency` bounds a teacher's model calls. Not set: no
    more than a small server has slots for (on a Ray cluster that is not looked at)."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Prompt and completion tokens of all candidates together. At the limit nothing is begun, what
    runs ends. What providers do not tell is not counted."""
    max_cost: float | None = Field(default=None, gt=0)
    """US dollars of all candidates together, likewise."""
    prices: dict[str, TokenPrice] = Field(default_factory=dict)
    """By the model's name as traces have it, where the price is not known or not yours."""
    tries: int = Field(default=3, ge=1)
    """Runs of the stage in which a lost candidate is tried; then it stays lost."""
    progress_seconds: float = Field(default=30.0, gt=0)
    """Between two lines of progress where there is no terminal."""

    @model_validator(mode="after")
    def _one_teacher_a_name(self) -> Self:
        names = [teacher.name for teacher in self.teachers]
        if len(set(names)) < len(names):
            raise ValueError("two teachers have the same name")
        return self
