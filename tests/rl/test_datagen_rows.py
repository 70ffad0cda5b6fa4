"""Exported rows in training: `rl.sft` and `rl.rl_rows` read them without conversion."""

from __future__ import annotations

import json
import re

import pyarrow.parquet as pq
import pytest
import typer
from omegaconf import OmegaConf
from typer.testing import CliRunner

from datagen.export.dataset import write_dataset
from oresearch_graph.rows.rl import read_questions, rl_rows
from oresearch_graph.rows.sft import read_rows
from oresearch_graph.trace import parse_steps
from oresearch_graph.trace.answer import parse_answer
from rl.rl_rows import main
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rows.fingerprint import dataset_fingerprint
from rl.rows.sft_dataset import TraceSFTDataset, encode_row
from tests.helpers.export_run import BOTH, traced, work_of
from tests.helpers.small_tokenizers import greedy_tokenizer, protocol_tokenizer

KINDS = ("parquet", "jsonl")


@pytest.fixture
async def folder(tmp_path):
    """A data set of both executions, with and without lists of their own in the answers."""
    traces = [
        await traced(f"s{i}.1", execution, local=local)
        for i, (execution, local) in enumerate((e, x) for e in BOTH for x in (False, True))
    ]
    work = work_of(tmp_path, traces, validation=0)
    assert write_dataset(work)["traces"] == 4
    return work.run.dataset


def dataset(path, tokenizer, rows):
    config = OmegaConf.create(
        {
            "oresearch": {"research": {}},
            "data": {
                "pad_mode": "no_padding", "truncation": "error", "max_length": 100_000,
                "train_batch_size": 1, "custom_cls": {"path": None},
                "oresearch": "${oresearch}", "rows": rows,
            },
        }
    )  # fmt: skip
    return TraceSFTDataset([str(path)], tokenizer, config.data)


@pytest.mark.parametrize("tokenizer", [protocol_tokenizer, greedy_tokenizer])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", ["threads", "linear"])
async def test_sft_trains_on_exactly_the_policys_text(folder, rows, kind, tokenizer):
    path = folder / f"sft-{rows}" / f"train.{kind}"
    found = dataset(path, tokenizer(), rows)
    written = list(read_rows(path))
    assert len(found) == len(written) == (10 if rows == "threads" else 4)
    assert found.row_filter.refused == []
    for item, row in zip(found, written, strict=True):
        trained = item["input_ids"][item["loss_mask"].bool()].tolist()
        assert tokenizer().decode(trained) == row.policy_text
        assert row.policy_text


@pytest.mark.parametrize("kind", KINDS)
async def test_every_number_of_a_linear_row_resolves_in_its_observations(folder, kind):
    tokens = ThreadTokens(protocol_tokenizer())
    path = folder / "sft-linear" / f"train.{kind}"
    executions = set()
    for row in read_rows(path):
        executions.add(row.execution)
        text = tokens.decode(encode_row(row, tokens).ids.tolist())
        said = text[text.index("<subtask_list>", text.index("<|im_start|>assistant")) :]
        steps = parse_steps(said, execution=row.execution)
        shown: dict[str, set[str]] = {}
        for step in steps:
            if step.kind == "observation":
                for number, url in re.findall(r"^\[(\d+)\] .*\n(\S+)$", step.text, re.MULTILINE):
                    shown.setdefault(number, set()).add(url)
        assert shown
        assert all(len(urls) == 1 for urls in shown.values())
        answers = [s.text for s in steps if s.kind in {"subtask_answer", "suggested_answer"}]
        cited = {str(mark.number) for answer in answers for mark in parse_answer(answer).marks}
        assert cited == shown.keys()
        for line in [line for answer in answers for line in parse_answer(answer).reference_lines]:
            assert shown[str(line.reference.number)] == {line.reference.url}
    assert executions == set(BOTH)


async def test_the_fingerprints_are_the_trainings(folder):
    for config in ("sft-threads", "sft-linear"):
        found = {kind: dataset_fingerprint(folder / config / f"train.{kind}") for kind in KINDS}
        assert found["parquet"] == found["jsonl"]
        assert set(found["parquet"]) == set(BOTH)


async def test_rl_reads_the_questions_and_makes_the_same_parquet_file(folder, tmp_path):
    questions = read_questions(folder / "rl" / "train.jsonl")
    assert [question.id for question in questions] == ["s0", "s1", "s2", "s3"]
    made = rl_rows(questions, "train")
    assert pq.read_table(folder / "rl" / "train.parquet").to_pylist() == made
    out = tmp_path / "again.parquet"
    app = typer.Typer()
    app.command()(main)
    assert CliRunner().invoke(app, [str(folder / "rl/train.jsonl"), str(out)]).exit_code == 0
    assert pq.read_table(out).schema.equals(pq.read_table(folder / "rl" / "train.parquet").schema)
    assert pq.read_table(out).to_pylist() == made
    spread = [json.loads(x) for x in (folder / "rl-selection/train.jsonl").read_text().splitlines()]
    assert [row["seed"] for row in spread] == [question.id for question in questions]
