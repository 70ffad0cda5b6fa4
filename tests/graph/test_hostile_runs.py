"""A whole run over pages that want to keep it: it ends in its time, and at once when told to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

import pytest

from oresearch_graph.trace import read_traces
from tests.helpers.hostile_pages import nested_forms
from tests.helpers.hostile_servers import HostileServer
from tests.helpers.loopback_site import Site, running_site

pytestmark = pytest.mark.hostile

QUESTION = "How do tides rise on coasts?"
PAGES = {
    "drip": (b"", ""),
    "endless": (b"", ""),
    "forms": (nested_forms(30), "application/pdf"),
    "links": (b'<p><a href="/x">Tides rise</a> on coasts, they say.</p>' * 20_000, "text/html"),
    "nested": (b"<blockquote>" * 30_000 + b"Tides rise on coasts.", "text/html"),
    "one word": (b"Tides rise on coasts. " + b"w" * 5_000_000, "text/plain"),
    "backticks": (b"Tides rise on coasts. " + b"`" * 500_000, "text/plain"),
}


@contextmanager
def searched(page: str) -> Iterator[Site]:
    """A SearXNG that finds this page, and a good one, for whatever is asked."""
    with running_site() as site, HostileServer() as server:
        body, kind = PAGES[page]
        url = site.add(f"/{page[:3]}", body, content_type=kind) if kind else f"{server.url}/{page}"
        good = site.add("/good", "<p>Tides rise twice a day on most coasts of the world.</p>")
        hits = [{"url": u, "title": "Tides", "content": QUESTION} for u in (url, good, f"{url}?2")]
        site.add("/search", json.dumps({"results": hits}), content_type="application/json")
        yield site


def started(site: Site, folder: Path, *more: str) -> subprocess.Popen[str]:
    """`oresearch run` over what the site finds, without a model."""
    command = [
        sys.executable, "-c", "from oresearch_graph.command.cli import main; main()",
        "run", QUESTION, "--effort", "quick", "--search", f"searxng:{site.url}",
        "--set", "allow_private_addresses=true", *more,
    ]  # fmt: skip
    kept = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
    env = {**kept, "PYTHONPATH": str(Path(__file__).parents[2]), "ORESEARCH_HOME": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.parametrize("page", PAGES)
def test_a_run_of_ten_seconds_ends_in_time_and_keeps_what_it_read(page: str, tmp_path: Path):
    with searched(page) as site:
        began = monotonic()
        run = started(site, tmp_path, "--set", "max_seconds=10")
        told, _ = run.communicate(timeout=60)
        assert monotonic() - began < 15.0, told
        assert "Traceback" not in told
        trace = next(read_traces(next(tmp_path.glob("out/*/trace.jsonl"))))
        assert any("twice a day" in s.text for s in trace.steps if s.kind == "observation"), told


@pytest.mark.parametrize("page", PAGES)
def test_a_run_ends_within_three_seconds_of_ctrl_c(page: str, tmp_path: Path):
    with searched(page) as site:
        run = started(site, tmp_path)
        until = monotonic() + 30.0
        while "/search" not in "".join(site.paths()) and monotonic() < until:
            sleep(0.05)
        sleep(1.0)  # the pages are under way
        run.send_signal(signal.SIGINT)
        began = monotonic()
        told, _ = run.communicate(timeout=60)
        assert monotonic() - began < 3.0, told
        assert "Traceback" not in told
