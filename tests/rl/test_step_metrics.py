"""The metrics of a step: each number by hand, nothing missing reported as zero."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

from rl.learning.step_metrics import (
    _MEANS,
    _PARTS,
    METRICS,
    described,
    mismatch,
    pearson,
    step_metrics,
)
from rl.learning.step_metrics import validation_metrics as validation
from rl.rollouts.log import RolloutLog, RolloutRecord, open_rollout_log

WRITERS = ("reward.py", "worker.py")
SCORES: list[dict[str, float | None]] = [
    {"total": 1.0, "quality": 1.0, "tool_use": 1.0, "format": 1.0, "citation_accuracy": 0.5,
     "citation_coverage": 0.4, "report_words": 300, "tool_calls": 4, "truncations": 0,
     "prefix_breaks": 0, "rows": 4, "seconds": 10.0, "judge_seconds": 1.0},
    {"total": 0.2, "quality": 0.0, "tool_use": 0.0, "format": 1.0, "citation_accuracy": None,
     "citation_coverage": math.nan, "report_words": 100, "tool_calls": 1, "truncations": 1,
     "prefix_breaks": 1, "rows": 5, "seconds": 30.0, "judge_seconds": 3.0, "judge_cached": 0.0,
     "violations": 3, "quality_judged": 0.5, "audit_quality": 0.75, "audit_gap": -0.25,
     "audit_failed": 0.0},
    {"judge_seconds": 90.0, "judge_cached": 1.0, "audit_failed": 1.0},
    {"quality_judged": 1.0, "audit_quality": 0.25, "audit_gap": 0.75, "audit_failed": 0.0},
]  # fmt: skip
RECORDS = [
    RolloutRecord("a", 0, "Why?", 1, fate="kept", failures={"web": 1}, tools={"web_search": 3}),
    RolloutRecord("a", 1, "Why?", 1, fate="kept", tools={"web_search": 1, "crawl_page": 2}),
    RolloutRecord("b", 0, "How?", 1, fate="dropped", failures={"web": 1, "judge": 2}),
]


def measured() -> dict[str, float]:
    sampled = [{"planner": 10}, {"researcher": 60, "summarizer": 10}, {"researcher": 20}]
    return step_metrics(SCORES, sampled, RECORDS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reward/total/mean", 0.6),
        ("reward/total/min", 0.2),
        ("reward/total/max", 1.0),
        ("reward/total/std", 0.4),
        ("reward/quality/mean", 0.5),
        ("reward/tool_use/std", 0.5),
        ("reward/format/std", 0.0),
        ("citations/accuracy", 0.5),
        ("citations/coverage", 0.4),
        ("report/words", 200.0),
        ("report/words_reward_correlation", 1.0),
        ("tools/calls/mean", 2.5),
        ("tools/calls/max", 4.0),
        ("tools/by_name/web_search", 4.0),
        ("tools/by_name/crawl_page", 2.0),
        ("violations", 3.0),
        ("judge_cached", 0.5),
        ("truncations", 0.5),
        ("prefix_breaks", 0.5),
        ("rows_per_rollout/mean", 4.5),
        ("rows_per_rollout/max", 5.0),
        ("tokens/trained", 100.0),
        ("tokens/share/planner", 0.1),
        ("tokens/share/researcher", 0.8),
        ("rollouts/kept", 2.0),
        ("rollouts/dropped", 1.0),
        ("failures/web", 2.0),
        ("audit/quality", 0.5),
        ("audit/gap", 0.25),
        ("audit/distance", 0.5),
        ("audit/correlation", -1.0),
        ("audit/failed", 1 / 3),
        ("failures/judge", 2.0),
        ("rollout_seconds/mean", 20.0),
        ("rollout_seconds/max", 30.0),
        ("judge_seconds/mean", 2.0),
        ("judge_seconds/p99", 3.0),
    ],
)
def test_metrics_are_the_ones_computed_by_hand(name: str, value: float):
    assert measured()[f"oresearch/{name}"] == pytest.approx(value)


def test_every_metric_is_described():
    logged = [*measured(), *validation(RECORDS), *mismatch(*[torch.ones(1)] * 2)]
    assert [name for name in logged if described(name) is None] == []


def test_every_metric_that_the_sources_name_is_described():
    for source in ("trainer.py", "replay_buffer.py"):
        text = (Path(__file__).parents[2] / "rl" / "learning" / source).read_text("utf-8")
        named = [part for part in text.split('"') if part.startswith("oresearch/")]
        assert named
        assert [name for name in named if described(name) is None] == []


def test_every_score_that_is_read_is_one_that_rollouts_write():
    folder = Path(__file__).parents[2] / "rl"
    written = "".join((folder / "rollouts" / name).read_text("utf-8") for name in WRITERS)
    source = (folder / "learning" / "step_metrics.py").read_text("utf-8")
    read = re.findall(r'_values\(\w+, "(\w+)"\)', source)
    assert len(read) > 5
    assert [key for key in {*read, *_MEANS.values(), *_PARTS} if f'"{key}":' not in written] == []


def test_a_name_that_no_one_logs_is_not_described():
    assert described("oresearch/reward/total") is None
    assert described("oresearch/failures/web/more") is None
    assert all(METRICS.values())


def test_what_was_not_measured_is_left_out():
    found = step_metrics([{"total": 0.5, "quality": None}], [], [])
    assert found["oresearch/reward/total/mean"] == 0.5
    assert "oresearch/reward/quality/mean" not in found
    assert "oresearch/judge_seconds/p99" not in found
    assert "oresearch/report/words_reward_correlation" not in found


def test_a_step_without_rollouts_has_no_means():
    found = step_metrics([], [], [])
    assert found == {
        "oresearch/tokens/trained": 0.0,
        "oresearch/rollouts/kept": 0.0,
        "oresearch/rollouts/dropped": 0.0,
    }


def test_validation_counts_what_came_through():
    counts = validation(RECORDS)
    assert counts == {"oresearch/validation/kept": 2.0, "oresearch/validation/dropped": 1.0}


def test_pearson_is_none_where_nothing_varies():
    assert pearson([1.0], [2.0]) is None
    assert pearson([1.0, 1.0], [1.0, 2.0]) is None
    assert pearson([1.0, 2.0, 3.0], [3.0, 2.0, 1.0]) == pytest.approx(-1.0)
    assert pearson([1.0, 2.0, 4.0], [1.0, 3.0, 2.0]) == pytest.approx(0.3273268)


def test_percentiles_are_values_that_occurred():
    hundred = [float(value) for value in range(1, 101)]
    for seconds, p99 in ((hundred, 99.0), ([4.0], 4.0), ([], None)):
        metrics = step_metrics([{"judge_seconds": value} for value in seconds], [], [])
        assert metrics.get("oresearch/judge_seconds/p99") == p99


def test_engine_and_actor_are_compared_token_by_token():
    logged = mismatch(torch.tensor([-1.0, -2.0]), torch.tensor([-1.1, -2.0]))
    assert logged["oresearch/mismatch/max_log_prob_difference"] == pytest.approx(0.1, abs=1e-6)
    assert logged["oresearch/mismatch/mean_log_prob_difference"] == pytest.approx(0.05, abs=1e-6)
    assert logged["oresearch/mismatch/kl"] == pytest.approx((math.exp(-0.1) - 0.9) / 2, abs=1e-6)
    assert mismatch(torch.tensor([]), torch.tensor([])) == {}


def test_the_log_knows_what_runs_and_how_each_ended():
    log = RolloutLog()
    log.begin("a", 0, "Why?", step=3)
    log.begin("a", 1, "Why?", step=3, validate=True)
    log.report("a", 0, "dropped", {"engine": 1}, {"web_search": 2})
    assert [(record.uid, record.session) for record in log.waiting()] == [("a", 1)]
    (record,) = log.drain()
    assert (record.fate, record.step, record.question) == ("dropped", 3, "Why?")
    assert (record.failures, record.tools) == ({"engine": 1}, {"web_search": 2})
    assert record.seconds is not None
    assert log.drain() == []
    log.report("a", 1, "kept")
    assert log.drain() == []
    assert [record.fate for record in log.drain(validate=True)] == ["kept"]


def test_a_report_without_a_begin_has_no_duration():
    log = RolloutLog()
    log.report("a", 0, "kept")
    assert log.drain()[0].seconds is None


def test_without_ray_the_log_is_one_object_of_the_process():
    log = open_rollout_log()
    log.begin("here", 0, "Why?", step=1)
    assert [record.uid for record in open_rollout_log().waiting()] == ["here"]
    log.report("here", 0, "kept")
    assert [record.uid for record in open_rollout_log().drain()] == ["here"]
