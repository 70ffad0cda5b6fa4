"""The export: a data set that opens, holds what was chosen, and is whole or not there."""

from __future__ import annotations

import errno
import json
import os
import statistics

import pyarrow.parquet as pq
import pytest

from datagen.export.candidates import JudgedCandidate, pairs_of, split_of
from datagen.export.dataset import building, write_dataset
from datagen.export.files import Table
from datagen.export.verify import verify_dataset
from datagen.run.record_files import write_records
from datagen.run.stamps import write_stamp
from datagen.settings import DatagenSettings, ExportSettings
from datagen.stages import export
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import Failure, text_hash
from tests.helpers.export_run import traced, work_of


def lines(work, config, split="train"):
    path = work.run.dataset / config / f"{split}.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


async def two_seeds(root, **export):
    traces = [
        await traced("s1.1"),
        await traced("s1.2", "sequential"),
        await traced("s2.1", local=True),
        await traced("s2.2", "sequential", local=True),
    ]
    qualities = {"s1.1": 0.9, "s1.2": 0.5, "s2.1": 0.3, "s2.2": 0.85}
    return work_of(root, traces, qualities, **{"validation": 0, **export})


async def test_what_people_rejected_is_in_no_row(tmp_path):
    work = await two_seeds(tmp_path)
    counts = write_dataset(work, ("s1.1", "rubric:s2"))
    assert (counts["traces"], counts["refused_rejected_by_people"]) == (1, 1)
    assert {row["seed"] for row in lines(work, "sft-linear")} == {"s2"}
    assert {row["seed"] for row in lines(work, "preference")} == {"s2"}
    assert {row["id"] for row in lines(work, "rl")} == {"s1"}
    assert "rejected_by_people" in (work.run.dataset / "README.md").read_text("utf-8")


async def test_what_is_chosen_becomes_rows_of_every_kind(tmp_path):
    work = await two_seeds(tmp_path)
    counts = write_dataset(work)
    assert counts == {
        "traces": 2, "messages_rows": 2, "preference_rows": 2, "rl_rows": 2,
        "rl-selection_rows": 2, "sft-linear_rows": 2, "sft-threads_rows": 5, "sharegpt_rows": 2,
        "sources_rows": 2, "refused": 0,
    }  # fmt: skip
    for config in ("sft-threads", "sft-linear", "messages", "sharegpt", "preference"):
        table = pq.read_table(work.run.dataset / config / "train.parquet").to_pylist()
        assert table == lines(work, config)
    assert [row["trace_id"] for row in lines(work, "sft-linear")] == ["s1.1", "s2.2"]
    assert verify_dataset(work.run.dataset, work.console) == 0


async def test_datasets_opens_every_configuration(tmp_path):
    import datasets

    work = await two_seeds(tmp_path / "run", validation=0.5)
    write_dataset(work)
    cache = str(tmp_path / "cache")
    names = datasets.get_dataset_config_names(str(work.run.dataset))
    assert len(names) == 8
    splits = {split_of(seed, work.settings.export) for seed in ("s1", "s2")}
    for name in names:
        found = datasets.load_dataset(str(work.run.dataset), name, cache_dir=cache)
        assert set(found) <= splits
        assert sum(part.num_rows for part in found.values()) >= 2
    threads = datasets.load_dataset(str(work.run.dataset), cache_dir=cache)
    assert {row["seed"] for part in threads.values() for row in part} == {"s1", "s2"}


async def test_the_same_run_gives_the_same_bytes(tmp_path):
    work = await two_seeds(tmp_path)
    write_dataset(work)
    first = contents(work.run.dataset)
    write_dataset(work)
    assert contents(work.run.dataset) == first


async def test_one_format_opens_too(tmp_path):
    work = await two_seeds(tmp_path, formats=["jsonl"])
    write_dataset(work)
    assert not (work.run.dataset / "sft-threads" / "train.parquet").exists()
    assert "sft-threads/train.jsonl" in (work.run.dataset / "README.md").read_text()
    assert verify_dataset(work.run.dataset, work.console) == 0


async def test_pairs_are_of_one_seed_and_apart_by_the_margin(tmp_path):
    work = await two_seeds(tmp_path, margin=0.5)
    write_dataset(work)
    (row,) = lines(work, "preference")
    assert (row["chosen_id"], row["rejected_id"], row["margin"]) == ("s2.2", "s2.1", 0.55)
    assert row["chosen"][0]["content"].startswith("<subtask_list>")


async def test_planners_of_two_parallel_runs_make_a_pair_of_their_own(tmp_path):
    other = await traced("s1.2")
    steps = (other.steps[0].model_copy(update={"text": "\n1. Tides?\n2. Range?\n"}),)
    other = other.model_copy(update={"steps": (*steps, *other.steps[1:])})
    work = work_of(tmp_path, [await traced("s1.1"), other], {"s1.1": 0.9, "s1.2": 0.2})
    write_dataset(work)
    split = split_of("s1", work.settings.export)
    run, plan = lines(work, "preference", split)
    assert (run["thread"], plan["thread"]) == ("run", "plan")
    assert "</subtask_list>" in plan["rejected"][0]["content"]
    assert "<subtask>" not in plan["rejected"][0]["content"]


