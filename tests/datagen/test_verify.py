"""`verify` catches a tampered row, also when row hash and manifest were made to fit again."""

from __future__ import annotations

import io
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from datagen.export.columns import CONFIGS
from datagen.export.dataset import write_dataset
from datagen.export.files import NAME, file_record, row_hash
from datagen.export.verify import verify_dataset
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.trace import text_hash
from tests.helpers.export_run import traced, work_of


def verified(folder):
    """Exit status and what was printed."""
    told = io.StringIO()
    status = verify_dataset(folder, Console(file=told, width=200))
    return status, told.getvalue()


@pytest.fixture
async def folder(tmp_path_factory):
    """A fresh copy of one data set."""
    root = tmp_path_factory.getbasetemp() / "verify-once"
    if not (root / "dataset" / NAME).exists():
        first, second = await traced("s1.1"), await traced("s1.2", "sequential", local=True)
        third = first.model_copy(update={"id": "s2.1"})
        work = work_of(root, [first, second, third], {"s1.2": 0.2}, validation=0)
        write_dataset(work)
    return shutil.copytree(root / "dataset", tmp_path_factory.mktemp("copy") / "dataset")


def rows_of(folder, config, split="train"):
    return pq.read_table(folder / config / f"{split}.parquet").to_pylist()


def put(folder, config, rows, *, rehash=True):
    """Write a configuration's Parquet file anew, row hashes made to fit."""
    path = folder / config / "train.parquet"
    hashed = "sha256" in CONFIGS[config].names
    rows = [{**r, "sha256": row_hash(r)} if hashed and rehash else r for r in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema=CONFIGS[config]), path)


def refit(folder):
    """Make the manifest fit what the files are."""
    path = folder / NAME
    manifest = json.loads(path.read_text())
    for record in manifest["files"]:
        found = file_record(folder, folder / record["path"])
        record.update(bytes=found.bytes, sha256=found.sha256)
        if record["path"].endswith(".parquet"):
            record["rows"] = pq.read_metadata(folder / record["path"]).num_rows
    path.write_text(json.dumps(manifest))


def segment(row, holding):
    return next(s for s in row["segments"] if holding in s["text"])


def claim(row):
    return row["citations"][0]


def observation_as_policys(row):
    segment(row, "## Query")["author"] = "policy"


def thought_as_worlds(row):
    segment(row, "more will do")["author"] = "world"


def subtask_as_policys(row):
    segment(row, "<subtask>")["author"] = "policy"


def number_that_nothing_shows(row):
    text = segment(row, "16 metres in the Bay of Fundy [1001]")
    text["text"] = text["text"].replace("[1001]", "[1777]", 1)


def number_of_another_page(row):
    text = segment(row, "orbits the Earth in 27.3 days [1002]")
    text["text"] = text["text"].replace("\n[1002]", "\n[1001]", 1)


def head_of_another_page(row):
    text = segment(row, "[1001] tides")
    text["text"] = text["text"].replace("https://example.org/tides", "https://evil.example/", 1)


def claim_moved(row):
    claim(row)["start"] += 1


def claim_reworded(row):
    claim(row)["text"] = claim(row)["text"].replace("16", "61")


def report_reworded(row):
    text = segment(row, "## Introduction")
    text["text"] = text["text"].replace("16 metres", "61 metres", 1)


def evidence_moved(row):
    claim(row)["evidence"][0]["start"] += 1


def evidence_reworded(row):
    quote = claim(row)["evidence"][0]
    quote["quote"] = quote["quote"].replace("16", "61")


def evidence_of_another_source(row):
    claim(row)["evidence"][0]["source"] = 2003


def evidence_of_no_source(row):
    claim(row)["evidence"][0]["source"] = 9009


def claim_without_sources(row):
    claim(row)["sources"] = []


def source_hash_changed(row):
    row["sources"][0]["sha256"] = text_hash("other")


