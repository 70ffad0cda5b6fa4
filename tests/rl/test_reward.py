"""The reward of a rollout: its parts by hand, and the judge and ground truth it asks for."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from oresearch_graph.errors import ConfigurationError, JudgeError
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.judging.model_judge import ModelJudge
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, Rubric
from oresearch_graph.text.language import detect_language
from rl.rollouts.judges import JudgeAudit, judge_from
from rl.rollouts.reward import RewardJudge, ground_truth
from rl.settings import AuditSettings, RewardJudgeSettings, RLSettings, from_config
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.rewards import GARBAGE, REWARD, Judge, cited, row
from tests.helpers.traces import GOOD, good_trace, trace_of


async def test_a_reference_report_earns_all_and_its_parts_add_up():
    trace = cited(good_trace())
    parts = await RewardJudge(REWARD, ExactFactsJudge()).score(trace, row())
    assert (parts.quality, parts.format) == (1.0, 1.0)
    assert (parts.tool_calls, parts.tool_use) == ((1, 1), 0.0)
    assert parts.total == pytest.approx(0.6 * 1.0 + 0.2 * 0.0 + 0.2 * 1.0)
    assert parts.citation_accuracy == 1.0
    assert parts.citation_coverage == pytest.approx(2 / 4)
    assert trace.answer is not None
    assert parts.report_characters == len(trace.answer.text)
    assert parts.violations == {}


async def test_the_judge_reads_what_the_policy_wrote_not_what_was_delivered():
    trace, judge = cited(good_trace()), Judge()
    await RewardJudge(REWARD, judge).score(trace, row())
    assert trace.answer is not None
    assert judge.reports == [trace.answer.text]


NO_REPORT = GOOD[: GOOD.index("<suggested_answer>")].rstrip()
EMPTY = NO_REPORT + "\n\n<suggested_answer>\n \n</suggested_answer>"


@pytest.mark.parametrize("text", [NO_REPORT, EMPTY, GARBAGE, ""])
async def test_no_report_is_worth_nothing_and_no_judge_is_asked(text: str):
    judge = Judge()
    parts = await RewardJudge(REWARD, judge).score(trace_of(text, outcome="failed"), row())
    assert (parts.quality, parts.format, parts.judged) == (0.0, 0.0, None)
    assert judge.reports == []
    assert parts.total == pytest.approx(0.2 * parts.tool_use)
    assert parts.report_words is None
    assert parts.citation_accuracy is None


async def test_one_violation_costs_the_form_and_is_counted():
    text = GOOD.replace("16 metres [2]", "16 metres [7]")
    parts = await RewardJudge(REWARD, Judge(0.5)).score(cited(trace_of(text)), row())
    assert parts.violations["dangling_citation"] == 1
    assert parts.total == pytest.approx(0.6 * 0.5)
    assert parts.citation_accuracy == 0.5


async def test_a_report_without_citations_has_no_precision_and_is_not_zero():
    text = GOOD.replace(" [1].", ".").replace(" [2].", ".")
    parts = await RewardJudge(REWARD, Judge()).score(cited(trace_of(text)), row())
    assert parts.citation_accuracy is None
    assert parts.citation_coverage == 0.0


async def test_every_rollout_logs_the_same_numbers_and_verl_takes_them():
    metrics = pytest.importorskip("verl.trainer.ppo.metric_utils")
    judge = RewardJudge(REWARD, Judge(0.5))
    rows = [
        (await judge.score(trace, row())).as_floats()
        for trace in (cited(good_trace()), trace_of(GARBAGE))
    ]
    assert rows[0].keys() == rows[1].keys()
    assert "reward" not in rows[0], "verl's validation adds that one itself"
    assert rows[1]["citation_accuracy"] is None
    infos = {key: [one[key] for one in rows] for key in rows[0]}
    made = metrics.process_validation_metrics(["d", "d"], ["a", "a"], infos)["d"]
    assert made["quality"]["mean@2"] == 0.25
    assert made["citation_accuracy"]["mean@1"] == 1.0, "missing is left out, not counted as 0"
    of_judge = {name: value for name, value in rows[0].items() if not name.startswith("audit_")}
    assert all(isinstance(value, float) for value in of_judge.values())


GERMAN = """## Einleitung
Das Radio entstand aus vielen Versuchen.

## Befunde
Guglielmo Marconi führte die drahtlose Übertragung von Zeichen im Jahr 1895 vor [1].

## Schluss
Damit begann der Rundfunk.

