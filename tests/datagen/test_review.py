"""Review: the sample is random and the same everywhere, the figures are right, the gate holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from datagen.records import Decision, Judgement, Seed, SeedTruth
from datagen.review.population import Member, band, population
from datagen.review.sample import Sample, allocate, current_sample, draw, read_decisions, verdict
from datagen.review.stage import PairedVerdict as Point
from datagen.review.stage import (
    cohen_kappa,
    judge_agreement,
    precise_cut,
    rate,
    review_result,
    settle_review,
    youden_cut,
)
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import RecordWriter, read_records, write_records
from datagen.run.review_result import ReviewResult, gate_fault, read_result, require_gate
from datagen.settings import DatagenSettings, ReviewSettings, read_settings, settings_text
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.trace import Protocol, write_traces
from tests.helpers.traces import good_trace


def members(count: int = 300) -> list[Member]:
    """Two strata of accepted traces, 9 to 1, some rejected ones and rubrics."""
    found = []
    for number in range(count):
        kind = "zh/law" if number % 10 == 0 else "en/science"
        found.append(Member(f"s{number}.1", "accepted", f"{kind}/parallel/0.7-1", 0.8, None))
        found.append(Member(f"s{number}.2", "rejected", f"{kind}/parallel/0-0.5", 0.3, None))
        found.append(Member(f"rubric:s{number}", "rubric", kind, None, None))
    return found


def said(item: str, reviewer: str, accept: bool) -> Decision:
    return Decision(item=item, reviewer=reviewer, accept=accept, at="2026-01-01T00:00:00+00:00")


class TestSample:
    def test_the_same_seed_draws_the_same_sample_in_any_order(self):
        settings = ReviewSettings(sample=30)
        once = draw(members(), settings)
        assert draw(members()[::-1], settings) == once
        assert draw(members(), ReviewSettings(sample=30, seed=1)).items != once.items

    def test_strata_are_drawn_in_proportion(self):
        sample = draw(members(), ReviewSettings(sample=30, rejected_share=0.4, rubrics=10))
        drawn = {(s.group, s.name.split("/")[0]): (s.population, s.drawn) for s in sample.strata}
        assert drawn == {
            ("accepted", "en"): (270, 27), ("accepted", "zh"): (30, 3),
            ("rejected", "en"): (270, 11), ("rejected", "zh"): (30, 1),
            ("rubric", "en"): (270, 9), ("rubric", "zh"): (30, 1),
        }  # fmt: skip
        assert len(sample.items) == 52
        assert len({item.item for item in sample.items}) == 52

    @pytest.mark.parametrize(
        ("sizes", "total", "given"),
        [
            ({"a": 90, "b": 10}, 10, {"a": 9, "b": 1}),
            ({"a": 990, "b": 9, "c": 1}, 10, {"a": 8, "b": 1, "c": 1}),
            ({"a": 1, "b": 1, "c": 1}, 2, {"a": 1, "b": 1, "c": 1}),
            ({"a": 3, "b": 2}, 99, {"a": 3, "b": 2}),
            ({"a": 5, "b": 5, "c": 5}, 7, {"a": 2, "b": 2, "c": 3}),
        ],
    )
    def test_every_stratum_has_one_at_least(self, sizes, total, given):
        assert allocate(sizes, total) == given

    def test_what_is_shown_first_is_random_itself(self):
        sample = draw(members(), ReviewSettings(sample=200))
        first = sample.items[:80]
        assert {item.group for item in first} == {"accepted", "rejected", "rubric"}
        assert {item.stratum.split("/")[0] for item in first} == {"en", "zh"}

    def test_items_stay_when_the_population_grows(self):
        settings = ReviewSettings(sample=30, rejected_share=0, rubrics=0)
        before = {item.item for item in draw(members(300), settings).items}
        after = {item.item for item in draw(members(330), settings).items}
        assert len(before & after) >= 24

    def test_the_queue_is_the_riskiest_of_the_rest(self):
        risky = [Member(f"r.{n}", "accepted", "x", 0.9 - n / 100, 0.5) for n in range(9)]
        even = [Member(f"e.{n}", "accepted", "x", 0.5, n / 10) for n in range(3)]
        sample = draw(risky + even, ReviewSettings(sample=1, queue=4))
        drawn = {item.item for item in sample.items}
        order = [n for n in ("e.0", "e.1", "e.2", "r.8", "r.7", "r.6") if n not in drawn]
        assert [item.item for item in sample.queue] == order[:4]

    def test_a_border_belongs_to_the_band_above(self):
        assert [band(q, (0.5, 0.9)) for q in (0.0, 0.49, 0.5, 0.9, 1.0)] == [
            "0-0.5", "0-0.5", "0.5-0.9", "0.9-1", "0.9-1",
        ]  # fmt: skip


def filled(folder: Path, **review) -> Work:
    """A run folder of 12 seeds with an accepted and a rejected trace each, and two rubrics."""
    run = RunFolder(folder)
    seeds = [Seed(id=f"s{n}", question=f"What are tides, {n}?", language="en", domain="sea")
             for n in range(12)]  # fmt: skip
    write_records(run.seeds, seeds)
    sequential = Protocol(execution="sequential")
    write_traces(run.generated, [good_trace(id=f"s{n}.1") for n in range(12)])
    write_traces(run.imported, [good_trace(id=f"s{n}.2", protocol=sequential) for n in range(12)])
    write_records(run.judged, [
        Judgement(id=f"s{n}.{k}", seed=f"s{n}", accepted=k == 1,
                  judged=Judged(quality=0.8 if k == 1 else 0.2, by="m"))
        for n in range(12) for k in (1, 2)
    ] + [Judgement(id="s0.3", seed="s0", unjudged="the server is away")])  # fmt: skip
    needs = (("Moon", "lunar"), ("tides",))
    truth = GroundTruth(key_points=(KeyPoint(text="The Moon causes tides.", needs=needs),))
    write_records(run.rubrics, [
        SeedTruth(seed=s.id, question=s.question, truth=truth, by="claims", traces=(f"{s.id}.1",))
        for s in seeds[:2]
    ])  # fmt: skip
    return Work(run, DatagenSettings(review=ReviewSettings(**review)))


def decide(work: Work, decisions: list[Decision]) -> None:
    with RecordWriter(work.run.review / "decisions.jsonl", Decision) as writer:
        for decision in decisions:
            writer.write(decision)


class TestOnFile:
    def test_strata_come_from_seed_trace_and_score(self, tmp_path: Path):
        work = filled(tmp_path)
        found = {(m.group, m.stratum) for m in population(work.run, (0.5, 0.7))}
        assert found == {
            ("accepted", "en/sea/parallel/0.7-1"),
            ("rejected", "en/sea/sequential/0-0.5"),
            ("rubric", "en/sea"),
        }

    def test_unjudged_traces_are_not_drawn(self, tmp_path: Path):
        sample = current_sample(filled(tmp_path))
        assert "s0.3" not in {item.item for item in sample.items}

    def test_the_sample_stands_until_what_it_is_made_of_changes(self, tmp_path: Path):
        work = filled(tmp_path, sample=4)
        first = current_sample(work)
        stamp = (work.run.review / "sample.json").stat().st_mtime_ns
        assert current_sample(work) == first
        assert (work.run.review / "sample.json").stat().st_mtime_ns == stamp
        write_records(work.run.rubrics, [])
        again = current_sample(work)
        assert again.made_of != first.made_of
        assert {i.item for i in again.items} < {i.item for i in first.items}

    def test_a_spoilt_sample_is_drawn_anew(self, tmp_path: Path):
        work = filled(tmp_path)
        first = current_sample(work)
        (work.run.review / "sample.json").write_text("{")
        assert current_sample(work) == first

    def test_nothing_judged_is_one_line(self, tmp_path: Path):
        with pytest.raises(ConfigurationError, match="run judge first"):
            current_sample(Work(RunFolder(tmp_path), DatagenSettings()))

    def test_what_was_decided_is_kept_for_items_that_stay(self, tmp_path: Path):
        work = filled(tmp_path, sample=12)
        decide(work, [said(i.item, "ann", True) for i in current_sample(work).items])
        assert settle_review(work)["accepted_traces_reviewed"] == 12
        write_records(work.run.judged, [
            Judgement(id=f"s{n}.1", seed=f"s{n}", accepted=True,
                      judged=Judged(quality=0.8, by="m")) for n in range(5)
        ])  # fmt: skip
        assert settle_review(work)["accepted_traces_reviewed"] == 5

    def test_a_word_counts_for_what_was_seen_and_not_for_what_has_its_id(self, tmp_path: Path):
        work = filled(tmp_path, sample=12)
        seen = [i for i in current_sample(work).items if i.group != "rejected"]
        decide(work, [
            said(i.item, "ann", i.item != "s3.1").model_copy(update={"content": i.content})
            for i in seen
        ])  # fmt: skip
        assert settle_review(work)["accepted_traces_reviewed"] == 12
        result = read_result(work.run)
        assert result
        assert result.refused == ("s3.1",)
        assert result.rubrics.decided == 2
        work.run.generated.unlink()
        question = "What moves the sea?"
        write_traces(work.run.generated, [
            good_trace(id=f"s{n}.1", **({"question": question} if n < 4 else {}))
            for n in range(12)
        ])  # fmt: skip
        truth = next(read_records(work.run.rubrics, SeedTruth))
        write_records(work.run.rubrics, [truth.model_copy(update={"question": question})])
        assert settle_review(work)["accepted_traces_reviewed"] == 8
        again = read_result(work.run)
        assert again
        assert (again.refused, again.rubrics.decided) == ((), 0)

    def test_a_line_that_a_killed_reviewer_left_is_moved_aside(self, tmp_path: Path):
        work = filled(tmp_path)
        item = next(i for i in current_sample(work).items if i.group == "accepted")
        decide(work, [said(item.item, "ann", True)])
        path = work.run.review / "decisions.jsonl"
        path.write_bytes(path.read_bytes() + b'{"item": "s3')
        assert len(read_decisions(path)) == 1
        assert settle_review(work)["decided"] == 1


class TestResult:
    def test_the_last_word_of_a_reviewer_counts(self, tmp_path: Path):
        work = filled(tmp_path)
        decide(work, [said("a", "ann", True), said("a", "bob", True), said("a", "ann", False)])
        words = read_decisions(work.run.review / "decisions.jsonl")
        assert {name: word.accept for name, word in words["a"].items()} == {
            "ann": False,
            "bob": True,
        }

    @pytest.mark.parametrize(
        ("words", "verdict_"),
        [([], None), ([True], True), ([True, False], False), ([True, False, True], True)],
    )
    def test_the_majority_decides_and_a_tie_is_no_acceptance(self, words, verdict_):
        assert verdict(said("a", str(n), word) for n, word in enumerate(words)) is verdict_

    def test_the_interval_is_wilsons(self):
        # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) for 9 of 10, z = 1.959964
        found = rate("x", [True] * 9 + [False, None], ReviewSettings())
        assert (found.decided, found.accepted, found.rate) == (10, 9, 0.9)
        assert found.low == pytest.approx(0.59585, abs=1e-5)
        assert found.high == pytest.approx(0.98212, abs=1e-5)

    def test_nothing_decided_has_no_rate(self):
        found = rate("x", [None], ReviewSettings())
        assert (found.rate, found.low, found.high) == (None, None, None)

    def test_kappa_by_hand(self):
        # 20 both yes, 5 only the first, 10 only the second, 15 both no:
        # observed 35/50, by chance 0.5 · 0.6 + 0.5 · 0.4 = 0.5, kappa 0.2 / 0.5
        pairs = [(True, True)] * 20 + [(True, False)] * 5
        pairs += [(False, True)] * 10 + [(False, False)] * 15
        assert cohen_kappa(pairs) == pytest.approx(0.4)

    def test_kappa_of_equal_words_without_variety_is_unknown(self):
        assert cohen_kappa([(True, True)] * 9) is None
        assert cohen_kappa([]) is None

    def test_the_judge_against_people_by_hand(self):
        points = [Point(0.9, True, True)] * 6 + [Point(0.8, True, False)] * 2
        points += [Point(0.3, False, True)] * 1 + [Point(0.2, False, False)] * 3
        found = judge_agreement(points)
        assert found
        assert (found.both_accept, found.judge_only, found.people_only, found.both_reject) == (
            6, 2, 1, 3,
        )  # fmt: skip
        assert found.agreement == pytest.approx(9 / 12)
        # by chance: 8/12 · 7/12 + 4/12 · 5/12 = 76/144
        assert found.kappa == pytest.approx((9 / 12 - 76 / 144) / (1 - 76 / 144))

    def test_the_lowest_threshold_with_the_wanted_precision(self):
        qualities = [(0.9, True), (0.8, True), (0.7, False), (0.6, True), (0.6, True), (0.1, False)]
        points = [Point(q, q >= 0.5, people) for q, people in qualities]
        cut = precise_cut(points, 0.8)
        assert cut
        assert (cut.threshold, cut.precision, cut.recall) == (0.6, 0.8, 1.0)
        stricter = precise_cut(points, 0.9)
        assert stricter
        assert (stricter.threshold, stricter.recall) == (0.8, 0.5)
        assert precise_cut([Point(0.9, True, False)], 0.5) is None
        youden = youden_cut(points)
        assert youden
        assert youden.threshold == 0.6  # J = 1 - 1/2, as at 0.8; the lower one
        assert youden_cut([Point(0.9, True, True)]) is None

    def test_a_trace_counts_for_those_it_stands_for(self):
        # One decided of 90 good ones and one of 10 bad ones: precision is 0.9, not 0.5.
        points = [Point(0.5, True, True, weight=90), Point(0.5, True, False, weight=10)]
        cut = precise_cut(points, 0.9)
        assert cut
        assert cut.precision == pytest.approx(0.9)

    def test_the_queue_and_other_items_enter_no_rate(self):
        settings = ReviewSettings(sample=10, rubrics=0, rejected_share=0)
        sample = draw(members(), settings)
        decisions = [said(item.item, "ann", True) for item in sample.items]
        decisions += [said(item.item, "ann", False) for item in sample.queue]
        decisions += [said("s999.9", "ann", False)]
        words = {each.item: {each.reviewer: each} for each in decisions}
        result = review_result(sample, words, settings, {})
        assert (result.traces.accepted, result.traces.decided) == (10, 10)
        assert result.queue == 20

    def test_the_whole_result_by_hand(self):
        settings = ReviewSettings(sample=10, rubrics=2, rejected_share=0.4, queue=0)
        sample = draw(members(), settings)
        by = {g: [i.item for i in sample.items if i.group == g]
              for g in ("accepted", "rejected", "rubric")}  # fmt: skip
        words: dict[str, dict[str, Decision]] = {}
        for items in by.values():
            for item in items:
                words[item] = {"ann": said(item, "ann", item in by["accepted"])}
        rare = next(i.item for i in sample.items if i.group == "accepted" and i.stratum[:2] == "zh")
        words[rare] = {"ann": said(rare, "ann", False), "bob": said(rare, "bob", True)}
        words[by["rejected"][0]]["bob"] = said(by["rejected"][0], "bob", False)
        result = review_result(sample, words, settings, {})
        assert (result.traces.accepted, result.traces.decided, result.traces.population) == (
            9, 10, 300,
        )  # fmt: skip
        assert result.weighted == pytest.approx(0.9)
        assert (result.rejected.accepted, result.rejected.decided) == (0, 4)
        assert (result.rubrics.accepted, result.rubrics.decided) == (0, 2)
        assert [(r.name, r.accepted, r.decided) for r in result.reviewers] == [
            ("ann", 9, 10),
            ("bob", 1, 1),
        ]
        (pair,) = result.kappas
        assert (pair.one, pair.other, pair.items, pair.agreement) == ("ann", "bob", 2, 0.5)
        assert result.judge
        assert (result.judge.both_accept, result.judge.both_reject) == (9, 4)
        named = {each.name: each.decided for each in result.strata}
        assert named["accepted: zh/law/parallel/0.7-1"] == 1


class TestGate:
    def settled(self, tmp_path: Path, bad: int, **review) -> Work:
        work = filled(tmp_path, **{"sample": 12, "least_decisions": 10, **review})
        items = [i.item for i in current_sample(work).items if i.group == "accepted"]
        decide(work, [said(item, "ann", n >= bad) for n, item in enumerate(items)])
        settle_review(work)
        return work

    def test_good_words_let_the_export_pass(self, tmp_path: Path):
        result = require_gate(self.settled(tmp_path, 0, least_acceptance=0.7))
        assert isinstance(result, ReviewResult)
        assert result.traces.low == pytest.approx(0.7575, abs=1e-3)

    def test_below_the_bound_it_is_refused_with_the_numbers(self, tmp_path: Path):
        work = self.settled(tmp_path, 1, least_acceptance=0.7)
        with pytest.raises(
            ConfigurationError, match=r"11 of 12 .* 0\.646, .*least_acceptance 0\.7"
        ):
            require_gate(work)

    def test_too_few_decisions_are_refused(self, tmp_path: Path):
        work = self.settled(tmp_path, 0, least_decisions=13)
        with pytest.raises(
            ConfigurationError, match=r"12 accepted .* review\.least_decisions is 13"
        ):
            require_gate(work)

    def test_no_review_is_refused_and_off_lets_pass_by_name(self, tmp_path: Path):
        work = filled(tmp_path)
        with pytest.raises(ConfigurationError, match=r"nobody has reviewed .* review\.gate=off"):
            require_gate(work)
        assert require_gate(filled(tmp_path, gate="off")) is None

    def test_a_review_of_other_judgements_is_refused(self, tmp_path: Path):
        work = self.settled(tmp_path, 0, least_acceptance=0.5)
        assert gate_fault(work.run, work.settings.review) is None
        write_records(work.run.judged, [Judgement(id="s0.1", seed="s0", unjudged="x")])
        assert "changed since the review" in str(gate_fault(work.run, work.settings.review))

    def test_a_spoilt_result_is_one_line(self, tmp_path: Path):
        work = self.settled(tmp_path, 0)
        (work.run.review / "result.json").write_text("{}")
        with pytest.raises(ConfigurationError, match=r"result\.json: no review result"):
            require_gate(work)

    def test_off_is_read_as_people_write_it(self, tmp_path: Path):
        path = tmp_path / "datagen.yaml"
        settings = read_settings(path, ("review.gate=off",))
        assert settings.review.gate == "off"
        path.write_text(settings_text(settings))
        assert read_settings(path).review.gate == "off"


def test_a_sample_reads_back_as_it_was():
    sample = draw(members(), ReviewSettings())
    assert Sample.model_validate_json(sample.model_dump_json()) == sample
