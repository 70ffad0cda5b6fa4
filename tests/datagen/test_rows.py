"""Files from elsewhere, row by row: the forms, and what is said of a broken one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datagen.run.rows import files_behind, read_rows
from oresearch_graph.errors import ConfigurationError

ROWS = [
    {"question": "Why is the sky blue?", "id": "a"},
    {"question": "为什么天空是蓝色的？", "id": "b"},
]


def values(name: Path | str, **more: Any) -> list[dict[str, Any]]:
    return [row.values for row in read_rows(str(name), **more)]


def jsonl(path: Path) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in ROWS), "utf-8")
    return path


def test_json_lines(tmp_path: Path):
    file = jsonl(tmp_path / "a.jsonl")
    assert values(file) == ROWS
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert values(file) == ROWS, "a byte order mark"


def test_csv_and_tsv(tmp_path: Path):
    (tmp_path / "a.csv").write_text('question,id\n"Why, and\nhow?",a\nHow?,\n', "utf-8-sig")
    (tmp_path / "a.tsv").write_text("question\tid\nHow, now?\tx\n", "utf-8")
    assert values(tmp_path / "a.csv") == [
        {"question": "Why, and\nhow?", "id": "a"}, {"question": "How?", "id": None}
    ]  # fmt: skip
    assert [row.place.rpartition(":")[2] for row in read_rows(str(tmp_path / "a.csv"))] == [
        "2", "4",
    ]  # fmt: skip
    assert values(tmp_path / "a.tsv") == [{"question": "How, now?", "id": "x"}]


def test_parquet(tmp_path: Path):
    file = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file)
    assert values(file) == ROWS
    assert [row.place for row in read_rows(str(file))] == [f"{file}:1", f"{file}:2"]


def test_data_sets_of_the_datasets_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    whole = datasets.Dataset.from_list(ROWS)
    whole.save_to_disk(str(tmp_path / "saved"))
    datasets.DatasetDict(train=whole, test=whole.select([0])).save_to_disk(str(tmp_path / "split"))
    assert values(tmp_path / "saved") == ROWS
    assert values(tmp_path / "split") == ROWS
    assert values(tmp_path / "split", split="test") == ROWS[:1]
    with pytest.raises(
        ConfigurationError, match=r"no split 'dev' but train, test; set seeds\.split"
    ):
        values(tmp_path / "split", split="dev")


BROKEN = [
    ("a.jsonl", b'{"question": "A?"}\n{"question": \n{"question": "B?"}\n', ":2", "no JSON", 2),
    ("a.jsonl", b'{"question": "A?"}\n{"question": "B', ":2", "the line has no end", 1),
    ("a.jsonl", b'["A?"]\n{"question": "B?"}\n', ":1", "no JSON object", 1),
    ("a.jsonl", b'{"question": "\xff"}\n{"question": "B?"}\n', ":1", "not UTF-8", 1),
    ("a.csv", b"question,id\nA?,1\nB, C?,2\nD?,3\n", ":3", "more cells", 2),
    ("a.csv", b"question,id\n\xff\xfe?,1\nB?,2\n", ":2", "not UTF-8", 1),
    ("a.csv", b'question,id\n"A"x,1\nB?,2\n', ":2", "no CSV", 1),
]


@pytest.mark.parametrize(("name", "content", "place", "fault", "sound"), BROKEN)
def test_a_broken_row_has_its_place_and_the_others_are_read(
    tmp_path: Path, name: str, content: bytes, place: str, fault: str, sound: int
):
    (tmp_path / name).write_bytes(content)
    rows = list(read_rows(str(tmp_path / name)))
    (broken,) = [row for row in rows if row.fault]
    assert broken.place == f"{tmp_path / name}{place}"
    assert fault in broken.fault
    assert sum(not row.fault for row in rows) == sound


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.jsonl", None, "there is no such file"),
        ("a.parquet", b"PAR1 no parquet", "cannot be read"),
        ("a.csv", b"", "its first line must name the columns"),
        ("a.xlsx", b"x", "files end in .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, content: bytes | None, told: str
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        values(tmp_path / name)
    assert told in str(raised.value)
    assert str(tmp_path / name) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_name_that_datasets_does_not_know_is_one_line(monkeypatch: pytest.MonkeyPatch):
    datasets = pytest.importorskip("datasets")

    def fails(name: str) -> None:
        raise FileNotFoundError(f"Couldn't find\nany data set {name}")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(
        ConfigurationError, match=r"some/name: .* could be loaded: Couldn't find any"
    ):
        values("some/name")


def test_what_a_stage_reads_is_files(tmp_path: Path):
    file = jsonl(tmp_path / "a.jsonl")
    (tmp_path / "folder").mkdir()
    inner = jsonl(tmp_path / "folder" / "b.jsonl")
    missing = tmp_path / "none.csv"
    names = [str(file), str(tmp_path / "folder"), str(missing), "some/name"]
    assert files_behind(names) == [file, inner, missing]