def source_renumbered(row):
    row["sources"][0]["number"] = 1009


def source_removed(row):
    del row["sources"][0]


def another_prompt(row):
    row["system"] += "\nBe brief."


def another_fingerprint(row):
    row["fingerprint"] = "0" * 12


def another_execution(row):
    row["execution"] = "sequential"


def another_role(row):
    row["role"] = "planner"


def another_seed(row):
    row["seed"] = "s9"


def another_trace(row):
    row["trace_id"] = "s9.1"


def tag_broken(row):
    text = segment(row, "</observation>")
    text["text"] = text["text"].replace("</observation>", "")


def a_world_tag_unescaped(row):
    text = segment(row, "&lt;/observation>")
    text["text"] = text["text"].replace("&lt;/observation>", "</observation>")


LINEAR = [
    observation_as_policys, thought_as_worlds, subtask_as_policys, number_that_nothing_shows,
    number_of_another_page, head_of_another_page, claim_moved, claim_reworded, report_reworded,
    evidence_moved, evidence_reworded, evidence_of_another_source, evidence_of_no_source,
    claim_without_sources, source_hash_changed, source_renumbered, source_removed, another_prompt,
    another_fingerprint, another_execution, another_role, another_seed, another_trace, tag_broken,
    a_world_tag_unescaped,
]  # fmt: skip


async def test_an_untouched_data_set_has_nothing_wrong(folder):
    status, told = verified(folder)
    assert status == 0
    assert "every hash, span, number and author is as it should be" in told


@pytest.mark.parametrize("tamper", LINEAR)
async def test_a_tampered_row_is_named_by_the_proofs_alone(folder, tamper):
    rows = rows_of(folder, "sft-linear")
    before = json.dumps(rows[1])
    tamper(rows[1])
    assert json.dumps(rows[1]) != before
    put(folder, "sft-linear", rows)
    refit(folder)
    status, told = verified(folder)
    assert status == 1
    assert "sft-linear/train.parquet: row 2 (s2.1-run)" in told
    assert "of its hash:" not in told
    assert "sft-linear/train.parquet: row 1" not in told


@pytest.mark.parametrize("tamper", LINEAR)
async def test_manifest_and_row_hash_name_it_too(folder, tamper):
    rows = rows_of(folder, "sft-linear")
    tamper(rows[1])
    put(folder, "sft-linear", rows, rehash=False)
    _, told = verified(folder)
    assert "sft-linear/train.parquet: its hash is" in told
    assert "row 2 (s2.1-run): its columns are not those of its hash" in told


def message_reworded(row):
    row["messages"][-1]["content"] += "!"


def call_reworded(row):
    found = next(m for m in row["messages"] if m["tool_calls"])
    found["tool_calls"][0]["function"]["arguments"] = "{}"


def turn_swapped(row):
    row["conversations"][0]["from"] = "gpt"


def margin_raised(row):
    row["margin"] = 0.9


def sides_alike(row):
    row["rejected"], row["rejected_segments"] = row["chosen"], row["chosen_segments"]


def rejected_author(row):
    next(s for s in row["rejected_segments"] if "Query" in s["text"])["author"] = "policy"


def truth_changed(row):
    row["reward_model"]["ground_truth"] = '{"key_points": [{"text": "Nothing."}]}'


def question_changed(row):
    row["prompt"][0]["content"] = "What else?"


def selection_of_another_question(row):
    row["question_sha256"] = text_hash("other")


def source_text_changed(row):
    row["sources"][0]["text"] += " More."


def source_text_and_hash_changed(row):
    source = row["sources"][0]
    source["text"] = source["text"].replace("Moon", "Sun")
    source["sha256"] = text_hash(source["text"])


def number_in_a_thread(row):
    for part in row["segments"]:
        part["text"] = part["text"].replace("Fundy [1001]", "Fundy [1999]")


def judged_by_none(row):
    row["mean"] = 1.5


