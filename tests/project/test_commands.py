"""Every command that the documents name answers `--help`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest
import typer
from typer.testing import CliRunner

from datagen.__main__ import app as datagen
from oresearch_graph.command.cli import app as oresearch

ROOT: Final = Path(__file__).parents[2]


@pytest.mark.parametrize("app", [oresearch, datagen], ids=["oresearch", "datagen"])
def test_every_subcommand_answers(app: typer.Typer) -> None:
    names = [command.name or command.callback.__name__ for command in app.registered_commands]  # type: ignore[union-attr]
    assert len(names) > 4
    for name in names:
        result = CliRunner().invoke(app, [name.replace("_", "-"), "--help"])
        assert result.exit_code == 0, (name, result.output)
        assert "Usage" in result.output


def test_every_module_of_the_graph_and_of_datagen_that_is_run_answers() -> None:
    texts = "".join(
        path.read_text("utf-8") for path in ROOT.rglob("*.md") if ".venv" not in str(path)
    )
    named = set(re.findall(r"python -m ((?:oresearch_graph|datagen)[\w.]*)", texts))
    assert named >= {"datagen"}
    for module in sorted(named | {"oresearch_graph.evaluate"}):
        answer = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert (answer.returncode, "usage" in answer.stdout.lower()) == (0, True), answer.stderr
