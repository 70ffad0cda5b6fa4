"""What a reward is scored from: a row, a checked trace, and a judge that says what it is told."""

from __future__ import annotations

from typing import Any

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace import Trace
from oresearch_graph.trace.answer import parse_answer
from rl.settings import RewardSettings
from tests.helpers.traces import SOURCES

POINTS = (
    KeyPoint(text="The Moon causes tides.", needs=(("Moon",), ("tides",)), weight=3.0),
    KeyPoint(text="Tides reach 16 metres.", needs=(("16",), ("metres",))),
)
REWARD = RewardSettings()
GARBAGE = "I would rather not."


class Judge:
    """Says what it is told to say; keeps the reports it was given."""

    def __init__(self, quality: float | Exception = 1.0) -> None:
        self.quality, self.reports = quality, list[str]()

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *, citations: Any = None
    ) -> Judged:
        self.reports.append(report)
        if isinstance(self.quality, Exception):
            raise self.quality
        return Judged(quality=self.quality, by="told", seconds=0.5)


def row(truth: GroundTruth | None = None) -> dict[str, Any]:
    truth = truth or GroundTruth(key_points=POINTS)
    return {"reward_model": {"style": "rule", "ground_truth": truth.to_json()}}


def cited(trace: Trace) -> Trace:
    """The trace with the report's check, as a run's end makes it."""
    assert trace.answer is not None
    return trace.model_copy(
        update={"citations": verify_report(parse_answer(trace.answer.text), SOURCES)}
    )
