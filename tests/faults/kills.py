"""Kills and signals of the command line, then `--resume`; by hand, fifty:
`python -m tests.faults.kills 50`.

A run over a loopback model server is killed at a random moment with SIGKILL, SIGTERM, SIGHUP or
SIGINT, gone on with, perhaps killed again; at its end its report is that of a run nobody disturbed,
and the server was asked again only for what was in flight.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import Habits
from tests.helpers.warm_python import WarmProcess

COMMAND: Final = "from oresearch_graph.command.cli import main; main()"
QUESTION: Final = "What causes tides, and how large are they?"
BRAIN: Final = ResearchBrain(("tides and the Moon", "tides and the Sun", "large tides"), calls=2)
PAGES: Final = {
    "moon.md": "# The Moon\n\nTides are caused by the Moon, whose gravity pulls the water.\n",
    "sun.md": "# The Sun\n\nThe Sun causes spring tides twice a month.\n",
    "fundy.md": "# Fundy\n\nLarge tides of 16 metres rise in the Bay of Fundy.\n",
}
SIGNALS: Final = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_KILLS: Final = 3
"""Of one run, at most."""


class Drill(NamedTuple):
    """What became of one run."""

    kills: list[str]
    same: bool
    """Its report is that of a run nobody disturbed."""
    asked_again: int
    """Requests that the server was sent more than once."""
    allowed: int
    """Those that were in flight when it was killed, at most."""
    fault: str = ""


def drill(folder: Path, seed: int, whole: str | None) -> tuple[Drill, str]:
    """One run, killed at moments that the seed draws; its report comes with it."""
    random, kills = Random(seed), list[str]()  # noqa: S311 - no secret
    folder.mkdir(parents=True)
    corpus = folder / "corpus"
    corpus.mkdir()
    for name, text in PAGES.items():
        (corpus / name).write_text(text, "utf-8")
    with OpenAIServer(BRAIN, Habits(latency=0.05)) as server:
        environment = {
            **{name: value for name, value in os.environ.items() if "API_KEY" not in name},
            "XDG_DATA_HOME": str(folder / "data"), "XDG_CONFIG_HOME": str(folder / "config"),
        }  # fmt: skip
        options = ["--quiet", "--base-url", server.base_url, "--corpus", str(corpus)]
        options += ["--out", "r.md", "--trace", "t.jsonl", "--set", "rendering=turns"]
        options += ["--set", "verifier=off"]
        begun = ["run", QUESTION, *options]
        arguments = begun
        for _ in range(_KILLS if whole is not None else 0):
            code = _killed(arguments, folder, environment, random, server, kills)
            runs = list((folder / "data" / "oresearch" / "runs").glob("*"))
            arguments = ["run", "--resume", runs[0].name, "--quiet"] if runs else begun
            if code == 0 or (kills and random.random() < 0.5):
                break
        done = WarmProcess(
            COMMAND, *arguments, cwd=folder, env=environment, streams=streams(folder)
        )
        code = done.wait(60)
        messages = Counter(
            json.dumps(body["messages"], sort_keys=True)
            for body in server.requests
            if "messages" in body
        )
    report = (folder / "r.md").read_text("utf-8") if (folder / "r.md").exists() else ""
    report = report.replace(str(folder), "")  # addresses of its own pages
    again = sum(count - 1 for count in messages.values())
    said = (folder / "stderr").read_text("utf-8")[-500:]
    fault = "" if code == 0 else f"exit status {code}: {said}"
    same = whole is None or report == whole
    return Drill(kills, same, again, len(BRAIN.subtasks) * len(kills), fault), report


def _killed(
    arguments: list[str], folder: Path, environment: dict[str, str], random: Random,
    server: OpenAIServer, kills: list[str],
) -> int | None:  # fmt: skip
    """Run it, and send it a signal if it has not ended before; its exit status."""
    process: Any = WarmProcess(
        COMMAND, *arguments, cwd=folder, env=environment, streams=streams(folder)
    )
    moment = len(server.requests) + random.randint(0, 5)
    while len(server.requests) < moment and process.poll() is None:
        time.sleep(0.01)
    time.sleep(random.uniform(0.0, 0.1))
    if process.poll() is None:
        number = random.choice(SIGNALS)
        process.send_signal(number)
        kills.append(number.name)
    code: int = process.wait(60)
    return code


def streams(folder: Path) -> tuple[str, str, str]:
    """Nothing to read, and files for what is said."""
    for name in ("stdout", "stderr"):
        (folder / name).touch()
    return os.devnull, str(folder / "stdout"), str(folder / "stderr")


def main(count: str = "50", first: str = "1") -> int:
    """The drill, so many times, from a seed on."""
    with tempfile.TemporaryDirectory() as place:
        _, whole = drill(Path(place) / "whole", 0, None)
        drills = []
        for seed in range(int(first), int(first) + int(count)):
            outcome, _ = drill(Path(place) / str(seed), seed, whole)
            drills.append(outcome)
            print(seed, outcome, flush=True)  # noqa: T201
    right = sum(each.same and not each.fault for each in drills)
    again = sum(max(0, each.asked_again - each.allowed) for each in drills)
    kills = Counter(name for each in drills for name in each.kills)
    print(  # noqa: T201
        f"{right} of {len(drills)} reports right; {again} requests too many; kills: {dict(kills)}"
    )
    return 0 if right == len(drills) and again == 0 else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
