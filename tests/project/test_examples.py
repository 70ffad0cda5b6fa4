"""Every example runs as it stands, without keys or network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.openai_server import OpenAIServer
from tests.helpers.postgres import MISSING, postgres
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.warm_python import run_warm

ELSEWHERE: Final = {"deep_agent", "postgres"}
"""`make matrix` runs the one, beside the package that it needs; the other has its own test."""
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[2] / "examples").glob("*.py")
    if path.stem not in ELSEWHERE
)  # fmt: skip
PROGRAM: Final = """
import runpy, sys, warnings
from pathlib import Path

warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
sys.argv.pop(0)
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""As `python -W error::DeprecationWarning:__main__ EXAMPLE`."""


def output_of(example: Path, **variables: str) -> str:
    """What it prints, without a key."""
    free = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = run_warm(PROGRAM, str(example), cwd=Path.cwd(), env=free | variables)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path):
    models = ("planner", "small", "other", "writer")
    with OpenAIServer(ResearchBrain(("tasks", "cancel"), calls=1), models=models) as server:
        output = output_of(example, OPENAI_BASE_URL=server.base_url, OPENAI_API_KEY="none")
    assert len(output) > 250


@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_a_run_is_kept_in_postgresql():
    with postgres() as address:
        output = output_of(EXAMPLES[0].with_name("postgres.py"), DATABASE_URL=address)
    assert "## References" in output
