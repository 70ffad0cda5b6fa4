"""The judge stage against a loopback server: verdicts, thresholds, what is asked anew."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from datagen.judge.stage import Rank, choose, judge
from datagen.records import Filtered, Finding, Seed
from datagen.run.folder import RunFolder
from datagen.run.record_files import write_records
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.trace.files import write_traces
from tests.helpers.datagen_work import said
from tests.helpers.judging import (
    TIDES,
    at,
    by_mark,
    counted,
    judgements,
    run_of,
    same,
    verdict,
    with_settings,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.server_habits import (
    Habits,
)
from tests.helpers.traces import GOOD, good_trace, trace_of

WEIGHTS = [1.0, 1.5, 1.5, 2.0, 1.0, 1.0]


def test_candidates_are_scored_accepted_and_the_best_of_a_seed_chosen(tmp_path: Path):
    scores = {"ann": 5, "bob": 9, "cid": 9, "dan": 7}
    with OpenAIServer(by_mark(scores)) as server:
        work = run_of(tmp_path, {"tides": ["ann", "bob", "cid"], "other": ["dan"]}, **at(server))
        rejected = Filtered(id="tides.9", seed="tides", findings=(Finding(rule="x", message="y"),))
        with work.run.filtered.open("ab") as file:
            file.write(rejected.model_dump_json().encode() + b"\n")
        assert counted(work) == (4, 0, 3, 2)
        assert len(server.requests) == 4
    found = judgements(work)
    assert list(found) == ["tides.1", "tides.2", "tides.3", "other.1"]
    assert [j.quality for j in found.values()] == pytest.approx([0.5, 0.9, 0.9, 0.7])
    assert [j.accepted for j in found.values()] == [False, True, True, True]
    assert [j.chosen for j in found.values()] == [False, True, False, True], "ties: the earlier"
    first = found["tides.1"].judged
    assert first is not None
    assert [s.weight for s in first.scores] == WEIGHTS
    assert all(s.quote_found for s in first.scores)
    assert re.search(r"4 of 4 judged, [\d,]+ tokens", said(work))


def test_a_changed_threshold_decides_anew_and_asks_nobody(tmp_path: Path):
    scores: dict[str, int | str] = {"ann": verdict(9, 9, 9, 3, 9, 9), "bob": 8}
    with OpenAIServer(by_mark(scores)) as server:
        work = run_of(tmp_path, {"tides": ["ann", "bob"]}, **at(server))
        assert judge(work)["accepted"] == 2
        assert len(server.requests) == 2
        for settings, accepted in (
            ({"min_quality": 0.77}, {"tides.2"}),
            ({"min_scores": {"faithfulness": 0.5}}, {"tides.2"}),
            ({"min_scores": {"orthogonality": 0.85}}, {"tides.1"}),
            ({"min_quality": 0.95}, set()),
            ({"keep_per_seed": 2}, {"tides.1", "tides.2"}),
        ):
            again = with_settings(work.run, **at(server), **settings)
            judge(again)
            assert {i for i, j in judgements(again).items() if j.accepted} == accepted
        assert all(j.chosen for j in judgements(again).values())
        assert len(server.requests) == 2


def test_votes_are_combined_and_their_agreement_told(tmp_path: Path):
    answers = [same(2), same(8), same(8)]
    with OpenAIServer(lambda messages, body: answers.pop()) as server:
        work = run_of(tmp_path, {"tides": ["ann"]}, **at(server, votes=3))
        judge(work)
    (found,) = judgements(work).values()
    assert found.judged is not None
    assert found.quality == pytest.approx(0.8)
    assert found.judged.votes == 3
    assert found.agreement == pytest.approx(1 - (0.6 + 0.6 + 0.0) / 3)
    strict = with_settings(work.run, **at(server, votes=3), min_agreement=0.7)
    assert judge(strict)["accepted"] == 0


def test_what_a_verdict_rests_on_is_asked_anew_when_it_changes(tmp_path: Path):
    rubric = tmp_path / "rubric.yaml"
    rubric.write_text("criteria:\n- {name: a, text: Good., low: bad, high: good}\n", "utf-8")
    with OpenAIServer(lambda messages, body: verdict(8)) as server:
        given = at(server, rubric=str(rubric), min_scores={"a": 0.5})
        work = run_of(tmp_path / "run", {"tides": ["ann"]}, **given)
        assert judge(work)["accepted"] == 1
        judge(with_settings(work.run, **{**given, "votes": 2}))
        assert len(server.requests) == 3
        rubric.write_text(rubric.read_text("utf-8").replace("bad", "worse"), "utf-8")
        judge(with_settings(work.run, **given))
        assert len(server.requests) == 4
        work.run.generated.unlink()
        write_traces(work.run.generated, [good_trace(id="tides.1", created="2026-01-01T00:00:00Z")])
        judge(with_settings(work.run, **given))
        judge(with_settings(work.run, **given))
        assert len(server.requests) == 5
        work.run.generated.unlink()
        write_traces(work.run.generated, [good_trace(id="tides.1")])
        judge(with_settings(work.run, **given))
        assert len(server.requests) == 5, "when a trace was made is nothing to the judge"


def test_key_points_judge_without_a_model(tmp_path: Path):
    bare = Seed(id="bare", question="What else?")
    marks = {"tides": ["ann"], "bare": ["bob"]}
    work = run_of(tmp_path, marks, seeds=(TIDES, bare))
    assert counted(work) == (1, 1, 1, 1)
    found = judgements(work)
    assert (found["tides.1"].quality, found["tides.1"].agreement) == (1.0, None)
    assert (found["bare.1"].unjudged or "").startswith("there are no key points")
    sharper = TIDES.model_copy(
        update={
            "key_points": (
                *TIDES.key_points,
                KeyPoint(text="The Sun adds a third.", needs=(("Sun",), ("third",))),
            )
        }
    )
    write_records(work.run.seeds, (sharper, bare))
    judge(with_settings(work.run))
    assert judgements(work)["tides.1"].quality == pytest.approx(2 / 3), "other points, judged anew"


def test_a_candidate_whose_seed_was_dropped_since_is_left_out(tmp_path: Path):
    work = run_of(tmp_path, {"tides": ["ann"], "gone": ["bob"]}, by="exact_facts")
    write_records(work.run.seeds, [TIDES])
    assert judge(work)["without_seed"] == 1
    assert set(judgements(work)) == {"tides.1"}


def test_no_more_candidates_at_one_time_than_allowed(tmp_path: Path):
    marks = [f"m{n}" for n in range(10)]
    with OpenAIServer(by_mark(dict.fromkeys(marks, 8)), Habits(latency=0.03)) as server:
        judge(run_of(tmp_path, {"tides": marks}, **at(server, concurrency=2)))
        assert server.most_at_once == 2


def test_an_empty_report_is_worth_nothing(tmp_path: Path):
    with OpenAIServer(by_mark({})) as server:
        work = run_of(tmp_path, {"tides": ["ann"]}, **at(server))
        work.run.generated.unlink()
        hollow = re.sub(r"<suggested_answer>.*</suggested_answer>", "", GOOD, flags=re.DOTALL)
        write_traces(work.run.generated, [trace_of(hollow, id="tides.1")])
        judge(work)
        assert not server.requests
    assert judgements(work)["tides.1"].quality == 0.0


def test_thresholds_on_what_is_not_scored_are_refused(tmp_path: Path):
    work = run_of(tmp_path, {"tides": ["ann"]}, min_scores={"style": 0.5})
    with pytest.raises(ConfigurationError, match=r"'style' is no criterion .* none"):
        judge(work)
    model = with_settings(work.run, model="fake", base_url="http://127.0.0.1:9/v1",
                          min_scores={"style": 0.5})  # fmt: skip
    with pytest.raises(ConfigurationError, match="it has orthogonality, coverage"):
        judge(model)
    with pytest.raises(ValueError, match=r"judge\.model names none"):
        with_settings(work.run, by="model")


def test_the_filter_must_have_run(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="run the filter stage first"):
        judge(with_settings(RunFolder(tmp_path)))


def test_ties_are_settled_the_same_way_every_time():
    ranks = [
        Rank("s", "s.10", 0.8, 0.9), Rank("s", "s.2", 0.8, 0.9), Rank("s", "s.1", 0.8, None),
        Rank("s", "s.3", 0.8, 0.95), Rank("t", "t.1", 0.1, None),
    ]  # fmt: skip
    assert choose(ranks, 1) == choose(reversed(ranks), 1) == {"s.3", "t.1"}
    assert choose(ranks, 2) == {"s.3", "s.2", "t.1"}
    assert choose(ranks, 3) == {"s.3", "s.2", "s.10", "t.1"}
