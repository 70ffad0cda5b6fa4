"""What `langgraph build` makes of langgraph.deploy.json: the package, and nothing of this machine's
or of development's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Final

import pytest
from pathspec import GitIgnoreSpec

ROOT: Final = Path(__file__).parents[2]
OTHERS: Final = (
    ".venv/bin/python", ".env", "out/demo/report.md", ".git/config", "tests/test_new.py",
    ".oresearch/studio.sqlite", ".langgraph_api/store.pckl", "oresearch.toml", "dev.lock",
    "oresearch_graph/__pycache__/studio.pyc", "oresearch_graph/graph/__pycache__/build.pyc",
)  # fmt: skip
"""What may lie in a checkout and is nobody else's."""


def shipped() -> set[str]:
    """The files that reach Docker: each of this checkout, and `OTHERS`, by .dockerignore."""
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    spec = GitIgnoreSpec.from_lines((ROOT / ".dockerignore").read_text().splitlines())
    return {name for name in (*tracked, *OTHERS) if not spec.match_file(name)}


def test_the_package_is_shipped_and_little_else():
    files = shipped()
    package = {name for name in files if name.startswith("oresearch_graph/")}
    assert "oresearch_graph/studio.py" in package
    assert "oresearch_graph/view/page.css" in package
    assert files - package == {"langgraph.deploy.json", "pyproject.toml", "README.md", "LICENSE"}
    assert not files & set(OTHERS)


@pytest.mark.server
def test_what_is_shipped_can_be_installed(tmp_path: Path):
    for name in shipped():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel"]
    subprocess.run(build, cwd=tmp_path, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").iterdir()
    assert "oresearch_graph/served/deep_research.py" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.server
def test_the_image_has_the_platforms_checkpoints(tmp_path: Path):
    langgraph = Path(sys.executable).with_name("langgraph")
    config, to = ROOT / "langgraph.deploy.json", tmp_path / "File"
    command = [str(each) for each in (langgraph, "dockerfile", "-c", config, to)]
    subprocess.run(command, check=True, capture_output=True)
    file = to.read_text()
    assert "CHECKPOINTER" not in file
    assert f"ADD . /deps/{ROOT.name}" in file
    (graphs,) = re.findall(r"^ENV LANGSERVE_GRAPHS='(.*)'$", file, re.MULTILINE)
    assert json.loads(graphs).keys() == {"research", "deep_research"}
    (http,) = re.findall(r"^ENV LANGGRAPH_HTTP='(.*)'$", file, re.MULTILINE)
    assert json.loads(http)["disable_webhooks"] is True


def test_the_deployed_graphs_load_no_saver_of_files():
    code = (
        "import sys, oresearch_graph.studio\n"
        "print([name for name in sys.modules if name.endswith(('sqlite_saver', 'aiosqlite'))])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout == "[]\n"
