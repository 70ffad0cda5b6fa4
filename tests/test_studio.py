"""langgraph dev as Studio uses it: a real server, driven through the SDK."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from tests.openai_server import Habits, OpenAIServer
from tests.research_brain import ResearchBrain

CHECKOUT = Path(__file__).parent.parent
QUESTION = {"question": "How does asyncio cancel tasks?"}
EMBEDDED = {"search": "python", "effort": "quick"}

pytestmark = pytest.mark.server


class Server:
    """One `langgraph dev` on a folder of its own; may be started again on the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = json.loads((CHECKOUT / "langgraph.json").read_text())
        # The checkout's own configuration, read from a folder that a test may fill.
        config["dependencies"] = [str(CHECKOUT / path) for path in config["dependencies"]]
        config["graphs"] = {n: str(CHECKOUT / path) for n, path in config["graphs"].items()}
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
        }
        command = [
            str(Path(sys.executable).parent / "langgraph"), "dev", "--no-browser", "--no-reload",
            "--host", "127.0.0.1", "--port", str(self.port), "--n-jobs-per-worker", "4",
        ]  # fmt: skip
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=clean | settings, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        self._wait()

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Any]:
        """An SDK client on this event loop."""
        client = get_client(url=f"http://127.0.0.1:{self.port}")
        try:
            yield client
        finally:
            await client.aclose()

    def _wait(self) -> None:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/ok", timeout=2).status_code == 200:
                    # A port that was taken meanwhile is silently replaced by another.
                    assert f"127.0.0.1:{self.port}" in self.log.read_text()
                    return
            except httpx.TransportError:
                time.sleep(0.3)
        raise AssertionError(self.log.read_text()[-3000:])

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        os.killpg(self.process.pid, how)
        self.process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("studio"))
    yield running
    running.stop()
    assert "BlockingError" not in running.log.read_text()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    async with server.client() as client:
        yield client


async def ended(client: Any, thread: str, run: Any) -> Any:
    await client.runs.join(thread, run["run_id"])
    return await client.threads.get_state(thread)


async def test_settings_are_a_form_with_essential_ones_first(client: Any):
    (assistant,) = await client.assistants.search()
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    assert schemas["input_schema"]
    assert schemas["output_schema"]
    settings = schemas["context_schema"]["properties"]
    assert list(settings)[:6] == ["model", "base_url", "search", "corpus", "effort", "execution"]
    assert settings["effort"]["enum"] == ["quick", "standard", "deep"]
    assert settings["effort"]["default"] == "standard"
    assert settings["soft_limit"]["maximum"] == 1
    assert all(field["title"] and field["description"] for field in settings.values())
    assert settings["planner_model"]["langgraph_nodes"] == ["plan"]
    drawn = await client.assistants.get_graph(assistant["assistant_id"])
    nodes = {node for field in settings.values() for node in field.get("langgraph_nodes", [])}
    assert nodes <= {str(node["id"]) for node in drawn["nodes"]}


async def test_the_subgraph_is_drawn(client: Any):
    (assistant,) = await client.assistants.search()
    drawn = await client.assistants.get_graph(assistant["assistant_id"], xray=1)
    names = {str(node["id"]) for node in drawn["nodes"]}
    assert {"research:reason", "research:observe", "research:conclude"} <= names
    assert {"prepare", "plan", "approve_plan", "summarize", "verify"} <= names


async def test_a_run_streams_events_and_updates_of_its_researchers(client: Any):
    thread = (await client.threads.create())["thread_id"]
    events, researchers = [], set()
    async for part in client.runs.stream(
        thread, "research", input=QUESTION, context=EMBEDDED,
        stream_mode=["custom", "updates"], stream_subgraphs=True,
    ):  # fmt: skip
        if part.event.startswith("custom"):
            events.append(part.data["type"])
        if part.event.startswith("updates|research"):
            assert all(part.data.values())
            researchers |= set(part.data)
    assert events[0] == "oresearch.plan"
    assert events[-1] == "oresearch.verified"
    assert researchers == {"reason", "observe", "conclude"}
    state = await client.threads.get_state(thread)
    assert state["values"]["trace"]["outcome"] == "complete"


async def test_a_form_left_empty_and_an_assistants_own_settings_are_taken(client: Any):
    untouched = {"model": "", "language": "", "max_steps": "", "outline": ""}
    assistant = await client.assistants.create("research", context=EMBEDDED | untouched)
    state = await client.runs.wait(
        None, assistant["assistant_id"], input=QUESTION, context={"max_subtasks": 1}
    )
    assert state["trace"]["outcome"] == "complete"
    subtasks = {step["branch"] for step in state["trace"]["steps"]} - {None}
    assert subtasks == {1}
    await client.assistants.delete(assistant["assistant_id"])


