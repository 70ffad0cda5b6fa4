"""RLSettings: what a training run adds to verl's own configuration, under its key `oresearch`.

verl's YAML says how to train; this says what is trained: which execution of the graph, with which
tools, judged how. `from_config` reads it from a composed verl configuration.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.limits import Price
from oresearch_graph.settings import ResearchSettings, setting_fault
from oresearch_graph.trace.validation import FrozenModel

if TYPE_CHECKING:
    from omegaconf import DictConfig

FEWEST_TOKENS: Final = 8
"""Tokens that a continuation needs room for; with less the thread is over."""


class ToolSettings(FrozenModel):
    """Where documents come from while training, and how much is asked of them at once."""

    source: Literal["corpus", "python", "recorded", "service", "live"] = "python"
    """corpus: a folder, indexed in each worker. python: the embedded corpus. recorded: a file of
    recorded answers. service: one index shared by all workers (`rl.tools.index_service`). live: the
    provider that `oresearch.research.search` names; costs money at every rollout."""
    path: Path | None = None
    """The folder (corpus, service) or the file (recorded)."""
    address: str | None = None
    """service: the address of one that runs already; empty: a Ray actor is started."""
    timeout: float = Field(default=30.0, gt=0)
    """Seconds of one try of one tool call."""
    tries: int = Field(default=3, ge=1)
    """Tries of a call whose service fails or is silent; then the rollout is dropped."""
    page_timeout: float = Field(default=15.0, gt=0)
    """Seconds for one page; a slower one is an observation that says so: the web's fault."""
    concurrency: int = Field(default=64, ge=1)
    """Searches and pages at one time, of all workers together."""
    turn_timeout: float = Field(default=120.0, gt=0)
    """Seconds that a call may wait for its turn among them; then the rollout is dropped."""
    price: float | None = Field(default=None, ge=0)
    """US dollars of one query or page of a live service, for the plan."""

    @property
    def longest_call(self) -> float:
        """Seconds that one call can take with all its tries, the waits between and for its turn."""
        return self.tries * (max(self.timeout, self.page_timeout) + self.turn_timeout + 5.0)


class RewardJudgeSettings(FrozenModel):
    """Who gives `quality`."""

    kind: Literal["exact_facts", "model"] = "exact_facts"
    """exact_facts: deterministic, for closed worlds. model: an LLM judge on key points or a
    rubric."""
    model: str | None = None
    base_url: str | None = None
    """Any OpenAI-compatible server."""
    second_model: str | None = None
    """Asked when the first judge fails."""
    second_base_url: str | None = None
    votes: int = Field(default=1, ge=1, le=9)
    tries: int = Field(default=3, ge=1)
    timeout: float = Field(default=120.0, gt=0)
    concurrency: int = Field(default=32, ge=1)
    """Judge calls at one time in one worker."""
    cache: Path | None = None
    """A file that keeps verdicts; the same report is judged once."""
    price: Price | None = None
    """US dollars per million tokens of the prompt, of what of it is cached, and of the reply; where
    the model has no list price, or it is not yours."""


class AuditSettings(FrozenModel):
    """A second, different judge for some of the reports: its gap to the first is logged, nothing is
    paid by it, and where it fails nothing is lost."""

    share: float = Field(default=0.0, ge=0, le=1)
    """Of the reports that are judged; 0: no audit."""
    judge: RewardJudgeSettings = RewardJudgeSettings()


class RewardSettings(FrozenModel):
    """`quality·0.6 + tool_use·0.2 + format·0.2` (paper, section on reinforcement learning)."""

    quality: float = Field(default=0.6, ge=0)
    tool_use: float = Field(default=0.2, ge=0)
    format: float = Field(default=0.2, ge=0)
    gate: Literal["none", "quality"] = "none"
    """none: the paper's sum. quality: form and tool calls are paid as far as there is quality; what
    too many calls take away is taken all the same."""
    gate_opens: float = Field(default=0.5, gt=0, le=1)
    """Quality from which on the gate pays form and tool calls in full; below it, in proportion."""
    scope: Literal["subtask", "trajectory"] = "subtask"
    """tool_use is counted per subtask and averaged, or over the whole trajectory."""
    fewest_calls: int = Field(default=2, ge=0)
    """Of those that bring a source unseen before; fewer: 0."""
    most_calls: int = Field(default=8, ge=1)
    """Of all distinct ones; more: −1."""
    fewest_subtasks: int = Field(default=2, ge=1)
    """A plan of fewer is a violation: the question was not split."""
    most_verbatim: float = Field(default=0.6, ge=0, le=1)
    """Share of a report's words in long runs out of pages, above which quality is at most 0.5."""


