"""Files of rows: one reader for both formats, columns from the row's own fields."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.files import arrow_columns, row_values
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric
from oresearch_graph.rows.lengths import LengthSummary, nearest_rank
from oresearch_graph.rows.rl import RLQuestion, read_questions, rl_question, rl_rows, rl_schema
from oresearch_graph.rows.sft import Segment, SFTRow, read_rows, row_fingerprints

ROW = SFTRow(
    id="t-run", trace_id="t", thread="run", question="Why?", system="s", fingerprint="f",
    execution="sequential", segments=(Segment(author="world", text="w"),
                                      Segment(author="policy", text="潮汐\u2028")),
)  # fmt: skip
TRUTH = GroundTruth(
    key_points=(KeyPoint(text="The Moon does.", needs=(("Moon", "lunar"),)),),
    rubric=Rubric(criteria=(Criterion(text="Names the Sun"),)),
)


def test_the_columns_of_rows_are_these():
    text = pa.string()
    segments = pa.list_(pa.struct({"author": text, "text": text}))
    names = ("id", "trace_id", "thread", "role")
    assert pa.schema(dict(arrow_columns(SFTRow))) == pa.schema(
        {
            **dict.fromkeys(names, text), "branch": pa.int64(),
            **dict.fromkeys(("question", "system", "fingerprint", "execution"), text),
            "segments": segments,
        }
    )  # fmt: skip
    extra = dict.fromkeys(("id", "question", "language", "search_instead"), text)
    assert rl_schema() == pa.schema(
        {
            "data_source": text,
            "prompt": pa.list_(pa.struct({"role": text, "content": text})),
            "ability": text,
            "reward_model": pa.struct({"style": text, "ground_truth": text}),
            "extra_info": pa.struct({"index": pa.int64(), "split": text, **extra}),
        }
    )


def test_a_row_comes_back_from_both_formats(tmp_path):
    lines, table = tmp_path / "a.jsonl", tmp_path / "a.parquet"
    lines.write_text(f"\n{ROW.model_dump_json()}\n", "utf-8")
    schema = pa.schema(dict(arrow_columns(SFTRow)))
    pq.write_table(pa.Table.from_pylist([ROW.model_dump(mode="json")], schema=schema), table)
    assert list(read_rows(lines)) == list(read_rows(table)) == [ROW]
    for path in (lines, table):
        assert list(row_fingerprints(path)) == [("sequential", "f")]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet"])
def test_a_file_that_cannot_be_read_is_one_line(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(ConfigurationError, match="cannot be read"):
        list(row_values(path))
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(ConfigurationError, match=r"cannot be read|:1: not JSON") as caught:
        list(row_values(path))
    assert "\n" not in str(caught.value)


def test_a_question_comes_back_from_its_line(tmp_path):
    full = rl_question("q1", "What causes tides?", TRUTH, domain="science", language="en")
    bare = RLQuestion(id="q2", question="潮汐?", key_points=TRUTH.key_points)
    path = tmp_path / "q.jsonl"
    path.write_text(f"{full.line}\n{bare.line}\n", "utf-8")
    assert read_questions(path) == [full, bare]
    assert full.ground_truth == TRUTH
    assert full.line == (
        '{"domain":"science","id":"q1","key_points":[{"needs":[["Moon","lunar"]],"source":null,'
        '"text":"The Moon does.","weight":1.0}],"language":"en","question":"What causes tides?",'
        '"rubric":[{"criterion":"Names the Sun","explanation":null,"weight":1.0}]}'
    )
    assert "rubric" not in bare.line
    assert rl_rows([full], "test")[0]["extra_info"]["split"] == "test"


@given(st.lists(st.integers(0, 50), min_size=1), st.integers(1, 100))
def test_the_nearest_rank_is_the_least_value_that_enough_do_not_exceed(values, percent):
    rank = nearest_rank(values, percent)
    assert rank in values
    assert 100 * sum(value <= rank for value in values) >= percent * len(values)
    assert 100 * sum(value < rank for value in values) < percent * len(values)


def test_lengths_of_no_rows_are_none():
    summary = LengthSummary.of([])
    assert (summary.rows, summary.tokens, summary.longest) == (0, 0, None)
    assert summary.percentiles == {}
    assert LengthSummary.of([3, 1, 2], (1, 2)).over == {1: 2, 2: 1}
