"""The two judges of a candidate: a model on the written rubric, or the seed's own key points."""

from __future__ import annotations

import asyncio
from typing import Protocol

from datagen.judge.document import VERSION, judge_request, report_of
from datagen.judge.rubric import TraceRubric, read_rubric
from datagen.records import Seed
from datagen.settings.judge import JudgeSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.judging.ground_truth import GroundTruth, KeyPointJudge
from oresearch_graph.judging.judge_model import Spent
from oresearch_graph.judging.model_judge import ModelJudge, Opinions, empty_verdict
from oresearch_graph.trace import Trace


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

    async def judge(self, trace: Trace, seed: Seed | None, spent: Spent) -> Opinions:
        """Raises JudgeError when no opinion could be had."""
        ...

    async def aclose(self) -> None: ...


class KeyPointTraceJudge:
    """The deterministic one: which of the seed's key points the report states, with support."""

    criteria: tuple[str, ...] = ()
    asks = False

    def basis(self, seed: Seed | None) -> object:
        return ["key_points", VERSION, seed and [p.model_dump() for p in seed.key_points]]

    def lacks(self, seed: Seed | None) -> str | None:
        return None if seed and seed.key_points else "its seed has no key points"

    async def judge(self, trace: Trace, seed: Seed | None, spent: Spent) -> Opinions:  # noqa: ARG002
        citations = await asyncio.to_thread(citations_of, trace)
        truth = GroundTruth(key_points=seed.key_points if seed else ())
        judged = await KeyPointJudge().judge(
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
        told = self._settings
        models = [told.model, told.second_model]
        rubric = self._rubric.model_dump(mode="json")
        return [*models, VERSION, told.votes, told.evidence_tokens, rubric]

    def lacks(self, seed: Seed | None) -> str | None:  # noqa: ARG002
        return None

    async def judge(self, trace: Trace, seed: Seed | None, spent: Spent) -> Opinions:  # noqa: ARG002
        criteria = [criterion.criterion for criterion in self._rubric.criteria]
        if not report_of(trace).strip():
            return Opinions(empty_verdict(criteria), None)
        tokens = self._settings.evidence_tokens
        request = await asyncio.to_thread(judge_request, trace, criteria, tokens)
        return await self._model.opinions(request, spent)

    async def aclose(self) -> None:
        await self._model.aclose()


def judge_from(settings: JudgeSettings) -> TraceJudge:
    """The judge that the settings ask for. Raises ConfigurationError, also for thresholds on
    criteria that it does not score."""
    judge: TraceJudge = (
        ModelTraceJudge(settings, read_rubric(settings.rubric))
        if settings.by_model
        else KeyPointTraceJudge()
    )
    unknown = next((name for name in settings.min_scores if name not in judge.criteria), None)
    if unknown is not None:
        has = ", ".join(judge.criteria) or "none: key points differ from seed to seed"
        raise ConfigurationError(
            f"judge.min_scores: {unknown!r} is no criterion of the judge; it has {has}"
        )
    return judge