class GroupSettings(FrozenModel):
    """Which groups of rollouts are trained on."""

    tolerance: float | None = Field(default=0.0, ge=0)
    """A group whose `quality` differs by no more than this teaches nothing and is left out. None:
    every group is trained on."""
    refill: int = Field(default=0, ge=0)
    """At most this many more prompts are rolled out per step for groups that were left out."""


class TimeSettings(FrozenModel):
    """How long things may take, in seconds."""

    call: float = Field(default=300.0, gt=0)
    """One continuation by the engine."""
    branch: float = Field(default=900.0, gt=0)
    rollout: float = Field(default=1_800.0, gt=0)
    step: float = Field(default=7_200.0, gt=0)
    """The watchdog: a step in which no rollout begins or ends for so long is ended, naming the
    prompts it waits for."""


class RLSettings(FrozenModel):
    """The key `oresearch` of a training configuration."""

    research: dict[str, Any] = Field(default_factory=dict)
    """ResearchSettings of the graph that is trained: execution, effort, limits, dialect."""
    rollouts_at_once: int | None = Field(default=None, ge=1)
    """Rollouts at one time in one worker; the others wait, and their clocks with them. None: as
    many as the engines' caches hold (`rl.plan.admission`)."""
    turn_tokens: int = Field(default=1_024, ge=FEWEST_TOKENS)
    """Most tokens of one continuation by planner or researcher."""
    report_tokens: int = Field(default=4_096, ge=FEWEST_TOKENS)
    """Most tokens of the report."""
    tools: ToolSettings = ToolSettings()
    judge: RewardJudgeSettings = RewardJudgeSettings()
    audit: AuditSettings = AuditSettings()
    reward: RewardSettings = RewardSettings()
    groups: GroupSettings = GroupSettings()
    seconds: TimeSettings = TimeSettings()
    rollout_weight: Literal["tokens", "equal"] = "tokens"
    """How much each rollout weighs in the loss: as its tokens do, or all the same (where a step
    has one mini-batch). Neither changes when a rollout is split into more rows."""
    mismatch_bound: float | None = Field(default=None, gt=0)
    """A start ends at its first step where engine and actor differ by more in a sampled token's
    log-probability, on average. None: 0.01 where the actor computes in fp32, else 0.05."""
    traces: Path | None = None
    """Folder for the rollouts' Traces, one folder per step; None keeps none."""

    @field_validator("audit")
    @classmethod
    def _by_another(cls, audit: AuditSettings, info: ValidationInfo) -> AuditSettings:
        judges = [audit.judge, *filter(None, [info.data.get("judge")])]
        places = {(judge.kind, judge.model, judge.base_url) for judge in judges}
        if audit.share and audit.judge.kind == "model" and not audit.judge.model:
            raise ValueError("its judge names no model: set oresearch.audit.judge.model")
        if audit.share and len(places) < len(judges):
            raise ValueError("its judge is the one that it audits: name another kind or model")
        return audit

    @property
    def research_settings(self) -> ResearchSettings:
        """The graph's settings, with those that training fixes: nothing that a policy wrote is
        corrected or continued. Raises ConfigurationError."""
        fixed = {
            "corrections": 0,
            "continuations": 0,
            "max_output_tokens": max(64, self.turn_tokens),
            "model_timeout": self.seconds.call,
            "tool_timeout": self.tools.longest_call,
            "subtask_timeout": self.seconds.branch,
            "max_seconds": self.seconds.rollout,
            # Nobody is told to hurry: the reward would depend on how busy the engine is.
            "soft_limit": 1.0,
        }
        # A rollout's own limits are threads and calls; the run's token budget would end the
        # slowest branch of a long rollout at a place that depends on its siblings.
        wide = {"max_tokens": 1_000_000_000, "max_model_calls": 100_000, "max_tool_calls": 12}
        try:
            return ResearchSettings.model_validate({**wide, **self.research, **fixed})
        except ValidationError as error:
            raise ConfigurationError(f"oresearch.research: {setting_fault(error)}") from error


def from_config(config: DictConfig) -> RLSettings:
    """The settings in a verl configuration. Raises ConfigurationError, naming the line."""
    from omegaconf import OmegaConf  # verl's; the settings themselves are read without it

    raw = OmegaConf.to_container(config.get("oresearch") or OmegaConf.create({}), resolve=True)
    try:
        return RLSettings.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(setting_fault(error, "oresearch.")) from None
