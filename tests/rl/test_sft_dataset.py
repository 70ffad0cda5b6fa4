"""The dataset of SFT rows: how verl gets them, and which traces and files are refused."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from omegaconf import OmegaConf
from verl.utils.dataset.dataset_utils import DatasetPadMode, SFTTensorCollator

from oresearch_graph import ResearchSettings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.lengths import window_report
from oresearch_graph.rows.sft import SFTRow, trace_rows
from oresearch_graph.trace import (
    Failure,
    Protocol,
    write_traces,
)
from rl.rows.fingerprint import dataset_fingerprint, read_fingerprint, training_protocol
from rl.rows.fingerprint import write_fingerprint as leave_fingerprint
from rl.rows.sft_dataset import TraceSFTDataset
from tests.helpers.sft_traces import BOTH, SYSTEM, run
from tests.helpers.small_tokenizers import protocol_tokenizer


def config(**data):
    given = {
        "pad_mode": "no_padding",
        "truncation": "error",
        "max_length": 100_000,
        "train_batch_size": 1,
        "custom_cls": {"path": None},
        "oresearch": "${oresearch}",
    }
    return OmegaConf.create({"oresearch": {"research": {}}, "data": {**given, **data}}).data


def dataset(path, tokenizer=None, **data):
    return TraceSFTDataset([str(path)], tokenizer or protocol_tokenizer(), config(**data))


@pytest.mark.filterwarnings("ignore")  # verl's trainer warns of engines that are not installed
async def test_verl_builds_the_dataset_and_batches_it(tmp_path):
    from verl.trainer.sft_trainer import create_sft_dataset

    trace, _ = await run()
    write_traces(tmp_path / "a.jsonl", [trace])
    named = config(custom_cls={"path": "pkg://rl.rows.sft_dataset", "name": "TraceSFTDataset"})
    made = create_sft_dataset([str(tmp_path / "a.jsonl")], named, protocol_tokenizer(), None)
    items = [made[i] for i in range(len(made))]
    assert len(items) == 4
    for item in items:
        assert {value.dtype for value in item.values()} == {torch.int64}
        assert len({value.shape for value in item.values()}) == 1
        assert item["loss_mask"][0] == 0
        assert item["loss_mask"][-1] == 1
        assert item["position_ids"].tolist() == list(range(len(item["input_ids"])))
    batch = SFTTensorCollator(DatasetPadMode.NO_PADDING)(items)
    assert batch["input_ids"].is_nested


async def test_rows_of_a_file_train_as_their_traces_do(tmp_path):
    trace, _ = await run()
    write_traces(tmp_path / "a.jsonl", [trace])
    rows = [row.model_dump() for row in trace_rows(trace, SYSTEM, "threads")]
    pq.write_table(
        pa.Table.from_pylist([row | {"more": 1} for row in rows]), tmp_path / "a.parquet"
    )
    lines = "".join(SFTRow.model_validate(row).model_dump_json() + "\n" for row in rows)
    (tmp_path / "rows.jsonl").write_text(lines, "utf-8")
    expected = dataset(tmp_path / "a.jsonl")
    for name in ("a.parquet", "rows.jsonl"):
        found = dataset(tmp_path / name)
        assert len(found) == len(expected)
        for one, two in zip(found, expected, strict=True):
            assert all(torch.equal(one[key], two[key]) for key in two)
        assert dataset_fingerprint(tmp_path / name) == {"parallel": trace.protocol.fingerprint}
    with pytest.raises(ConfigurationError, match=r"one of threads rows.*data.rows to threads"):
        dataset(tmp_path / "a.parquet", rows="linear")


async def test_rows_of_another_protocol_or_prompt_are_refused(tmp_path):
    trace, _ = await run()
    good = trace_rows(trace, SYSTEM, "threads")[0]
    rows = [
        good,
        good.model_copy(update={"id": "fingerprint", "fingerprint": "0" * 12}),
        good.model_copy(update={"id": "system", "system": SYSTEM + "Be brief."}),
        good.model_copy(update={"id": "nothing", "segments": good.segments[:0]}),
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(row.model_dump_json() + "\n" for row in rows), "utf-8")
    found = dataset(path)
    assert [row.id for row in found.rows] == [good.id]
    assert [refusal.trace for refusal in found.row_filter.refused] == [
        "fingerprint",
        "system",
        "nothing",
    ]
    assert found.row_filter.reasons == {"other_fingerprint": 2, "nothing_to_train": 1}


async def test_longer_rows_are_dropped_whole_and_counted(tmp_path):
    trace, _ = await run()
    write_traces(tmp_path / "a.jsonl", [trace])
    every = dataset(tmp_path / "a.jsonl")
    lengths = sorted(row.tokens for row in every.rows)
    cut = dataset(tmp_path / "a.jsonl", max_length=lengths[-2])
    assert sorted(row.tokens for row in cut.rows) == lengths[:-1]
    window = next(w for w in cut.report.windows if w.size == lengths[-2])
    assert (window.rows, window.traces, window.whole_traces) == (1, 1, 0)
    assert [w.size for w in every.report.windows] == [32_768, 65_536, 100_000, 131_072]
    with pytest.raises(ConfigurationError, match=r"0 rows are left of 1 .*over data.max_length"):
        dataset(tmp_path / "a.jsonl", max_length=10)


def test_a_window_report_counts_rows_traces_and_tokens():
    class Row:
        def __init__(self, trace_id, tokens, policy_tokens):
            self.trace_id, self.tokens, self.policy_tokens = trace_id, tokens, policy_tokens

    rows = [Row("a", 10, 5), Row("a", 100, 20), Row("b", 101, 7)]
    report = window_report(rows, (100, 9, 100))
    assert (report.rows, report.traces, report.tokens, report.policy_tokens) == (3, 2, 211, 32)
    assert report.percentiles == {50: 100, 90: 101, 99: 101}
    small, large = report.windows
    assert (small.rows, small.traces, small.whole_traces, small.policy_tokens) == (3, 2, 2, 32)
    assert (large.rows, large.traces, large.whole_traces, large.policy_tokens) == (1, 1, 1, 7)
    nothing = window_report([])
    assert (nothing.policy_share, nothing.longest, nothing.percentiles) == (None, None, {})
    assert report.table().row_count == 2


async def test_refused_traces_are_counted_by_reason(tmp_path, capsys):
    trace, _ = await run()
    told = trace.protocol
    mended = Failure(name="repaired", fault="policy", message="")
    spoiled = {
        "extended": {"protocol": told.model_copy(update={"extended": True})},
        "other_fingerprint": {"protocol": told.model_copy(update={"dialect": "released"})},
        "changed": {"protocol": told.model_copy(update={"changed_by": ("Mine",)})},
        "extractive": {"models": {"planner": "extractive"}},
        "repaired": {"failures": (mended,)},
        "outcome": {"outcome": "failed"},
        "nothing_to_train": {"steps": ()},
    }
    path = tmp_path / "a.jsonl"
    write_traces(path, [trace.model_copy(update={"id": n, **f}) for n, f in spoiled.items()])
    write_traces(path, [trace])
    found = dataset(path)
    assert len(found) == 4
    assert {r.trace: r.reason for r in found.row_filter.refused} == {name: name for name in spoiled}
    assert "refused 7 of 8" in capsys.readouterr().out
    admitted = dataset(path, allow_extractive=True, allow_repaired=True, outcomes=["failed"])
    reasons = {"outcome": 4, "extended": 1, "other_fingerprint": 1, "changed": 1}
    assert admitted.row_filter.reasons == reasons


async def test_a_constrained_trace_is_refused_unless_an_export_restates_it(tmp_path):
    trace, _ = await run()
    constrained = trace.model_copy(
        update={"protocol": trace.protocol.model_copy(update={"constrained": True})}
    )
    write_traces(tmp_path / "a.jsonl", [constrained, trace])
    (refusal,) = dataset(tmp_path / "a.jsonl").row_filter.refused
    assert refusal.reason == "other_fingerprint"
    assert "constrained True for False" in refusal.message


async def test_traces_of_another_prompt_are_refused_with_both_fingerprints(tmp_path):
    trace, _ = await run(max_subtasks=3)
    write_traces(tmp_path / "a.jsonl", [trace])
    mine = training_protocol(ResearchSettings())
    with pytest.raises(ConfigurationError) as caught:
        dataset(tmp_path / "a.jsonl")
    for part in (trace.protocol.fingerprint, mine.fingerprint, trace.protocol.prompt, mine.prompt):
        assert part in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("or make them anew")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"truncation": "right"}, "data.truncation is right"),
        ({"pad_mode": "right"}, "data.pad_mode is right"),
        ({"rows": "all"}, "data.rows cannot be 'all'"),
        ({"oresearch": None}, "data.oresearch is missing"),
        ({"oresearch": {"research": {"tone": "plain"}}}, "trained without them"),
        ({"train_batch_size": 64}, "fewer than data.train_batch_size 64"),
    ],
)
async def test_what_would_train_wrongly_is_refused_in_one_line(tmp_path, data, message):
    trace, _ = await run()
    write_traces(tmp_path / "a.jsonl", [trace])
    with pytest.raises(ConfigurationError, match=message):
        dataset(tmp_path / "a.jsonl", **data)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"segments": [], "id": "a"}\n', "row 1: column trace_id"),
        ("nonsense\n", "a.jsonl:1: not JSON"),
        (None, "cannot be read"),
    ],
)
def test_a_broken_file_is_named_with_its_row(tmp_path, text, message):
    path = tmp_path / "a.jsonl"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        dataset(path)


async def test_a_dataset_has_one_fingerprint_per_execution(tmp_path):
    traces = [(await run(execution))[0] for execution in BOTH]
    path = tmp_path / "a.jsonl"
    write_traces(path, traces)
    assert dataset_fingerprint(path) == {t.execution: t.protocol.fingerprint for t in traces}
    assert len(dataset(path)) == 5
    write_traces(path, [(await run(max_subtasks=3))[0]])
    with pytest.raises(ConfigurationError, match="parallel rows of two protocols"):
        dataset_fingerprint(path)


def test_a_parquet_file_of_something_else_has_no_fingerprint(tmp_path):
    pq.write_table(pa.table({"prompt": ["q"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigurationError, match="no SFT rows"):
        dataset_fingerprint(tmp_path / "a.parquet")


def test_a_checkpoint_carries_its_protocol(tmp_path):
    protocol = Protocol(execution="sequential", prompt="0123")
    assert read_fingerprint(tmp_path) is None
    leave_fingerprint(tmp_path / "step_8", protocol)
    found = read_fingerprint(tmp_path / "step_8")
    assert found == protocol
    (tmp_path / "oresearch_protocol.json").write_text("{")
    with pytest.raises(ConfigurationError, match="not a protocol"):
        read_fingerprint(tmp_path)
