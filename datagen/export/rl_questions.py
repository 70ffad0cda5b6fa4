"""RL rows: a question with what its report is judged by, and how its candidates spread.

The JSON Lines file is what `python -m rl.rl_rows` reads; the Parquet file beside it is what that
command makes of it. `rl-selection` has the spread of the scores: a question whose candidates all
score alike teaches a group-relative method nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, pvariance
from typing import Final

from datagen.export.columns import Row
from datagen.export.verdicts import Origin, Verdict
from datagen.records import SeedTruth
from oresearch_graph.judging.ground_truth import GroundTruth

_STYLE: Final = "oresearch"


def rl_question(truth: SeedTruth, seed: Origin | None) -> Row:
    """One line of the JSON Lines file; what is not known is left out."""
    row: Row = {"id": truth.seed, "question": truth.question}
    points = truth.truth.key_points
    if points:
        row["key_points"] = [point.model_dump(mode="json") for point in points]
    if truth.truth.rubric is not None:
        row["rubric"] = [
            {"criterion": c.text, "weight": c.weight, "explanation": c.description or None}
            for c in truth.truth.rubric.criteria
        ]
    about = {"domain": seed.domain, "language": seed.language} if seed else {}
    return {**row, **{name: value for name, value in about.items() if value is not None}}


def question_truth(question: Row) -> GroundTruth:
    """What a line says that reports are judged by. Raises ValueError."""
    criteria = [
        {"text": r["criterion"], "weight": r["weight"], "description": r["explanation"] or ""}
        for r in question.get("rubric", [])
    ]
    return GroundTruth.model_validate(
        {
            "key_points": question.get("key_points", []),
            "rubric": {"criteria": criteria} if criteria else None,
        }
    )


def rl_row(question: Row, truth: GroundTruth, index: int, split: str) -> Row:
    """The same in the columns of verl's data set."""
    return {
        "data_source": _STYLE,
        "prompt": [{"role": "user", "content": question["question"]}],
        "ability": question.get("domain") or "research",
        "reward_model": {"style": _STYLE, "ground_truth": truth.to_json()},
        "extra_info": {
            "index": index,
            "split": split,
            "id": question["id"],
            "question": question["question"],
            "language": question.get("language"),
            "search_instead": None,
        },
    }


def selection_row(seed: str, judged: Sequence[Verdict], question_sha256: str) -> Row:
    """How the judge scored the candidates of a seed; None where it scored none."""
    scores = [j.quality for j in judged if j.quality is not None]
    return {
        "seed": seed,
        "candidates": len(judged),
        "judged": len(scores),
        "accepted": sum(j.accepted for j in judged),
        "mean": fmean(scores) if scores else None,
        "variance": pvariance(scores) if scores else None,
        "lowest": min(scores, default=None),
        "highest": max(scores, default=None),
        "question_sha256": question_sha256,
    }
