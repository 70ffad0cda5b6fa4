"""What the wheel holds. That it works where it is installed: `make matrix`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.matrix import built_wheel


@pytest.mark.server
def test_the_wheel_holds_one_package_and_its_files(tmp_path: Path):
    names = zipfile.ZipFile(built_wheel(tmp_path)).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"oresearch_graph"}
    assert "oresearch_graph/py.typed" in names
    assert "oresearch_graph/evaluate/questions.jsonl" in names
    of_pages = ("page.css", "page.js", "report.css")
    assert {f"oresearch_graph/view/{name}" for name in of_pages} <= set(names)
