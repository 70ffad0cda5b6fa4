"""datagen with a real small model as teacher and judge: three questions of an invented world."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from oresearch_graph.policies.local_model import PREFIX
from tests.planted_world import planted_world
from tests.real.models import CHECKOUT, model_file

DATAGEN: Final = "datagen"
"""The column's name."""
SEED: Final = 3
QUESTIONS: Final = 3


def datagen_line(folder: Path, *, run: bool) -> str:
    """What came of it, in a line; empty where it never ran. `run`: run it, or go on with it."""
    report = folder / "result.json"
    if run and not report.exists():
        report.write_text(json.dumps(_run(folder)), "utf-8")
    if not report.exists():
        return ""
    result = json.loads(report.read_text("utf-8"))
    return (
        f"datagen, {QUESTIONS} questions, {result['seconds'] / 60:.0f} min: "
        f"{result['counts']['traces']} traces exported, {result['counts']['sft-threads_rows']} "
        f"rows for SFT; verify: {result['verify']}"
    )


def _run(folder: Path) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    world = planted_world(SEED)
    world.write(folder / "world")
    seeds = folder / "seeds.jsonl"
    rows = [
        {
            "question": one.question,
            "language": "en",
            "domain": "Everyday life",
            "license": "CC0-1.0",
        }
        for one in world.questions[:QUESTIONS]
    ]
    seeds.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    model = f"{PREFIX}{model_file('medium')}"
    changes = {
        "research.corpus": str(folder / "world" / "pages"),
        "seeds.files": f"[{seeds}]",
        "generate.teachers": f"[{{name: small, model: '{model}'}}]",
        "judge.model": model,
    }
    began = time.monotonic()
    config = Path(__file__).with_name("datagen.yaml")
    _datagen(
        "all", str(folder / "run"), "--config", str(config),
        *(f"--set={name}={value}" for name, value in changes.items()),
    )  # fmt: skip
    seconds = time.monotonic() - began
    proof = _datagen("verify", str(folder / "run" / "dataset")).strip().splitlines()[-1]
    manifest = json.loads((folder / "run" / "dataset" / "manifest.json").read_text("utf-8"))
    return {"seconds": seconds, "verify": proof, "counts": manifest["counts"]}


def _datagen(*arguments: str) -> str:
    command = [sys.executable, "-m", "datagen", *arguments]
    ended = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True)
    return ended.stdout