def test_the_widest_pairs_come_first_and_unjudged_ones_never():
    judged = [
        JudgedCandidate("a.1", 0.9, accepted=True, chosen=True),
        JudgedCandidate("a.2", 0.5, accepted=True, chosen=False),
        JudgedCandidate("a.3", 0.1, accepted=False, chosen=False),
        JudgedCandidate("a.4", None, accepted=False, chosen=False),
        JudgedCandidate("a.5", 0.85, accepted=True, chosen=False),
    ]
    found = pairs_of(judged, ExportSettings(pairs=5))
    assert [(pair.rejected, pair.margin) for pair in found] == [("a.3", 0.8), ("a.2", 0.4)]
    assert len(pairs_of(judged, ExportSettings(pairs=1))) == 1


async def test_rl_rows_have_their_spread_beside_them(tmp_path):
    work = await two_seeds(tmp_path)
    write_dataset(work)
    question, _ = lines(work, "rl")
    assert question["rubric"] == [
        {"criterion": "Names the Sun", "weight": 1.0, "explanation": "Spring tides."}
    ]
    spread, _ = lines(work, "rl-selection")
    assert (spread["candidates"], spread["accepted"], spread["mean"]) == (2, 2, 0.7)
    assert spread["variance"] == pytest.approx(statistics.pvariance([0.9, 0.5]))


@pytest.mark.parametrize("name", ["repaired", "recovered"])
async def test_model_free_and_repaired_traces_are_left_out_unless_named(tmp_path, name):
    copied = await traced("s1.1", models={"planner": "extractive"})
    repaired = await traced("s2.1")
    failure = Failure(name=name, fault="policy", message="m", rejected="r")
    repaired = repaired.model_copy(update={"failures": (failure,)})
    traces = [copied, repaired, await traced("s3.1")]
    counts = write_dataset(work_of(tmp_path / "a", traces))
    assert (counts["traces"], counts["refused_extractive"], counts["refused_repaired"]) == (1, 1, 1)
    allowing = work_of(tmp_path / "b", traces, allow_extractive=True, allow_repaired=True)
    assert write_dataset(allowing)["traces"] == 3
    assert "without a language model" in " ".join(
        (allowing.run.dataset / "README.md").read_text().split()
    )


async def test_a_trace_that_middleware_changed_is_left_out_with_its_reason(tmp_path):
    trace = await traced("s1.1")
    protocol = trace.protocol.model_copy(update={"changed_by": ("PIIMiddleware[email]",)})
    changed = trace.model_copy(update={"protocol": protocol})
    work = work_of(
        tmp_path, [changed, await traced("s2.1")], allow_extractive=True, allow_repaired=True
    )
    counts = write_dataset(work)
    assert (counts["traces"], counts["refused_changed"]) == (1, 1)


async def test_nothing_but_refused_traces_is_one_clear_line(tmp_path):
    work = work_of(tmp_path, [await traced("s1.1", models={"planner": "extractive"})])
    with pytest.raises(ConfigurationError, match=r"1 extractive .*export\.allow_extractive"):
        write_dataset(work)
    assert not work.run.dataset.exists()


async def test_another_prompt_is_restated_another_language_refused(tmp_path):
    trace = await traced("s1.1")
    told = trace.protocol
    asked = trace.model_copy(
        update={"protocol": told.model_copy(update={"prompt": "0" * 16, "extended": True})}
    )
    released = trace.model_copy(
        update={"id": "s2.1", "protocol": told.model_copy(update={"dialect": "released"})}
    )
    tools = trace.model_copy(
        update={"id": "s3.1", "protocol": told.model_copy(update={"tools": ("calc",)})}
    )
    work = work_of(tmp_path, [asked, released, tools], validation=0)
    counts = write_dataset(work)
    assert (counts["refused_other_dialect"], counts["refused_other_tools"]) == (1, 1)
    assert {row["fingerprint"] for row in lines(work, "sft-threads")} == {told.fingerprint}
    assert text_hash(lines(work, "sft-threads")[0]["system"])[:16] == told.prompt
    assert "1 traces were made under another prompt" in (work.run.dataset / "README.md").read_text()


async def test_prompt_additions_are_refused_before_anything(tmp_path):
    work = work_of(tmp_path, [await traced("s1.1")])
    research = work.settings.research.model_copy(update={"tone": "dry"})
    settings = work.settings.model_copy(update={"research": research})
    with pytest.raises(ConfigurationError, match="plain training prompt"):
        write_dataset(type(work)(work.run, settings, work.console))


