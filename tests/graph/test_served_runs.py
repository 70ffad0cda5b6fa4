"""Runs that meet on a real `langgraph dev`: none of them wedges the server; and what other agents
get of it over MCP and A2A."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

from oresearch_graph.graph.cited_report import DESCRIPTION, QUESTION, CitedReport
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import Habits
from tests.helpers.studio_server import CHECKOUT, StudioServer
from tests.helpers.studio_server import QUESTION as ASKED

pytestmark = pytest.mark.server
BUSY: Final[dict[str, Any]] = {"input": ASKED, "context": {"max_subtasks": 2}}


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer(ResearchBrain(("One", "Two"), calls=2), Habits(latency=0.3)) as serving:
        yield serving


def settings(model: OpenAIServer) -> dict[str, str]:
    return {
        "ORESEARCH_SEARCH": "python", "ORESEARCH_EFFORT": "quick", "ORESEARCH_RENDERING": "turns",
        "ORESEARCH_BASE_URL": model.base_url, "ORESEARCH_MODEL": "fake",
    }  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> Iterator[StudioServer]:
    running = StudioServer(tmp_path_factory.mktemp("served"), **settings(model))
    yield running
    running.stop()


@pytest.fixture
async def client(server: StudioServer, model: OpenAIServer) -> AsyncIterator[Any]:
    model.requests.clear()
    async with server.client() as client:
        yield client


async def under_way(model: OpenAIServer) -> None:
    async with asyncio.timeout(60):
        while len(model.requests) < 3:  # noqa: ASYNC110 - another process makes it so
            await asyncio.sleep(0.05)


async def completes(client: Any, thread: str, run: Any | None = None) -> None:
    """That run, or else one more of the thread."""
    async with asyncio.timeout(60):
        run = run or await client.runs.create(thread, "research", **BUSY)
        await client.runs.join(thread, run["run_id"])
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "success"
    state = await client.threads.get_state(thread)
    assert state["values"]["trace"]["outcome"] == "complete"
    assert state["metadata"]["run_id"] == run["run_id"]


async def status(client: Any, thread: str, run: Any) -> str | None:
    """None: there is no such run any more."""
    try:
        return str((await client.runs.get(thread, run["run_id"]))["status"])
    except NotFoundError:
        return None


@pytest.mark.parametrize(
    ("strategy", "first"),
    [("rollback", None), ("interrupt", "interrupted"), ("enqueue", "success")],
)
async def test_a_second_run_of_a_thread_completes(
    client: Any, model: OpenAIServer, strategy: str, first: str | None
):
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "research", **BUSY)
    await under_way(model)
    second = await client.runs.create(thread, "research", multitask_strategy=strategy, **BUSY)
    await completes(client, thread, second)
    assert await status(client, thread, run) == first
    history = await client.threads.get_history(thread, limit=100)
    runs = {past["metadata"]["run_id"] for past in history}
    assert (run["run_id"] in runs) is (first is not None)
    await completes(client, thread)


async def test_a_rejected_run_leaves_the_first_alone(client: Any, model: OpenAIServer):
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "research", **BUSY)
    await under_way(model)
    with pytest.raises(ConflictError):
        await client.runs.create(thread, "research", multitask_strategy="reject", **BUSY)
    await completes(client, thread, run)
    await completes(client, thread)


@pytest.mark.parametrize(("action", "first"), [("interrupt", "interrupted"), ("rollback", None)])
async def test_a_cancelled_run_asks_nothing_more(
    client: Any, model: OpenAIServer, action: str, first: str | None
):
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "research", **BUSY)
    await under_way(model)
    await client.runs.cancel(thread, run["run_id"], wait=True, action=action)
    assert await status(client, thread, run) == first
    await asyncio.sleep(0.5)
    before = len(model.requests)
    await asyncio.sleep(1)
    assert len(model.requests) == before
    await completes(client, thread)


async def test_a_client_that_goes_away_may_have_its_run_cancelled(client: Any, model: OpenAIServer):
    thread = (await client.threads.create())["thread_id"]
    async for _ in client.runs.stream(
        thread, "research", stream_mode="custom", on_disconnect="cancel", **BUSY
    ):
        break
    await asyncio.sleep(2)
    before = len(model.requests)
    await asyncio.sleep(1)
    assert len(model.requests) == before
    await completes(client, thread)


async def test_two_runs_at_once_both_complete(client: Any):
    threads = [(await client.threads.create())["thread_id"] for _ in range(2)]
    await asyncio.gather(*(completes(client, thread) for thread in threads))


async def test_a_server_with_max_runs_works_on_one_after_the_other(
    tmp_path: Path, model: OpenAIServer
):
    running = StudioServer(tmp_path, **settings(model), ORESEARCH_MAX_RUNS="1")
    questions = [ASKED["question"], "How does pickle find classes?"]
    model.requests.clear()
    try:
        async with running.client() as client:
            threads = [(await client.threads.create())["thread_id"] for _ in questions]
            for thread, question in zip(threads, questions, strict=True):
                await client.runs.create(thread, "research", input={"question": question})
            for thread in threads:
                (run,) = await client.runs.list(thread)
                await client.runs.join(thread, run["run_id"])
                state = await client.threads.get_state(thread)
                assert state["values"]["trace"]["outcome"] == "complete"
    finally:
        running.stop()
    bodies = [json.dumps(request) for request in model.requests]
    asked = [question for body in bodies for question in questions if question in body]
    assert len(asked) == len(bodies)
    assert len(list(groupby(asked))) == 2


def bare(sources: Any) -> bool:
    return all(source.keys() == {"id", "url", "title"} for source in sources)


async def test_an_mcp_client_gets_report_and_sources_alone(server: StudioServer):
    async with (
        streamable_http_client(f"{server.address}/mcp") as (incoming, outgoing, _),
        ClientSession(incoming, outgoing) as agent,
    ):
        await agent.initialize()
        tools = {tool.name: tool for tool in (await agent.list_tools()).tools}
        tool = tools["deep_research"]
        assert tool.description == DESCRIPTION
        assert tool.inputSchema["required"] == ["question"]
        question = tool.inputSchema["properties"]["question"]
        assert (question["type"], question["description"]) == ("string", QUESTION)
        assert "deep_research" in (tools["research"].description or "")
        answer: Any = await agent.call_tool("deep_research", ASKED)
    assert not answer.isError
    (content,) = answer.content
    result = ast.literal_eval(content.text)  # LangGraph's server gives every result as Python
    assert result.keys() == {"outcome", "report", "sources"}
    assert bare(result["sources"])
    report = CitedReport(**result)
    assert report.outcome == "complete"
    assert report.report is not None
    assert all(f"[{each.id}]. {each.url}" in report.report for each in report.sources)
    assert len(content.text) < 2 * len(report.report) + 300 * len(report.sources)


@pytest.mark.parametrize("kind", ["text", "data"])
async def test_an_a2a_client_gets_the_report(server: StudioServer, client: Any, kind: str):
    (assistant,) = await client.assistants.search(graph_id="deep_research")
    at = f"/a2a/{assistant['assistant_id']}"
    part = {"kind": kind, kind: ASKED["question"] if kind == "text" else ASKED}
    message = {"role": "user", "messageId": "m1", "parts": [part]}
    async with httpx.AsyncClient(base_url=server.address, timeout=60) as http:
        card = await http.get(
            "/.well-known/agent-card.json", params={"assistant_id": assistant["assistant_id"]}
        )
        assert card.json()["description"] == DESCRIPTION
        call = {"jsonrpc": "2.0", "id": 1, "method": "message/send", "params": {"message": message}}
        answer = await http.post(at, json=call, headers={"accept": "application/json"})
    task = answer.json()["result"]
    assert task["status"]["state"] == "completed"
    (artifact,) = task["artifacts"]
    (text,) = artifact["parts"]
    assert "## References" in text["text"]
    assert text["text"].startswith("## " if kind == "text" else "{'outcome': 'complete'")
    assert len(answer.text) < 10_000


def test_descriptions_in_the_servers_files_are_the_codes():
    """Without an apostrophe, which would end LangGraph's line of the Dockerfile."""
    for name in ("langgraph.json", "langgraph.deploy.json"):
        graphs = json.loads((CHECKOUT / name).read_text())["graphs"]
        assert graphs["deep_research"]["description"] == DESCRIPTION
        assert "'" not in json.dumps(graphs)