## Quellen
[1]. https://example.org/tides
"""


@pytest.mark.parametrize(
    ("question", "caps"),
    [
        ("Wer erfand das Radio?", {}),
        ("What is the history of the radio, and who were its inventors?", {"other_language": 0.0}),
        ("Wie entstand das Radio, und wer waren seine Erfinder?", {}),
        ("What is the history of the radio? I would like a text in German about it.", {}),
    ],
)
async def test_only_a_language_that_is_surely_another_costs_quality(question: str, caps: Any):
    start = GOOD.index("<suggested_answer>")
    text = f"{GOOD[:start]}<suggested_answer>\n{GERMAN}</suggested_answer>"
    trace = trace_of(text, question=question, language=detect_language(question))
    assert (await RewardJudge(REWARD, Judge()).score(trace, row())).caps == caps


@given(st.floats(0, 1), st.floats(0, 1))
async def test_a_better_report_never_earns_less(one: float, two: float):
    trace = cited(good_trace())
    totals = [
        (await RewardJudge(REWARD, Judge(quality)).score(trace, row())).total
        for quality in sorted((one, two))
    ]
    assert totals[0] <= totals[1]
    assert 0.2 <= totals[0] <= 0.8 + 1e-9


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "has no reward_model.ground_truth"),
        ({"reward_model": {"ground_truth": {"key_points": []}}}, "has no reward_model"),
        ({"reward_model": {"ground_truth": "{}"}}, "neither key points nor a rubric"),
        ({"reward_model": {"ground_truth": "42"}}, "has no ground truth"),
        ({"reward_model": {"ground_truth": json.dumps({"points": []})}}, "points"),
    ],
)
def test_a_row_without_anything_to_judge_by_names_its_question(given: Any, message: str):
    with pytest.raises(ConfigurationError, match=rf"'Why so\?'.*{message}"):
        ground_truth(given, "Why so?")


async def test_the_judge_of_the_settings(tmp_path: Any):
    assert isinstance(judge_from(RewardJudgeSettings()), ExactFactsJudge)
    with pytest.raises(ConfigurationError, match=r"set oresearch\.judge\.model"):
        judge_from(RewardJudgeSettings(kind="model"))
    answer = (
        '{"criteria": [{"number": 1, "reason": "", "quote": "The Moon causes tides", "score": 5}]}'
    )
    truth = GroundTruth(rubric=Rubric(criteria=(Criterion(text="Is right."),)))
    with OpenAIServer(lambda messages, body: answer, models=("wise",)) as server:
        judge = judge_from(
            RewardJudgeSettings(
                kind="model", model="wise", base_url=server.base_url, cache=tmp_path / "verdicts"
            )
        )
        assert isinstance(judge, ModelJudge)
        scored = [
            (await RewardJudge(REWARD, judge).score(cited(good_trace()), row(truth))).as_floats()
            for _ in range(2)
        ]
        assert len(server.requests) == 1
        await judge.aclose()
    assert [one["quality"] for one in scored] == [0.5, 0.5]
    assert [one["judge_cached"] for one in scored] == [0.0, 1.0]
    assert scored[0]["judge_seconds"]
    assert scored[1]["judge_seconds"] is None


async def test_an_audit_changes_no_reward_and_its_gap_is_logged():
    trace, audit = cited(good_trace()), Judge(0.25)
    plain = await RewardJudge(REWARD, Judge(0.75)).score(trace, row())
    judge = RewardJudge(REWARD, Judge(0.75), JudgeAudit(audit, 1.0, seconds=5.0))
    parts = await judge.score(trace, row())
    assert parts.total == plain.total
    logged = parts.as_floats()
    assert (logged["audit_quality"], logged["audit_gap"], logged["audit_failed"]) == (
        0.25,
        0.5,
        0.0,
    )
    assert trace.answer is not None
    assert audit.reports == [trace.answer.text]
    assert {name: plain.as_floats()[name] for name in logged if name.startswith("audit")} == {
        "audit_quality": None, "audit_gap": None, "audit_failed": None
    }  # fmt: skip


class Silent:
    """A judge that never answers."""

    async def judge(self, *_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "audit",
    [
        Judge(JudgeError("down")),
        Judge(KeyError("x")),
        Silent(),
    ],
    ids=["down", "defect", "silent"],
)
async def test_an_audit_that_fails_costs_no_rollout_and_is_told_once(
    audit: Any, caplog: pytest.LogCaptureFixture
):
    judge = RewardJudge(REWARD, Judge(0.75), JudgeAudit(audit, 1.0, seconds=0.05))
    for _ in range(2):
        parts = await judge.score(cited(good_trace()), row())
        assert parts.quality == 0.75
        assert (parts.as_floats()["audit_quality"], parts.as_floats()["audit_failed"]) == (
            None,
            1.0,
        )
    assert len([r for r in caplog.records if "audit of the judge failed" in r.message]) == 1


async def test_an_audit_that_can_never_judge_is_no_secret():
    audit = JudgeAudit(Judge(ConfigurationError("no needs")), 1.0, seconds=5.0)
    with pytest.raises(ConfigurationError, match="no needs"):
        await RewardJudge(REWARD, Judge(0.75), audit).score(cited(good_trace()), row())


async def test_where_there_is_no_verdict_there_is_no_audit():
    audit = Judge()
    judge = RewardJudge(REWARD, Judge(JudgeError("down")), JudgeAudit(audit, 1.0, seconds=5.0))
    with pytest.raises(JudgeError):
        await judge.score(cited(good_trace()), row())
    parts = await judge.score(trace_of(NO_REPORT, outcome="failed"), row())
    assert (parts.audit, audit.reports) == (None, [])


async def test_the_share_is_held_and_a_report_is_in_it_or_not_whoever_wrote_it():
    first, second = (JudgeAudit(Judge(0.5), 0.2, seconds=5.0) for _ in range(2))
    truth = GroundTruth()
    reports = [f"report {n}" for n in range(1_000)]
    taken = [await first.verdict("q", report, truth, None) is not None for report in reports]
    again = [await second.verdict("q", report, truth, None) is not None for report in reports]
    assert taken == again
    assert 150 < sum(taken) < 250


def test_the_audit_of_the_settings_is_another_judge():
    assert JudgeAudit.of(AuditSettings()) is None
    model = {"kind": "model", "model": "wise", "base_url": "http://127.0.0.1:9/v1"}
    audit = JudgeAudit.of(RLSettings(judge=model, audit={"share": 0.1}).audit)
    assert audit is not None
    assert isinstance(audit.judge, ExactFactsJudge)
    assert (audit.share, audit.seconds) == (0.1, 720.0)
    same = OmegaConf.create(
        {"oresearch": {"judge": model, "audit": {"share": 0.1, "judge": {**model, "votes": 3}}}}
    )
    with pytest.raises(
        ConfigurationError, match=r"oresearch\.audit: .* name another kind or model"
    ):
        from_config(same)
