"""The wheel alone, in an environment with nothing else, answers a question."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent


def run(*command: str | Path, cwd: Path, **env: str) -> str:
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY") and k != "PYTHONPATH"}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd, env=kept | env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.server
def test_the_wheel_alone_answers_a_question(tmp_path: Path):
    run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, CHECKOUT, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"oresearch_graph"}
    assert "oresearch_graph/py.typed" in names
    assert "oresearch_graph/evaluate/questions.jsonl" in names
    assert {f"oresearch_graph/view/page.{kind}" for kind in ("css", "js")} <= set(names)
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-U", "pip", cwd=tmp_path)
    run(python, "-m", "pip", "install", "-q", wheel, cwd=tmp_path)
    code = (
        "import sys, importlib.util as u, oresearch_graph.trace; "
        "print([u.find_spec(n) for n in ('torch', 'ray', 'verl')], 'langgraph' in sys.modules)"
    )
    assert run(python, "-c", code, cwd=tmp_path).strip() == "[None, None, None] False"
    home = str(tmp_path / "home")
    told = json.loads(
        run(
            tmp_path / "venv" / "bin" / "oresearch",
            "run",
            "How does asyncio cancel tasks?",
            "--search",
            "python",
            "--json",
            cwd=tmp_path,
            ORESEARCH_HOME=home,
        )
    )
    assert told["outcome"] == "complete"
    assert told["citations"]["precision"] == 1.0
