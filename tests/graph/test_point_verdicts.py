"""The model judge on key points: which of its verdicts count, and what it is shown."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.answers import VerdictFault
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.judging.point_verdicts import point_request
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.verdicts import says

POINTS = (
    KeyPoint(text="The Moon's gravity causes tides.", weight=3.0),
    KeyPoint(text="Tides reach 16 metres in the Bay of Fundy."),
)
REPORT = (
    "It is the pull of the Moon that makes tides [1001]. In the Bay of Fundy the water rises by "
    "16 metres [1001]. Nobody knows whether it was higher once."
)
SOURCE = Source.of(
    id=1001, url="https://e.example/t",
    text="It is the pull of the Moon that makes tides. In the Bay of Fundy the water rises by 16 "
         "metres between low and high tide.",
)  # fmt: skip
FIRST, SECOND = "the pull of the Moon that makes tides", "the water rises by 16 metres"


def answer(*entries: tuple[str, str]) -> str:
    rows = [{"number": n, "verdict": verdict, "quote": quote}
            for n, (verdict, quote) in enumerate(entries, 1)]  # fmt: skip
    return json.dumps({"points": rows})


def scores(
    text: str, report: str = REPORT, points: Sequence[KeyPoint] = POINTS, question: str = "Why?"
) -> list[float]:
    citations = verify_report(parse_answer(report), [SOURCE])
    request = point_request(question, report, points, citations)
    return [scored.score for scored in request.scores(text)]


def first(report: str, quote: str) -> float:
    return scores(answer(("supported", quote)), report, POINTS[:1])[0]


async def test_the_quality_is_the_share_of_points_supported(judge_at):
    with OpenAIServer(says(answer(("supported", FIRST), ("omitted", "")))) as server:
        judge = judge_at(server)
        truth = GroundTruth(key_points=POINTS)
        found: Judged = await judge.judge("Why tides?", REPORT, truth)
        (sent,) = server.requests
    assert found.quality == 0.75
    assert [scored.reason for scored in found.scores] == ["supported", "omitted"]
    schema = sent["response_format"]["json_schema"]["schema"]["properties"]["points"]
    assert (schema["minItems"], schema["maxItems"]) == (2, 2)
    asked = sent["messages"][-1]["content"]
    assert "1. The Moon's gravity causes tides.\n2. Tides reach 16 metres" in asked


@pytest.mark.parametrize("verdict", ["omitted", "contradicted"])
def test_what_is_left_out_or_said_otherwise_earns_nothing(verdict: str):
    assert scores(answer(("supported", FIRST), (verdict, SECOND))) == [1.0, 0.0]


@pytest.mark.parametrize(
    "quote",
    ["", "Moon", "the Moon's gravity causes tides", "Nobody knows", "the water rises",
     "the pull of the Moon that makes tides and more", "[1001]"],
)  # fmt: skip
def test_a_verdict_without_its_quote_counts_for_nothing(quote: str):
    assert first(REPORT, quote) == 0.0


@pytest.mark.parametrize(
    "quote", [FIRST, f"{FIRST} [1001].", "It is the pull … makes TIDES", f"**{FIRST}**"]
)
def test_a_quote_is_found_in_whatever_dress(quote: str):
    assert first(REPORT, quote) == 1.0


@pytest.mark.parametrize(
    ("report", "worth"),
    [
        ("It is the pull of the Moon that makes tides.", 0.5),
        ("It is the pull of the Moon that makes tides [1009].", 0.0),
        ("It is the pull of the Moon that makes tides in 77 places [1001].", 0.0),
        ("It is not the pull of the Moon that makes tides [1001].", 0.0),
        ("Perhaps it is the pull of the Moon that makes tides [1001].", 0.0),
        ("Is it the pull of the Moon that makes tides [1001]?", 0.0),
        ("### It is the pull of the Moon that makes tides [1001]", 0.0),
        ("```\nIt is the pull of the Moon that makes tides [1001].\n```", 0.0),
        ("It is the pull of the Moon that makes tides [1001]. It is not true that the Moon makes "
         "tides.", 0.0),
    ],
)  # fmt: skip
def test_the_statement_behind_a_quote_decides_what_it_is_worth(report: str, worth: float):
    quote = report.partition(" [")[0].strip("`#\n").rstrip(".")
    assert first(f"Something else stands here.\n\n{report}", quote) == worth


def test_a_quote_without_the_points_figures_states_it_not():
    report = "In the Bay of Fundy the water rises and tides reach far [1001]."
    quote = "In the Bay of Fundy the water rises and tides reach far"
    assert scores(answer(("supported", quote)), report, POINTS[1:]) == [0.0]
    spaced = (KeyPoint(text="In 2019 some 47,200 people came to the tower."),)
    told = "In 2019 about 47 200 people came to see the tower."
    assert scores(answer(("supported", "47 200 people came")), told, spaced) == [0.5]


def test_another_figure_that_nothing_bears_takes_the_point():
    rival = f"{REPORT} In the Bay of Fundy the water rises by 19 metres [1001]."
    said = answer(("supported", FIRST), ("supported", SECOND))
    assert scores(said) == [1.0, 1.0]
    assert scores(said, rival) == [1.0, 0.0]


def test_a_quote_over_two_sentences_is_worth_as_much_as_the_weaker():
    report = "The Moon has a pull [1001]. It makes tides in every sea."
    assert first(report, "The Moon has a pull. It makes tides in every sea") == 0.5


def test_a_report_that_repeats_the_question_states_nothing():
    report = "The pull of the Moon makes tides."
    said = answer(("supported", "The pull of the Moon makes tides"))
    question = "Is it so that the pull of the Moon makes tides?"
    assert scores(said, report, POINTS[:1]) == [0.5]
    assert scores(said, report, POINTS[:1], question) == [0.0]


@pytest.mark.parametrize(
    "text",
    ["", "{}", answer(("supported", FIRST)), answer(("fine", FIRST), ("omitted", "")),
     '{"points": [{"number": 1}, {"number": 2}]}'],
)  # fmt: skip
def test_what_is_no_verdict(text: str):
    with pytest.raises(VerdictFault):
        scores(text)


def test_a_point_and_a_claim_take_one_line_each():
    report = "So.\n- quoted: all of it [1009]\n- quoted: more [1009]."
    points = (KeyPoint(text="One.\n2. Two."),)
    citations = verify_report(parse_answer(report), [SOURCE])
    asked = point_request("Why?", report, points, citations).messages[-1].text
    assert "\n1. One. 2. Two.\n" in asked
    checked = asked.split("<citations-")[1].split("</citations-")[0]
    assert "\n- quoted" not in checked
