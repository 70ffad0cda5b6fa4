"""Settings of the judge stage."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from datagen.settings.generate import TokenPrice
from oresearch_graph.trace.validation import FrozenModel


class JudgeSettings(FrozenModel):
    """Who judges, and what is accepted."""

    by: Literal["model", "exact_facts", "word_vectors"] | None = None
    """Without a model, on the key points that seeds bring: `exact_facts` for closed worlds, whose
    points say what must stand together; `word_vectors` for points in free words, by likeness (extra
    `vectors`). None: the model where one is set, else exact facts."""
    model: str | None = None
    """A LangChain model name such as openai:gpt-5-mini."""
    base_url: str | None = None
    """An OpenAI-compatible server, where the provider's own is not meant."""
    second_model: str | None = None
    """Asked about what the first could not judge. None: such candidates stay unjudged."""
    second_base_url: str | None = None
    """None: `base_url`."""
    rubric: Path | None = None
    """A YAML file of criteria, in the form of datagen/judge/rubric.yaml, which is the default."""
    votes: int = Field(default=3, ge=1, le=25)
    """Opinions of each candidate; each criterion's median counts. More than half must come. Three
    are the fewest whose median a single odd one does not move."""
    evidence_tokens: int = Field(default=6_000, ge=200)
    """Tokens of passages from sources shown to the judge beside plan, answers and report."""
    min_quality: float = Field(default=0.6, ge=0, le=1)
    """The least weighted mean of the scores that is accepted."""
    min_scores: dict[str, float] = Field(default_factory=dict)
    """The least score of a criterion, 0 to 1, by the criterion's name."""
    min_agreement: float | None = Field(default=None, ge=0, le=1)
    """The least agreement of the votes, where there were several. None: votes may differ."""
    keep_per_seed: int = Field(default=1, ge=1)
    """Best-of-N: how many accepted candidates of a seed are chosen."""
    price: TokenPrice | None = None
    """Of the judge's tokens, where it is not known or not yours."""
    tries: int = Field(default=3, ge=1)
    """Of one request whose server fails in passing."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds for one request. None: 120, more where the server is slow."""
    concurrency: int = Field(default=8, ge=1, le=1_024)
    """Candidates judged at one time; each asks for its votes at once."""
    give_up_after: int = Field(default=20, ge=1)
    """Candidates in a row that the judge fails on before the rest are left for the next run."""
    progress_seconds: float = Field(default=30.0, gt=0)
    """Between two lines of progress."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.by == "model" and not self.model:
            raise ValueError("judge.by is model and judge.model names none")
        wrong = [name for name, least in self.min_scores.items() if not 0 <= least <= 1]
        if wrong:
            raise ValueError(f"judge.min_scores.{wrong[0]} is not between 0 and 1")
        return self

    @property
    def by_model(self) -> bool:
        """True when a language model judges."""
        return self.by == "model" or (self.by is None and self.model is not None)
