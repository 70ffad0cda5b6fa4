"""A file is replaced as a whole, or stays as it was."""

from __future__ import annotations

import pytest

from oresearch_graph.trace.whole_files import replacing


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "a.json"
    with replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert [child.name for child in path.parent.iterdir()] == ["a.json"]


def test_a_fault_leaves_what_was_there_and_no_part(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fails():
        with replacing(path) as file:
            file.write(b"half")
            raise ValueError("cut short")

    with pytest.raises(ValueError, match="cut short"):
        fails()
    assert path.read_bytes() == b"old"
    assert [child.name for child in tmp_path.iterdir()] == ["a.json"]
