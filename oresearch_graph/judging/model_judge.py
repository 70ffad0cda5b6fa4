"""ModelJudge: a language model that judges a report, or any document, on a rubric, behind any
OpenAI-compatible server or as any LangChain chat model.

A verdict is read from plain text, so no server needs to support schemas; one that does is held to
it. A second judge is asked when the first fails. Nothing here invents a score.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import statistics
import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Final, Literal, NamedTuple
from weakref import WeakValueDictionary

from oresearch_graph.errors import JudgeError, PolicyError
from oresearch_graph.judging.answers import VerdictFault
from oresearch_graph.judging.ground_truth import Judged, Scored, weighted_mean
from oresearch_graph.judging.judge_model import JudgeStats, OneJudge, Spent, VerdictCache
from oresearch_graph.judging.point_verdicts import point_request
from oresearch_graph.judging.prompt import JudgeRequest, comparison, judge_messages, verdict_schema
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.model_objects import ChatModel
from oresearch_graph.policies.chat.text_model import TextModel
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth
from oresearch_graph.trace.record import CitationReport

_VERSION: Final = 2
"""Raised when the same prompt comes to be read otherwise: old verdicts are not found any more."""

Combine = Literal["median", "mean"]


class Opinions(NamedTuple):
    """The votes of one judge, combined."""

    judged: Judged
    agreement: float | None
    """See `agreement`; None also for a verdict out of the cache."""


class ModelJudge:
    """A QualityJudge. Several event loops may share one."""

    def __init__(
        self,
        model: ChatModel | str,
        *,
        base_url: str | None = None,
        second: ChatModel | str | None = None,
        second_base_url: str | None = None,
        votes: int = 1,
        combine: Combine = "median",
        tries: int = 3,
        timeout: float | None = None,
        concurrency: int = 32,
        cache: Path | None = None,
        price: Price | None = None,
    ) -> None:
        """`tries` and `timeout` (seconds; None: as the server's pace asks) are those of one
        request, `concurrency` is that of requests to each judge, `price` that of the first judge's
        tokens, where the known one is not meant. Raises ConfigurationError for a model that cannot
        be had."""
        self.stats = JudgeStats()
        self._votes, self._combine = votes, combine
        self._cache = None if cache is None else VerdictCache(cache, Judged)
        self._locks: WeakValueDictionary[tuple[int, str], asyncio.Lock] = WeakValueDictionary()
        models = [(model, base_url, price)]
        if second is not None:
            models.append((second, second_base_url or base_url, None))
        self._judges = [
            OneJudge(
                TextModel(
                    one, url, concurrency=concurrency, tries=tries, timeout=timeout, price=paid
                ),
                self._stats, cold=votes == 1,
            )
            for one, url, paid in models
        ]  # fmt: skip

    @property
    def name(self) -> str:
        return self._judges[0].name

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *,
        citations: CitationReport | None = None,
    ) -> Judged:  # fmt: skip
        """The report's quality by the first judge that gives an opinion: on the rubric, or else on
        the key points, each stated, left out or said otherwise; beside a reference, if there is
        one, in both orders. An empty report is worth nothing and costs nothing. Raises
        JudgeError, ValueError when `truth` is empty."""
        if not truth.judgeable:
            raise ValueError("no rubric and no key points: there is nothing to judge by")
        if not report.strip():
            return empty_verdict(truth.criteria)
        if truth.rubric is not None and truth.reference:
            return await self._compared(question, report, truth, truth.reference)
        if truth.rubric is not None:
            messages = judge_messages(question, report, truth, citations)
            request = JudgeRequest(messages, truth.criteria, report)
        else:
            points = truth.key_points
            request = await asyncio.to_thread(point_request, question, report, points, citations)
        return (await self.opinions(request)).judged

    async def _compared(
        self, question: str, report: str, truth: GroundTruth, reference: str
    ) -> Judged:
        """Quality as the report's share of both qualities (RACE of DeepResearch Bench, arXiv
        2506.11763): 0.5 for one as good. Each stands first once, for judges favour a place."""
        one, other = await asyncio.gather(
            *(
                self.opinions(comparison(question, report, truth, reference, first=first))
                for first in (True, False)
            )
        )
        both = combined((one.judged.scores, other.judged.scores), "mean")
        scores, of_reference = both[: len(truth.criteria)], both[len(truth.criteria) :]
        own, others = weighted_mean(scores), weighted_mean(of_reference)
        return one.judged.model_copy(
            update={
                "quality": own / (own + others) if own + others else 0.5,
                "scores": scores,
                "votes": one.judged.votes + other.judged.votes,
                "cached": one.judged.cached and other.judged.cached,
                "seconds": max((one.judged.seconds, other.judged.seconds), key=lambda s: s or 0.0),
            }
        )

    async def opinions(self, request: JudgeRequest, cost: Spent | None = None) -> Opinions:
        """Of the first judge that gives any, on whatever the request is about; `spent` is charged
        with all calls, failed ones too. Raises JudgeError."""
        cost = Spent() if cost is None else cost
        faults: list[str] = []
        start = time.monotonic()
        for place, judge in enumerate(self._judges):
            self.stats.second_judge += place > 0
            try:
                opinions = await self._recall_or_ask(judge, request, cost, start)
            except (PolicyError, VerdictFault) as error:
                faults.append(f"{judge.name}: {error}")
                continue
            self.stats.judged += 1
            return opinions
        self.stats.failures += 1
        raise JudgeError(
            f"the report stays unscored, no judge gave an opinion ({'; '.join(faults)}): "
            "check the judges' servers and names"
        )

    def take_stats(self) -> JudgeStats:
        """What judging has cost; counting begins anew."""
        stats, self.stats = self.stats, JudgeStats()
        return stats

    def _stats(self) -> JudgeStats:
        return self.stats

    async def aclose(self) -> None:
        """Close the connections of judges that were given by name."""
        for judge in self._judges:
            await judge.aclose()

    async def _recall_or_ask(
        self, judge: OneJudge, request: JudgeRequest, cost: Spent, start: float
    ) -> Opinions:
        """From the cache, or asked. Equal requests of one loop wait for the first of them."""
        if self._cache is None:
            return await self._ask(judge, request, cost, start)
        key = self._key(judge, request)
        place = (id(asyncio.get_running_loop()), key)
        lock = self._locks.setdefault(place, asyncio.Lock())
        async with lock:
            if judged := await asyncio.to_thread(self._cache.get, key):
                self.stats.cached += 1
                cached = judged.model_copy(update={"cached": True, "seconds": None})
                return Opinions(cached, None)
            opinion = await self._ask(judge, request, cost, start)
            first = await asyncio.to_thread(self._cache.keep, key, opinion.judged)
            seconds = {"seconds": opinion.judged.seconds}
            return opinion._replace(judged=first.model_copy(update=seconds))

    def _key(self, judge: OneJudge, request: JudgeRequest) -> str:
        """Over all that a verdict depends on; question, rubric and report are in the messages."""
        texts = [message.text for message in request.messages]
        weights = [criterion.weight for criterion in request.criteria]
        parts = [_VERSION, judge.name, self._votes, self._combine, texts, weights]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    async def _ask(
        self, judge: OneJudge, request: JudgeRequest, cost: Spent, start: float
    ) -> Opinions:
        """The opinions of one judge, combined. More than half of them must come."""
        votes = await judge.votes(
            self._votes,
            request.messages,
            request.scores,
            cost,
            request.schema or verdict_schema(len(request.criteria)),
        )
        scores = combined(votes, self._combine)
        seconds = time.monotonic() - start
        self.stats.latencies.append(seconds)
        judged = Judged(
            quality=weighted_mean(scores), by=judge.name, scores=scores, votes=len(votes),
            seconds=seconds,
        )  # fmt: skip
        return Opinions(judged, agreement(votes))


def empty_verdict(criteria: Sequence[Criterion]) -> Judged:
    """What a report without a word is worth: nothing."""
    scores = tuple(Scored(criterion=c.text, weight=c.weight, score=0.0) for c in criteria)
    return Judged(quality=0.0, by="empty", scores=scores)


def agreement(votes: Sequence[tuple[Scored, ...]]) -> float | None:
    """How much votes agree, 0 to 1: 1 less the mean distance of two votes' scores, over all pairs
    of votes and, by weight, all criteria. None with fewer than two."""
    distances = [
        sum(abs(a.weight) * abs(a.score - b.score) for a, b in zip(one, other, strict=True))
        / sum(abs(a.weight) for a in one)
        for one, other in combinations(votes, 2)
    ]
    return max(0.0, 1 - statistics.fmean(distances)) if distances else None


def combined(opinions: Sequence[tuple[Scored, ...]], how: Combine) -> tuple[Scored, ...]:
    """Each criterion's median or mean, with the reason of the vote that is closest to it."""
    average = statistics.median if how == "median" else statistics.fmean
    result = []
    for scores in zip(*opinions, strict=True):
        score = min(1.0, max(0.0, float(average([scored.score for scored in scores]))))
        nearest = min(scores, key=lambda scored: abs(scored.score - score))
        result.append(nearest.model_copy(update={"score": score}))
    return tuple(result)
