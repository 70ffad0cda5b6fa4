"""The two judges of a candidate: a model on the written rubric, or the seed's own key points. The
rubric is read from YAML, faults told with their line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from datagen.judge.document import VERSION, judge_request, report_of
from datagen.records import Record, Seed
from datagen.settings.judge import JudgeSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.judging.ground_truth import ExactFactsJudge, QualityJudge
from oresearch_graph.judging.judge_model import Spent
from oresearch_graph.judging.model_judge import ModelJudge, Opinions, empty_verdict
from oresearch_graph.judging.nearness import NearnessJudge
from oresearch_graph.judging.prompt import MOST
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, Weight
from oresearch_graph.trace import Trace
from oresearch_graph.trace.validation import first_fault

DEFAULT_RUBRIC: Final = Path(__file__).with_name("rubric.yaml")


class TraceJudge(Protocol):
    """Anything that judges a candidate."""

    criteria: tuple[str, ...]
    """Names of what its scores stand for, in order; empty where they differ from seed to seed."""
    asks: bool
    """It asks a server, which may be down."""

    def basis(self, seed: Seed | None) -> object:
        """All that its verdicts rest on beside the trace, as JSON."""
        ...

    def lacks(self, seed: Seed | None) -> str | None:
        """Why it cannot judge candidates of that seed."""
        ...

    async def judge(self, trace: Trace, seed: Seed | None, spending: Spent) -> Opinions:
        """Raises JudgeError when no opinion could be had."""
        ...

    async def aclose(self) -> None: ...


class KeyPointTraceJudge:
    """One without a model: which of the seed's key points the report states, with support; or how
    near it comes to each."""

    criteria: tuple[str, ...] = ()
    asks = False

    def __init__(self, by: Literal["exact_facts", "word_vectors"] = "exact_facts") -> None:
        self._by: Final = by
        self._judge: QualityJudge = ExactFactsJudge()
        if by == "word_vectors":
            self._judge = NearnessJudge()

    def basis(self, seed: Seed | None) -> object:
        return [self._by, VERSION, seed and [p.model_dump() for p in seed.key_points]]

    def lacks(self, seed: Seed | None) -> str | None:
        truth = GroundTruth(key_points=seed.key_points if seed else ())
        if self._by == "exact_facts" or not truth.key_points:
            return truth.not_exact
        return None

    async def judge(self, trace: Trace, seed: Seed | None, spending: Spent) -> Opinions:  # noqa: ARG002
        citations = await asyncio.to_thread(citations_of, trace)
        truth = GroundTruth(key_points=seed.key_points if seed else ())
        judged = await self._judge.judge(
            trace.question, report_of(trace), truth, citations=citations
        )
        return Opinions(judged, None)

    async def aclose(self) -> None:
        """It holds nothing."""


class ModelTraceJudge:
    """A model, with several votes on every criterion of the rubric."""

    asks = True

    def __init__(self, settings: JudgeSettings, rubric: TraceRubric) -> None:
        """Raises ConfigurationError for a model that cannot be had."""
        assert settings.model is not None, "the settings see to it"  # noqa: S101
        self._settings, self._rubric = settings, rubric
        self.criteria = tuple(criterion.name for criterion in rubric.criteria)
        self._model = ModelJudge(
            settings.model,
            base_url=settings.base_url,
            second=settings.second_model,
            second_base_url=settings.second_base_url,
            votes=settings.votes,
            tries=settings.tries,
            timeout=settings.timeout,
            concurrency=settings.concurrency * settings.votes,
            price=None if settings.price is None else settings.price.price,
        )

    def basis(self, seed: Seed | None) -> object:  # noqa: ARG002  # one rubric for all seeds
        settings = self._settings
        models = [settings.model, settings.second_model]
        rubric = self._rubric.model_dump(mode="json")
        return [*models, VERSION, settings.votes, settings.evidence_tokens, rubric]

    def lacks(self, seed: Seed | None) -> str | None:  # noqa: ARG002
        return None

    async def judge(self, trace: Trace, seed: Seed | None, spending: Spent) -> Opinions:  # noqa: ARG002
        criteria = [criterion.criterion for criterion in self._rubric.criteria]
        if not report_of(trace).strip():
            return Opinions(empty_verdict(criteria), None)
        tokens = self._settings.evidence_tokens
        request = await asyncio.to_thread(judge_request, trace, criteria, tokens)
        return await self._model.opinions(request, spending)

    async def aclose(self) -> None:
        await self._model.aclose()


def judge_from(settings: JudgeSettings) -> TraceJudge:
    """The judge that the settings ask for. Raises ConfigurationError, also for thresholds on
    criteria that it does not score."""
    judge: TraceJudge = (
        ModelTraceJudge(settings, read_rubric(settings.rubric))
        if settings.by_model
        else KeyPointTraceJudge("word_vectors" if settings.by == "word_vectors" else "exact_facts")
    )
    unknown = next((name for name in settings.min_scores if name not in judge.criteria), None)
    if unknown is not None:
        has = ", ".join(judge.criteria) or "none: key points differ from seed to seed"
        raise ConfigurationError(
            f"judge.min_scores: {unknown!r} is no criterion of the judge; it has {has}"
        )
    return judge


class TraceCriterion(Record):
    """One thing that a candidate is scored on."""

    name: str = Field(pattern=r"^[\w-]+$")
    """What thresholds call it."""
    text: str = Field(pattern=r"\S")
    """A statement that holds of good work."""
    low: str = Field(pattern=r"\S")
    """What a score of 0 looks like."""
    high: str = Field(pattern=r"\S")
    """What the highest score looks like."""
    weight: Weight = 1.0

    @property
    def criterion(self) -> Criterion:
        return Criterion(
            text=self.text, description=f"0: {self.low} {MOST}: {self.high}", weight=self.weight
        )


class TraceRubric(Record):
    """Weighted criteria with names."""

    criteria: tuple[TraceCriterion, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_criterion_a_name(self) -> Self:
        names = [criterion.name for criterion in self.criteria]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two criteria are named {twice}")
        if all(criterion.weight < 0 for criterion in self.criteria):
            raise ValueError("every criterion weighs negatively: nothing could be accepted")
        return self


def read_rubric(path: Path | None) -> TraceRubric:
    """The rubric of a file; None: the default one. Raises ConfigurationError naming the line."""
    path = path or DEFAULT_RUBRIC
    try:
        text = path.read_text("utf-8")
        tree, value = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigurationError(f"{path}: the rubric cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or str(error)
        raise ConfigurationError(f"{place}: the rubric is no YAML: {problem}") from error
    try:
        return TraceRubric.model_validate(value)
    except ValidationError as error:
        place = f"{path}:{_line_of(tree, error.errors()[0]['loc'])}"
        fault = first_fault(error, "the rubric")
        raise ConfigurationError(f"{place}: {fault}; see {DEFAULT_RUBRIC.name}") from error


def _line_of(tree: Any, names: tuple[int | str, ...]) -> int:  # noqa: ANN401  # PyYAML has no types
    """The line of the innermost part of the document that the names lead to, counted from 1."""
    node = tree
    for name in names:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next((value for key, value in node.value if key.value == name), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(name, int):
            inner = node.value[name] if name < len(node.value) else None
        if inner is None:
            break
        node = inner
    return 1 if node is None else int(node.start_mark.line) + 1