async def test_a_plan_is_edited_and_the_run_goes_on(client: Any):
    thread = (await client.threads.create())["thread_id"]
    context = EMBEDDED | {"approve_plan": True}
    run = await client.runs.create(thread, "research", input=QUESTION, context=context)
    state = await ended(client, thread, run)
    (stop,) = [i for task in state["tasks"] for i in task["interrupts"]]
    chosen = stop["value"]["subtasks"][:1]
    answer = {"resume": {"action": "edit", "subtasks": chosen}}
    run = await client.runs.create(thread, "research", command=answer, context=context)
    state = await ended(client, thread, run)
    trace = state["values"]["trace"]
    assert trace["outcome"] == "complete"
    assert [s["kind"] for s in trace["steps"]].count("subtask") == 1
    assert trace["steps"][0]["author"] == "world"


def wait_for_requests(model: OpenAIServer, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(model.requests) < count and time.monotonic() < deadline:
        time.sleep(0.05)


SLOW = {"search": "python", "rendering": "turns", "model": "fake"}
"""Of a run over a loopback model server with some latency."""


async def test_a_stopped_run_is_forked_at_a_researchers_step(client: Any):
    with OpenAIServer(ResearchBrain(("One", "Two"), calls=4), Habits(latency=0.4)) as model:
        context = SLOW | {"base_url": model.base_url}
        thread = (await client.threads.create())["thread_id"]
        run = await client.runs.create(thread, "research", input=QUESTION, context=context)
        await asyncio.to_thread(wait_for_requests, model, 8)
        await client.runs.cancel(thread, run["run_id"], wait=True)
        before = len(model.requests)
        stopped = await client.threads.get_state(thread)
        assert stopped["next"] == ["research", "research"]
        inner = await client.threads.get_history(
            thread, limit=50, checkpoint=stopped["tasks"][0]["checkpoint"]
        )
        step = next(s for s in inner if s["next"] == ["reason"] and len(s["values"]["steps"]) == 4)
        note = {"kind": "think", "text": "A person was here.", "branch": 1, "lead": "\n\n"}
        await client.threads.update_state(thread, {"steps": [note]}, checkpoint=step["checkpoint"])
        run = await client.runs.create(thread, "research", input=None, context=context)
        trace = (await ended(client, thread, run))["values"]["trace"]
    assert trace["outcome"] == "complete"
    # One of four turns stands before the fork: three turns and the answer are to come.
    again = [json.dumps(body["messages"]) for body in model.requests[before:]]
    assert sum("<subtask>One</subtask>" in talk for talk in again[:-1]) == 4
    branch = [s for s in trace["steps"] if s["branch"] == 1]
    assert branch[:4] == step["values"]["steps"]
    assert branch[4]["text"] == "A person was here."
    assert branch[-1]["kind"] == "subtask_answer"


async def test_a_thread_outlives_the_server(server: Server):
    async with server.client() as client:
        thread = (await client.threads.create())["thread_id"]
        first = await client.runs.wait(thread, "research", input=QUESTION, context=EMBEDDED)
    server.stop()
    server.start()
    async with server.client() as client:
        assert thread in [each["thread_id"] for each in await client.threads.search()]
        state = await client.threads.get_state(thread)
        assert state["values"]["trace"] == first["trace"]
        history = await client.threads.get_history(thread, limit=20)
        assert {tuple(past["next"]) for past in history} >= {(), ("verify",), ("prepare",)}


async def test_a_killed_server_continues_inside_each_researcher(server: Server):
    with OpenAIServer(ResearchBrain(("One", "Two"), calls=4), Habits(latency=0.4)) as model:
        context = SLOW | {"base_url": model.base_url}
        async with server.client() as client:
            thread = (await client.threads.create())["thread_id"]
            await client.runs.create(thread, "research", input=QUESTION, context=context)
        await asyncio.to_thread(wait_for_requests, model, 6)
        server.stop(signal.SIGKILL)
        before = len(model.requests)
        server.start()
        async with server.client() as client:
            # The dev server itself writes its list of threads every ten seconds only.
            await client.threads.create(thread_id=thread, if_exists="do_nothing")
            run = await client.runs.create(
                thread, "research", input=None, context=context, multitask_strategy="enqueue"
            )
            state = await ended(client, thread, run)
        after = len(model.requests) - before
    assert state["values"]["trace"]["outcome"] == "complete"
    # A whole run makes 12 calls: planner, 2 × 5 researchers' and summarizer. At most the one call
    # in flight of each of the two branches is made again.
    assert 12 <= before + after <= 12 + 2
