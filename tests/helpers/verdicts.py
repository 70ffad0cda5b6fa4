"""A report, what it is judged by, and verdicts as a judge's model writes them."""

from __future__ import annotations

import json
from collections.abc import Callable

from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.judging.model_judge import ModelJudge
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric
from tests.helpers.server_habits import (
    Body,
    Message,
)

TRUTH = GroundTruth(
    rubric=Rubric(
        criteria=(
            Criterion(text="Says what causes tides.", weight=3.0),
            Criterion(text="Says how large they get.", description="A figure, in metres."),
        )
    ),
    key_points=(KeyPoint(text="The Moon's gravity causes tides."),),
)
REPORT = "The Moon causes tides [1001]. They reach\n16 metres [1002]."


def verdict(*scores: object, quote: str = "The Moon causes tides") -> str:
    rows = [
        {"number": number, "reason": f"because {number}", "quote": quote, "score": score}
        for number, score in enumerate(scores, start=1)
    ]
    return json.dumps({"criteria": rows})


def says(*texts: str) -> Callable[[list[Message], Body], str]:
    """A brain that gives these answers in turn, and goes on giving the last."""
    left = list(texts)
    return lambda messages, body: left.pop(0) if len(left) > 1 else left[0]


async def judged(judge: ModelJudge, report: str = REPORT, truth: GroundTruth = TRUTH) -> Judged:
    return await judge.judge("What causes tides?", report, truth)
