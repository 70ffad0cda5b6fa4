"""A real `langgraph dev` on the checkout's own langgraph.json, for the tests that drive it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
from langgraph_sdk import get_client

CHECKOUT = Path(__file__).parents[2]
QUESTION = {"question": "How does asyncio cancel tasks?"}


class StudioServer:
    """One `langgraph dev` on a folder of its own; may be started again on the same folder."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """`settings` are variables of the server's environment."""
        self.folder, self.settings = folder, settings
        config = json.loads((CHECKOUT / "langgraph.json").read_text())
        # The checkout's own configuration, read from a folder that a test may fill.
        config["dependencies"] = [str(CHECKOUT / path) for path in config["dependencies"]]
        config["checkpointer"]["path"] = str(CHECKOUT / config["checkpointer"]["path"])
        (folder / "langgraph.json").write_text(json.dumps(config))
        self.log = folder / "server.log"
        self.start()

    def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        clean = {k: v for k, v in os.environ.items() if not k.endswith("_API_KEY")}
        settings = {
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "LANGGRAPH_NO_VERSION_CHECK": "true",
            "LANGSMITH_TRACING": "false",
            "ORESEARCH_HOME": str(self.folder / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        } | self.settings
        command = [
            str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload",
            "--host", "127.0.0.1", "--port", str(self.port), "--n-jobs-per-worker", "4",
        ]  # fmt: skip
        # The mask that most people have: what is private must be so by the server's own doing.
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=clean | settings, stdout=log, stderr=log,
                start_new_session=True, umask=0o022,
            )  # fmt: skip
        self._wait()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """An SDK client on this event loop."""
        client = get_client(url=self.address)
        try:
            yield client
        finally:
            await client.aclose()

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}/ok", timeout=2).status_code == 200:
                    # A port that was taken meanwhile is silently replaced by another.
                    assert f"127.0.0.1:{self.port}" in self.log.read_text()
                    return
            except httpx.TransportError:
                time.sleep(0.3)
        raise AssertionError(self.log.read_text()[-3000:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, how)
        self.process.wait(30)
