"""Every module of the training side that the documents run answers `--help`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
# In one process: each alone would load torch and verl again.
ALL: Final = """
import contextlib, io, json, runpy, sys
answers = {}
for name in sys.argv[1:]:
    sys.argv = [name, "--help"]
    status, text = None, io.StringIO()
    with contextlib.redirect_stdout(text):
        try:
            runpy.run_module(name, run_name="__main__")
        except SystemExit as error:
            status = error.code
    answers[name] = [status or 0, text.getvalue()]
print(json.dumps(answers))
"""


def test_every_module_that_is_run_answers() -> None:
    documents = [*ROOT.glob("*.md"), ROOT / "rl" / "README.md", *(ROOT / "docs").glob("*.md")]
    texts = "".join(document.read_text("utf-8") for document in documents)
    named = set(re.findall(r"python -m (rl\.[\w.]*\w)", texts)) - {"rl.metrics.table"}  # it prints
    assert named >= {"rl.sft", "rl.grpo", "rl.export", "rl.plot", "rl.rl_rows", "rl.tiny.prepare"}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALL, *sorted(named)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    answers = json.loads(result.stdout.splitlines()[-1])
    assert {name: status for name, (status, _) in answers.items() if status} == {}
    assert [name for name, (_, text) in answers.items() if "usage" not in text.lower()] == []