async def test_a_quote_that_is_not_there_keeps_its_trace_out(tmp_path):
    trace = await traced("s1.1")
    source = trace.sources[0]
    wrong = source.model_copy(update={"text": source.text + " ", "sha256": source.sha256})
    trace = trace.model_copy(update={"sources": (wrong, *trace.sources[1:])})
    counts = write_dataset(work_of(tmp_path, [trace, await traced("s2.1")]))
    assert (counts["traces"], counts["refused_wrong_span"]) == (1, 1)


async def test_nothing_chosen_is_one_clear_line(tmp_path):
    work = work_of(tmp_path, [await traced("s1.1")])
    write_records(work.run.judged, [])
    with pytest.raises(ConfigurationError, match=r"judged\.jsonl: no candidate is chosen"):
        write_dataset(work)


async def test_a_full_disk_leaves_the_old_data_set(tmp_path, monkeypatch):
    work = await two_seeds(tmp_path)
    write_dataset(work)
    before = contents(work.run.dataset)

    def full(self, row, line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Table, "write", full)
    with pytest.raises(ConfigurationError, match="No space left on device; what was there is kept"):
        write_dataset(work)
    assert contents(work.run.dataset) == before
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith("dataset")) == ["dataset"]


def test_a_kill_between_the_renames_is_mended(tmp_path):
    old, folder = tmp_path / "d.old", tmp_path / "d"
    old.mkdir()
    (old / "a").write_text("old")
    (tmp_path / "d.part").mkdir()

    def fails():
        with building(folder) as part:
            (part / "b").write_text("half")
            raise OSError(errno.EIO, "broken")

    with pytest.raises(ConfigurationError, match="broken"):
        fails()
    assert [p.name for p in tmp_path.iterdir()] == ["d"]
    assert (folder / "a").read_text() == "old"


def test_splits_follow_the_seed_alone():
    settings = ExportSettings(validation=0.2, test=0.1)
    drawn = [split_of(f"s{i}", settings) for i in range(2_000)]
    assert 320 < drawn.count("validation") < 480
    assert 140 < drawn.count("test") < 260
    assert drawn == [split_of(f"s{i}", settings) for i in range(2_000)]
    assert drawn != [split_of(f"s{i}", ExportSettings(split_seed=1)) for i in range(2_000)]


async def test_no_seed_stands_in_two_splits(tmp_path):
    first = await traced("s0.1")
    traces = [first.model_copy(update={"id": f"s{i}.1"}) for i in range(12)]
    work = work_of(tmp_path, traces, validation=0.4, test=0.3)
    write_dataset(work)
    held = {
        split: {row["seed"] for row in lines(work, "sft-threads", split)}
        for split in ("train", "validation", "test")
    }
    assert sum(map(len, held.values())) == len(set.union(*held.values())) == 12
    assert verify_dataset(work.run.dataset, work.console) == 0


@pytest.mark.parametrize("export", [{"scrub": True}, {"page_text": "hash"},
                                    {"scrub": True, "page_text": "hash"}])  # fmt: skip
async def test_scrubbed_and_withheld_data_sets_prove_themselves(tmp_path, export):
    work = await two_seeds(tmp_path, **export)
    assert write_dataset(work)["refused"] == 0
    assert verify_dataset(work.run.dataset, work.console) == 0
    card = (work.run.dataset / "README.md").read_text()
    if export.get("scrub"):
        assert "moon@example.org" not in (work.run.dataset / "sft-linear/train.jsonl").read_text()
        assert "× e-mail address" in card
    if "page_text" in export:
        assert "Write to" not in (work.run.dataset / "sft-threads/train.jsonl").read_text()


async def test_the_card_tells_the_funnel_the_rights_and_the_lengths(tmp_path):
    work = await two_seeds(tmp_path)
    write_stamp(work.run, "filter", "f", {}, {"passed": 3, "with_findings": 1})
    write_dataset(work)
    card = (work.run.dataset / "README.md").read_text()
    assert "| filter | 3 passed, 1 with findings |" in card
    assert "| CC0-1.0 | 2 |" in card
    assert "| scripted | 2 |" in card
    assert "over 128k" in card
    assert "- example.org: 2" in card
    assert "licences of the pages that observations quote are unknown" in card


def test_settings_that_leave_nothing_to_train_on_are_refused():
    with pytest.raises(ValueError, match="no seed for training"):
        DatagenSettings.model_validate({"export": {"validation": 0.6, "test": 0.5}})


async def test_the_stage_asks_the_gate_first(tmp_path):
    work = work_of(tmp_path, [await traced("s1.1")])
    with pytest.raises(ConfigurationError, match="nobody has reviewed"):
        export(work)
    assert not work.run.dataset.exists()
    review = work.settings.review.model_copy(update={"gate": "off"})
    settings = work.settings.model_copy(update={"review": review})
    assert export(type(work)(work.run, settings, work.console))["traces"] == 1
