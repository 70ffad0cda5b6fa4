"""Every example runs as it stands, without keys or network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests.helpers.warm_python import run_warm

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
PROGRAM: Final = """
import runpy, sys, warnings
from pathlib import Path

warnings.filterwarnings("error", category=DeprecationWarning, module="__main__")
sys.argv.pop(0)
sys.path[0] = str(Path(sys.argv[0]).parent)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""As `python -W error::DeprecationWarning:__main__ EXAMPLE`."""


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path):
    free = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = run_warm(PROGRAM, str(example), cwd=Path.cwd(), env=free)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout) > 250
