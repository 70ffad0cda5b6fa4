"""The judges of a run: the one that gives quality, and another that audits it.

An audit changes no reward and drops no rollout: what it does not say in time is not known.
"""

from __future__ import annotations

import asyncio
import logging
from typing import NamedTuple

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import ExactFactsJudge, QualityJudge
from oresearch_graph.redaction import brief
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.trace import CitationReport
from oresearch_graph.trace.record import text_hash
from rl.settings import AuditSettings, RewardJudgeSettings

_log = logging.getLogger("oresearch.rl")


def judge_from(settings: RewardJudgeSettings) -> QualityJudge:
    """The judge that the settings ask for. Raises ConfigurationError."""
    if settings.kind == "exact_facts":
        return ExactFactsJudge()
    if not settings.model:
        raise ConfigurationError(
            "oresearch.judge.kind is model and names none: set oresearch.judge.model, or kind to "
            "exact_facts"
        )
    from oresearch_graph.judging.model_judge import (
        ModelJudge,  # a second to import, for this kind alone
    )

    return ModelJudge(
        settings.model,
        base_url=settings.base_url,
        second=settings.second_model,
        second_base_url=settings.second_base_url,
        votes=settings.votes,
        tries=settings.tries,
        timeout=settings.timeout,
        concurrency=settings.concurrency,
        cache=settings.cache,
    )


class AuditVerdict(NamedTuple):
    """What the audit said of a report."""

    quality: float | None
    """None: it failed, or was not in time."""


class JudgeAudit:
    """A second judge of some of the reports, chosen by their text: the same report is audited at
    every run, and one that two rollouts wrote in both."""

    def __init__(self, judge: QualityJudge, share: float, seconds: float) -> None:
        """`seconds`: of one verdict, with all that it waits for."""
        self.judge, self.share, self.seconds = judge, share, seconds
        self._warned = False

    @classmethod
    def of(cls, settings: AuditSettings) -> JudgeAudit | None:
        """The audit that the settings ask for; None without one. Raises ConfigurationError."""
        if not settings.share:
            return None
        judge = settings.judge
        # Two orders of each opinion, and the wait for those that were asked before.
        seconds = 2 * judge.votes * judge.tries * judge.timeout
        return cls(judge_from(judge), settings.share, seconds)

    async def verdict(
        self, question: str, report: str, truth: GroundTruth, citations: CitationReport | None
    ) -> AuditVerdict | None:
        """What it says of the report; None of one that is not of the share.

        Raises ConfigurationError, which every other report would meet, and nothing else.
        """
        place = int(text_hash(f"{question}\0{report}")[:8], 16)
        if place >= self.share * 16**8:
            return None
        try:
            async with asyncio.timeout(self.seconds):
                judged = await self.judge.judge(question, report, truth, citations=citations)
        except ConfigurationError:
            raise
        except Exception as error:  # noqa: BLE001 - the boundary of the audit: it costs no rollout
            if not self._warned:
                _log.warning("the audit of the judge failed: %s", brief(error) or type(error))
            self._warned = True
            return AuditVerdict(None)
        return AuditVerdict(judged.quality)
