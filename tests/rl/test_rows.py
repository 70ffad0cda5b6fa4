"""RL rows: questions with key points or rubrics, as verl's dataset reads them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from typer.testing import CliRunner

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.rows.ground_truth import GroundTruth, KeyPoint
from oresearch_graph.rows.rl import RLQuestion, read_questions, rl_rows, write_rl_rows
from rl.rl_rows import main, read_bench
from tests.helpers.small_tokenizers import protocol_tokenizer

BENCH = Path(__file__).parents[3] / "shared" / "data" / "deep_research_bench"
POINTED = RLQuestion(
    id="q1",
    question="What causes tides?",
    key_points=(KeyPoint(text="The Moon does.", needs=(("Moon", "lunar"),), weight=2),),
    domain="science",
    language="en",
)
RATED = RLQuestion.model_validate(
    {
        "id": "q2",
        "question": "潮汐是由什么引起的？",
        "rubric": [{"criterion": "Names the Sun", "weight": 0.5, "explanation": "Spring tides."}],
        "search_instead": "volcanoes",
    }
)


@pytest.fixture
def app():
    made = typer.Typer()
    made.command()(main)
    return made


def lines(path, *questions):
    path.write_text("".join(q.model_dump_json() + "\n" for q in questions), "utf-8")
    return path


def test_verls_dataset_reads_the_rows(tmp_path, monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # verl's import warns of what is not installed
        from verl.utils.dataset.rl_dataset import RLHFDataset

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    path = tmp_path / "train.parquet"
    write_rl_rows(path, [POINTED, RATED])
    config = OmegaConf.create(
        {"max_prompt_length": 200, "return_raw_chat": True, "filter_overlong_prompts_workers": 1,
         "cache_dir": str(tmp_path)}
    )  # fmt: skip
    found = RLHFDataset([str(path)], protocol_tokenizer(), config)
    assert len(found) == 2
    for item, question in zip((found[0], found[1]), (POINTED, RATED), strict=True):
        assert item["raw_prompt"] == [{"role": "user", "content": question.question}]
        redirected = question.search_instead is not None
        assert item["data_source"] == ("shuffled_observations" if redirected else "oresearch")
        assert item["reward_model"]["style"] == "oresearch"
        truth = GroundTruth.from_json(item["reward_model"]["ground_truth"])
        assert truth == question.ground_truth
        assert truth.judgeable
        told = item["extra_info"]
        assert (told["split"], told["id"], told["question"]) == (
            "train", question.id, question.question,
        )  # fmt: skip
        assert told["search_instead"] == question.search_instead
    assert [found[i]["index"] for i in range(2)] == [0, 1]
    assert found[0]["ability"] == "science"


def test_a_rubrics_lines_become_criteria():
    (criterion,) = RATED.ground_truth.criteria
    assert (criterion.text, criterion.description, criterion.weight) == (
        "Names the Sun", "Spring tides.", 0.5,
    )  # fmt: skip
    assert POINTED.ground_truth.rubric is None
    assert POINTED.ground_truth.key_points == POINTED.key_points


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1))
def test_any_question_comes_back_from_its_row(question, point):
    asked = RLQuestion(id="a", question=question, key_points=(KeyPoint(text=point),))
    (row,) = rl_rows([asked], "test")
    assert row["prompt"][0]["content"] == question
    truth = GroundTruth.from_json(row["reward_model"]["ground_truth"])
    assert truth.key_points[0].text == point


def test_the_command_writes_a_parquet_file(tmp_path, app):
    source = lines(tmp_path / "q.jsonl", POINTED, RATED)
    out = tmp_path / "rl" / "val.parquet"
    result = CliRunner().invoke(app, [str(source), str(out), "--split", "val"])
    assert result.exit_code == 0
    assert "2 rows, 1 with key points, 1 with a rubric" in result.output
    rows = pq.read_table(out).to_pylist()
    assert [row["extra_info"]["split"] for row in rows] == ["val", "val"]
    assert not out.with_name("val.parquet.part").exists()


GOOD = {"id": "a", "question": "q", "key_points": [{"text": "t"}]}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("{", "q.jsonl:2: Invalid JSON"),
        ({"id": "b", "question": "q"}, "q.jsonl:2: Value error, no key_points and no rubric"),
        ({**GOOD, "id": "b", "keypoints": []}, "q.jsonl:2: unknown field keypoints; a question"),
        ({**GOOD, "id": "b", "question": " "}, "q.jsonl:2: question: String should match"),
        ({**GOOD, "id": "b", "key_points": [{"text": ""}]}, "q.jsonl:2: key_points.0.text"),
        ({**GOOD, "id": "b", "rubric": [{"criterion": "c", "weight": 0}]}, "rubric.0.weight"),
        (GOOD, "q.jsonl:2: the id 'a' is that of line 1"),
    ],
)
def test_a_broken_line_is_named_in_one_line(tmp_path, app, second, message):
    path = tmp_path / "q.jsonl"
    text = second if isinstance(second, str) else json.dumps(second)
    path.write_text(f"{json.dumps(GOOD)}\n{text}\n")
    with pytest.raises(ConfigurationError) as caught:
        read_questions(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    result = CliRunner().invoke(app, [str(path), str(tmp_path / "out.parquet")])
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out.parquet").exists()


def test_files_without_questions_or_that_are_not_there_are_refused(tmp_path):
    (tmp_path / "empty.jsonl").write_text("\n")
    for name, message in (("empty.jsonl", "no question in it"), ("none.jsonl", "cannot be read")):
        with pytest.raises(ConfigurationError, match=message):
            read_questions(tmp_path / name)


def bench_lines(folder, prompt="q", **criteria):
    query = {"id": 1, "topic": "Science", "language": "en", "prompt": "q", "more": 1}
    judged = {
        "id": 1,
        "prompt": prompt,
        "dimension_weight": {"insight": 0.75, "readability": 0.25},
        "criterions": {
            "insight": [{"criterion": "deep", "explanation": "e", "weight": 0.4}],
            "readability": [{"criterion": "clear", "weight": 1.0, "comment": "x"},
                            {"criterion": "none", "weight": 0.0}],
        },
    } | criteria  # fmt: skip
    (folder / "query.jsonl").write_text(json.dumps(query))
    (folder / "criteria.jsonl").write_text(json.dumps(judged))
    return folder / "query.jsonl", folder / "criteria.jsonl"


def test_a_benchs_weights_are_the_dimensions_times_the_criterions(tmp_path):
    (question,) = read_bench(*bench_lines(tmp_path))
    assert question.rubric is not None
    assert [(line.criterion, line.weight) for line in question.rubric] == [
        ("deep", pytest.approx(0.3)), ("clear", 0.25),
    ]  # fmt: skip
    assert (question.id, question.domain, question.language) == ("1", "Science", "en")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"prompt": "another"}, "not the question of its criteria"),
        ({"id": 2}, "no criteria"),
        ({"criterions": 3}, "criteria.jsonl:1: not a line of DeepResearch Bench: criterions"),
    ],
)
def test_bench_files_that_do_not_fit_are_refused(tmp_path, changed, message):
    with pytest.raises(ConfigurationError, match=message):
        read_bench(*bench_lines(tmp_path, **changed))


@pytest.mark.skipif(not BENCH.is_dir(), reason="DeepResearch Bench is not beside the checkout")
def test_the_bench_itself_becomes_a_hundred_rows(tmp_path, app):
    result = CliRunner().invoke(
        app,
        [str(BENCH / "query.jsonl"), str(tmp_path / "o.parquet"),
         "--criteria", str(BENCH / "criteria.jsonl")],
    )  # fmt: skip
    assert "100 rows, 0 with key points, 100 with a rubric" in result.output
    for row in pq.read_table(tmp_path / "o.parquet").to_pylist():
        truth = GroundTruth.from_json(row["reward_model"]["ground_truth"])
        assert sum(c.weight for c in truth.criteria) == pytest.approx(1.0, abs=0.02)
