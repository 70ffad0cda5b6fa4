"""The model judge against a real loopback server: verdicts, faults, the second judge, votes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError, JudgeError
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.ground_truth import ExactFactsJudge, Scored
from oresearch_graph.judging.judge_model import JudgeStats, Spent
from oresearch_graph.judging.model_judge import ModelJudge, agreement
from oresearch_graph.judging.prompt import JudgeRequest
from oresearch_graph.limits import Price
from oresearch_graph.policies.chat.exchange import Exchange
from oresearch_graph.policies.chat.model_call import ModelCall
from oresearch_graph.policies.chat.text_model import TextModel
from oresearch_graph.policies.serving import Serving
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Body,
    Fault,
    Habits,
    Message,
    too_many,
)
from tests.helpers.small_model import forget_probes
from tests.helpers.verdicts import REPORT, TRUTH, judged, says, verdict


async def test_a_verdict_is_the_weighted_mean_of_its_scores(judge_at):
    with OpenAIServer(says(verdict(10, 2, quote="They reach 16 metres"))) as server:
        judge = judge_at(server)
        found = await judged(judge)
        (sent,) = server.requests
    assert found.quality == pytest.approx((3 * 1.0 + 1 * 0.2) / 4)
    assert (found.by, found.votes, found.cached) == ("fake", 1, False)
    assert [scored.reason for scored in found.scores] == ["because 1", "because 2"]
    assert found.scores[1].quote == "They reach 16 metres"
    assert found.scores[1].quote_found, "white space aside"
    assert sent["response_format"]["type"] == "json_schema"
    assert sent["temperature"] == 0.0
    asked = sent["messages"][-1]["content"]
    for part in (
        "1. Says what",
        "(A figure, in metres.)",
        "The Moon's gravity",
        "16 metres [1002]",
    ):
        assert part in asked
    assert judge.stats.calls == judge.stats.judged == 1
    assert judge.stats.retries == judge.stats.corrections == judge.stats.failures == 0


async def test_a_score_without_a_quote_of_the_text_is_none(judge_at):
    for quote, quality in (
        ("The Moon causes", 1.0),
        ("", 0.0),
        ("Moon", 0.0),
        ("the Sun does", 0.0),
    ):
        with OpenAIServer(says(verdict(10, 10, quote=quote))) as server:
            found = await judged(judge_at(server))
        assert found.quality == quality
        counted = [scored.reason.startswith("not counted") for scored in found.scores]
        assert counted == [not quality] * 2


async def test_what_weighs_negatively_is_taken_away(judge_at):
    criteria = (*TRUTH.criteria, Criterion(text="Praises itself.", weight=-2.0))
    truth = GroundTruth(rubric=Rubric(criteria=criteria))
    for score, quality in ((0, 1.0), (5, 0.75), (10, 0.5)):
        with OpenAIServer(says(verdict(10, 10, score))) as server:
            found = await judged(judge_at(server), truth=truth)
            asked = server.requests[0]["messages"][-1]["content"]
        assert found.quality == pytest.approx(quality)
        assert "3. Praises itself. [a fault: 10 where it is fully there]" in asked
    for bad in ([Criterion(text="Bad.", weight=-1.0)], [{"text": "Nothing.", "weight": 0}]):
        with pytest.raises(ValidationError):
            Rubric.model_validate({"criteria": bad})


def compared(first: int, second: int) -> str:
    rows = [{"number": n, "reason": "", "first": first, "second": second} for n in (1, 2)]
    return json.dumps({"criteria": rows})


async def test_beside_a_reference_quality_is_its_share_and_places_do_not_count(judge_at):
    truth = TRUTH.model_copy(update={"reference": "The Sun and the Moon do."})

    def brain(messages: list[Message], body: Body) -> str:
        shown = str(messages[-1]["content"])
        good = shown.index("The Moon causes") < shown.index("The Sun and")
        # It likes the better one twice as much, and what stands first a little more.
        return compared(9, 4) if good else compared(5, 8)

    with OpenAIServer(brain) as server:
        judge = judge_at(server)
        found = await judged(judge, truth=truth)
        assert len(server.requests) == 2
    assert found.quality == pytest.approx(17 / (17 + 9))
    assert [scored.score for scored in found.scores] == [pytest.approx(0.85)] * 2
    faulted = Rubric(criteria=(*TRUTH.criteria[:1], Criterion(text="Praises itself.", weight=-1.0)))
    for equal in (compared(0, 0), compared(8, 8)):
        for one in (truth, truth.model_copy(update={"rubric": faulted})):
            with OpenAIServer(says(equal)) as server:
                assert (await judged(judge_at(server), truth=one)).quality == 0.5
    with (
        OpenAIServer(says(verdict(5, 5))) as server,
        pytest.raises(JudgeError, match="is no score from 0 to 10"),
    ):
        await judged(judge_at(server), truth=truth)


async def test_what_is_no_verdict_is_asked_for_again(judge_at):
    with OpenAIServer(says("I like it.", verdict(5), verdict(5, 5))) as server:
        judge = judge_at(server)
        assert (await judged(judge)).quality == 0.5
        second, third = server.requests[1:]
    assert second["messages"][-2]["content"] == "I like it."
    assert "no JSON object" in second["messages"][-1]["content"]
    assert "number 2" in third["messages"][-1]["content"]
    assert (judge.stats.calls, judge.stats.corrections, judge.stats.retries) == (3, 2, 0)


@pytest.mark.parametrize(
    "text",
    [
        "Here it is:\n```json\n" + verdict(7, 7) + "\n```\nThat is all.",
        "<think>" + verdict(1, 1) + " was too harsh {</think>" + verdict(7, 7),
        json.dumps(json.loads(verdict(7, 7))["criteria"]),
        verdict("7", "7/10"),
        '{"criteria": {"1": {"score": 7, "quote": "16 metres"}, "2": {"score": 7.0, '
        '"quote": "The Moon … 16 metres"}}}',
        '{"criteria": [{"number": 2, "score": 7, "quote": "the moon"}, '
        '{"number": 1, "score": 7, "quote": "they\nreach"}]}',
        "[[[[[" * 2_000 + verdict(7, 7),
    ],
    ids=["fenced", "thought", "list", "text", "mapping", "order", "deep"],
)
async def test_a_server_without_schemas_is_read_all_the_same(judge_at, text: str):
    def brain(messages: list[Message], body: Body) -> str:
        return text

    def fault_for(body: Body) -> Fault | None:
        error = {"error": {"message": "This response_format type is unavailable now"}}
        return Fault("status", 400, body=error) if "response_format" in body else None

    with OpenAIServer(brain) as server:
        server.fault_for = fault_for
        judge = judge_at(server)
        assert (await judged(judge)).quality == pytest.approx(0.7)
        assert (await judged(judge, f"{REPORT} Another.")).quality == pytest.approx(0.7)
        assert ["response_format" in body for body in server.requests] == [True, False, False]


async def test_a_server_that_refuses_temperature_too_is_asked_without(judge_at):
    with OpenAIServer(says(verdict(7, 7))) as server:
        server.fault_for = lambda body: Fault("status", 422) if "temperature" in body else None
        assert (await judged(judge_at(server))).quality == pytest.approx(0.7)
        assert len(server.requests) == 3


async def test_passing_faults_are_tried_again(judge_at):
    with OpenAIServer(says(verdict(10, 10))) as server:
        server.faults.extend([too_many(), Fault("status", 500)])
        judge = judge_at(server)
        assert (await judged(judge)).quality == 1.0
    assert (judge.stats.calls, judge.stats.retries, judge.stats.second_judge) == (3, 2, 0)


@pytest.mark.parametrize("fault", [Fault("status", 401), Fault("drop"), Fault("hang", seconds=9)])
async def test_the_second_judge_is_asked_when_the_first_fails(judge_at, fault: Fault):
    with OpenAIServer(says("")) as first, OpenAIServer(says(verdict(4, 4))) as other:
        first.fault_for = lambda body: fault
        judge = judge_at(first, second="fake", second_base_url=other.base_url, tries=1, timeout=0.5)
        found = await judged(judge)
    assert found.quality == pytest.approx(0.4)
    assert (judge.stats.second_judge, judge.stats.failures) == (1, 0)


async def test_the_second_judge_is_asked_when_the_first_writes_no_verdict(judge_at):
    def brain(messages: list[Message], body: Body) -> str:
        return verdict(4, 4) if body["model"] == "wise" else "no idea"

    with OpenAIServer(brain, models=("fake", "wise")) as server:
        found = await judged(judge_at(server, second="wise"))
    assert found.by == "wise"


async def test_nobody_to_judge_leaves_the_report_unscored(judge_at):
    with OpenAIServer(says("")) as server:
        server.fault_for = lambda body: Fault("status", 401)
        judge = judge_at(server, second="fake")
        with pytest.raises(JudgeError, match=r"stays unscored.*401.*401"):
            await judged(judge)
    assert (judge.stats.failures, judge.stats.judged, judge.stats.p99) == (1, 0, None)


async def test_an_empty_report_is_worth_nothing_and_asks_nobody(judge_at):
    with OpenAIServer(says(verdict(10, 10))) as server:
        assert (await judged(judge_at(server), " \n")).quality == 0.0
        assert not server.requests


async def test_votes_are_combined_and_their_minority_may_fail(judge_at):
    answers = (verdict(10, 0), verdict(2, 0), verdict(0, 0))
    for how, quality in (("median", 0.75 * 0.2), ("mean", 0.75 * 0.4)):
        with OpenAIServer(says(*answers)) as server:
            found = await judged(judge_at(server, votes=3, combine=how))
            assert "temperature" not in server.requests[0], "votes must be free to differ"
        assert found.quality == pytest.approx(quality)
        assert found.votes == 3
    with OpenAIServer(says(verdict(8, 8))) as server:
        server.faults.append(Fault("status", 401))
        found = await judged(judge_at(server, votes=3))
        assert found.quality == pytest.approx(0.8)
        assert found.votes == 2
        server.faults.extend([Fault("status", 401), Fault("status", 401)])
        with pytest.raises(JudgeError):
            await judged(judge_at(server, votes=3))


async def test_no_more_requests_at_one_time_than_allowed(judge_at):
    with OpenAIServer(says(verdict(5, 5)), Habits(latency=0.05)) as server:
        judge = judge_at(server, concurrency=3)
        await asyncio.gather(*(judged(judge, f"Report {n}.") for n in range(12)))
        assert server.most_at_once == 3
    assert len(judge.stats.latencies) == 12
    assert judge.stats.p99 == max(judge.stats.latencies) > 0.05
    taken = judge.take_stats()
    assert (taken.judged, judge.stats.judged, judge.stats.latencies) == (12, 0, [])


@pytest.mark.parametrize(
    ("count", "p99"), [(1, 1), (2, 2), (99, 99), (100, 99), (101, 100), (1000, 990)]
)
def test_p99(count: int, p99: int):
    assert JudgeStats(latencies=[float(n) for n in range(count, 0, -1)]).p99 == p99


async def test_any_langchain_model_can_judge():
    def answers() -> Iterator[AIMessage]:
        yield AIMessage(verdict(10, 6))

    found = await judged(ModelJudge(GenericFakeChatModel(messages=answers())))
    assert found.quality == pytest.approx(0.9)


async def test_what_is_known_of_the_claims_is_shown_to_the_judge(judge_at):
    source = Source.of(id=1001, url="https://e.example/t", text="The Moon causes tides.")
    with OpenAIServer(says(verdict(5, 5))) as server:
        citations = verify_report(parse_answer(REPORT), [source])
        await judge_at(server).judge("Why?", REPORT, TRUTH, citations=citations)
        asked = server.requests[0]["messages"][-1]["content"]
    assert "Of 2 cited sentences: 1 quoted, 1 " in asked


async def test_the_deterministic_judge_speaks_the_same_language():
    points = (
        KeyPoint(text="The Moon causes tides.", needs=(("Moon",), ("tides",)), weight=3.0),
        KeyPoint(text="Tides reach 16 metres.", needs=(("16",), ("metres",))),
    )
    report = "The Moon causes tides [1001]. Tides reach 16 metres [1001]. More follows here."
    source = Source.of(id=1001, url="https://e.example/t", text="The Moon causes tides.")
    found = await ExactFactsJudge().judge(
        "Why?",
        report,
        GroundTruth(key_points=points),
        citations=verify_report(parse_answer(report), [source]),
    )
    assert found.quality == 3 / 4
    assert [scored.score for scored in found.scores] == [1.0, 0.0]
    assert found.scores[1].reason == "its source does not say so"
    with pytest.raises(ConfigurationError, match=r"'Why\?': there are no key points"):
        await ExactFactsJudge().judge("Why?", report, GroundTruth(rubric=TRUTH.rubric))


def test_ground_truth_survives_json_and_refuses_what_it_does_not_know():
    assert GroundTruth.from_json(TRUTH.to_json()) == TRUTH
    assert not GroundTruth.from_json("{}").judgeable
    for text in ("", "[]", '{"keypoints": []}', '{"rubric": {"criteria": []}}'):
        with pytest.raises(ConfigurationError, match="no ground truth"):
            GroundTruth.from_json(text)


@pytest.mark.parametrize(
    ("votes", "agrees"),
    [
        ([(1.0, 0.0)], None),
        ([(1.0, 0.0), (1.0, 0.0)], 1.0),
        ([(1.0, 0.0), (0.0, 1.0)], 0.0),
        # Pairs differ by (3·0.2 + 0)/4, (3·0.4 + 0.4)/4 and (3·0.2 + 0.4)/4.
        ([(0.8, 0.5), (0.6, 0.5), (0.4, 0.1)], 1 - (0.15 + 0.4 + 0.25) / 3),
    ],
)
def test_agreement_is_the_mean_likeness_of_two_votes(votes: list[Any], agrees: float | None):
    given = [
        (Scored(criterion="a", weight=3, score=a), Scored(criterion="b", weight=1, score=b))
        for a, b in votes
    ]
    assert agreement(given) == (agrees if agrees is None else pytest.approx(agrees))


async def test_any_document_can_be_judged_and_what_it_cost_is_told(judge_at):
    request = JudgeRequest([HumanMessage("Judge this plan.")], TRUTH.criteria, "First, then.")
    with OpenAIServer(
        says("no", verdict(8, 4, quote="First,\nthen"), verdict(6, 4, quote="first then"))
    ) as server:
        judge = judge_at(server, votes=2, price=Price(1.0, 0.0, 2.0))
        spent = Spent()
        found = await judge.opinions(request, spent)
        assert all(b["messages"][0]["content"] == "Judge this plan." for b in server.requests)
    assert found.judged.scores[0].quote_found
    assert found.agreement == pytest.approx(1 - 3 * 0.2 / 4)
    assert spent.calls == 3, "the vain answer counts too"
    assert spent.prompt_tokens is not None
    assert spent.completion_tokens is not None
    assert spent.cost is not None
    assert 0 < spent.cost <= (spent.prompt_tokens + 2 * spent.completion_tokens) / 1e6


async def test_what_no_server_says_is_not_known(judge_at):
    request = JudgeRequest([HumanMessage("Judge.")], TRUTH.criteria, "")
    with OpenAIServer(says(verdict(8, 4)), Habits(usage=False)) as server:
        spent = Spent()
        found = await judge_at(server).opinions(request, spent)
    assert found.agreement is None
    assert spent == Spent(calls=1)


async def test_a_field_that_the_server_refuses_is_left_out_and_the_others_stay(judge_at):
    refusal = {
        "code": "Client specified an invalid argument",
        "error": "Argument not supported on this model: temperature",
    }
    with OpenAIServer(says(verdict(7, 7))) as server:
        server.fault_for = lambda body: (
            Fault("status", 400, body=refusal) if "temperature" in body else None
        )
        judge = judge_at(server)
        assert (await judged(judge)).quality == pytest.approx(0.7)
        assert (await judged(judge, f"{REPORT} Another.")).quality == pytest.approx(0.7)
        refused, *others = server.requests
    assert "temperature" in refused
    assert len(others) == 2
    assert all("response_format" in body and "temperature" not in body for body in others)


async def test_a_slow_server_is_asked_one_thing_at_a_time_and_given_its_time(judge_at):
    forget_probes()
    with OpenAIServer(says(verdict(7, 7)), Habits(latency=0.02), slots=1, pace=9.0) as server:
        judge = judge_at(server, votes=3, timeout=None, concurrency=8)
        assert (await judged(judge)).votes == 3
        assert server.most_at_once == 1
        *_, last = server.requests
    assert last["max_completion_tokens"] == 2_000


@pytest.mark.parametrize(
    ("serving", "least"),
    [
        (Serving(), 120),
        (Serving(slots=1, pace=80.0), 120),
        (Serving(pace=9.0, reading=30.0), 1_000),
    ],
)
async def test_the_pace_says_what_a_time_out_is(monkeypatch, serving: Serving, least: float):
    limits: list[float] = []

    async def answered(_: Exchange, call: ModelCall, *__: Any) -> AIMessage:
        limits.append(call.patience.timeout)
        return AIMessage("yes")

    async def served(*_: Any) -> Serving:
        return serving

    monkeypatch.setattr(Exchange, "answer", answered)
    monkeypatch.setattr(Exchange, "serving", served)
    messages = [HumanMessage("a prompt " * 3_000)]
    for timeout in (None, 7.0):
        model = GenericFakeChatModel(messages=iter(()))
        await TextModel(model, concurrency=1, tries=1, timeout=timeout).answer(messages)
    assert limits[0] == 120 if least == 120 else 1_000 < limits[0] < 2_000
    assert limits[1] == 7.0, "an explicit limit holds"