OTHERS = [
    ("messages", message_reworded), ("messages", call_reworded), ("sharegpt", turn_swapped),
    ("preference", margin_raised), ("preference", sides_alike), ("preference", rejected_author),
    ("rl", truth_changed), ("rl", question_changed), ("rl-selection", judged_by_none),
    ("rl-selection", selection_of_another_question), ("sources", source_text_changed),
    ("sources", source_text_and_hash_changed),
]  # fmt: skip


@pytest.mark.parametrize(("config", "tamper"), OTHERS)
async def test_other_configurations_are_proved_too(folder, config, tamper):
    rows = rows_of(folder, config)
    before = json.dumps(rows[0])
    tamper(rows[0])
    assert json.dumps(rows[0]) != before
    put(folder, config, rows)
    refit(folder)
    status, told = verified(folder)
    assert status == 1
    named = "sft-linear" if tamper is source_text_and_hash_changed else config
    assert f"{named}/train." in told


async def test_a_threads_number_must_resolve(folder):
    rows = rows_of(folder, "sft-threads")
    number_in_a_thread(rows[1])
    put(folder, "sft-threads", rows)
    refit(folder)
    assert "row 2 (s1.1-1): [1999] resolves to no source of the row" in verified(folder)[1]


async def test_a_seed_in_two_splits_is_named(folder):
    rows = rows_of(folder, "sft-threads")
    put(folder, "sft-threads", rows)
    manifest = json.loads((folder / NAME).read_text())
    record = next(r for r in manifest["files"] if r["path"] == "sft-threads/train.parquet")
    record["split"] = "validation"
    (folder / NAME).write_text(json.dumps(manifest))
    refit(folder)
    assert "its seed s1 stands in train and in validation" in verified(folder)[1]


async def test_a_row_that_stands_twice_or_is_gone_is_told(folder):
    rows = rows_of(folder, "sft-threads")
    put(folder, "sft-threads", [*rows, rows[0]])
    refit(folder)
    assert "its id stands here twice" in verified(folder)[1]
    put(folder, "sft-threads", rows[:-1])
    assert "rows, the manifest says" in verified(folder)[1]


async def test_missing_strange_and_broken_files_are_told(folder):
    (folder / "sharegpt" / "train.parquet").unlink()
    (folder / "more.txt").write_text("?")
    (folder / "messages" / "train.jsonl").write_text('{"id": "s1.1"}\n{"id": ')
    (folder / "preference" / "train.parquet").write_bytes(b"PAR1 and no more")
    status, told = verified(folder)
    assert status == 1
    for line in (
        "sharegpt/train.parquet: the file is missing",
        "more.txt: the manifest does not have this file",
        "messages/train.jsonl: row 2 cannot be read",
        "messages/train.jsonl: row 1 (s1.1): it is no row of messages: KeyError: 'sha256'",
        "preference/train.parquet: row 1 cannot be read",
    ):
        assert line in told


async def test_json_lines_are_proved_like_parquet(folder):
    path = folder / "sft-linear" / "train.jsonl"
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    claim_moved(rows[0])
    rows[0]["sha256"] = row_hash(rows[0])
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    refit(folder)
    assert "sft-linear/train.jsonl: row 1 (s1.1-run): the claim at" in verified(folder)[1]


async def test_a_manifest_that_points_outside_is_refused(folder):
    manifest = json.loads((folder / NAME).read_text())
    manifest["files"][0]["path"] = "../../outside"
    (folder / NAME).write_text(json.dumps(manifest))
    with pytest.raises(ConfigurationError, match="outside the folder"):
        verified(folder)


def test_a_folder_that_is_no_data_set_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigurationError, match=r"no manifest\.json"):
        verified(tmp_path)
    (tmp_path / NAME).write_text("{}")
    with pytest.raises(ConfigurationError, match=r"manifest\.json: settings"):
        verified(tmp_path)
