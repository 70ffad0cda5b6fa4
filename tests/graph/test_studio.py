"""langgraph dev as Studio uses it: a real server, driven through the SDK."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from oresearch_graph.served.gate import STUDIO
from oresearch_graph.settings import CLIENTS
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import (
    Habits,
)
from tests.helpers.studio_server import QUESTION, StudioServer

WITH_MODEL = {"model": "fake", "effort": "standard"}
"""A run over the loopback model server, which takes some time; without it none is asked."""

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def model() -> Iterator[OpenAIServer]:
    brain, models = ResearchBrain(("One", "Two"), calls=4), ("fake", "other")
    with OpenAIServer(brain, Habits(latency=0.4), models=models) as serving:
        yield serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: OpenAIServer) -> Iterator[StudioServer]:
    running = StudioServer(
        tmp_path_factory.mktemp("studio"),
        ORESEARCH_SEARCH="python", ORESEARCH_EFFORT="quick", ORESEARCH_RENDERING="turns",
        ORESEARCH_BASE_URL=model.base_url, ORESEARCH_ALLOWED_MODELS="other, fake",
        OPENAI_API_KEY="sk-nobodys", ORESEARCH_ALLOWED_ORIGINS="https://my.example/, ",
    )  # fmt: skip
    yield running
    running.stop()
    assert "BlockingError" not in running.log.read_text()


@pytest.fixture
async def client(server: StudioServer) -> AsyncIterator[Any]:
    async with server.client() as client:
        yield client


async def ended(client: Any, thread: str, run: Any) -> Any:
    await client.runs.join(thread, run["run_id"])
    return await client.threads.get_state(thread)


async def test_a_clients_settings_are_a_form(client: Any):
    (assistant,) = await client.assistants.search(graph_id="research")
    schemas = await client.assistants.get_schemas(assistant["assistant_id"])
    assert schemas["input_schema"]
    assert schemas["output_schema"]
    form = schemas["context_schema"]
    settings = form["properties"]
    assert tuple(settings) == CLIENTS
    assert settings["effort"]["enum"] == ["quick", "standard", "deep"]
    assert settings["effort"]["default"] == "quick"
    assert settings["model"]["enum"] == ["other", "fake"]
    assert all(field["title"] and field["description"] for field in settings.values())
    assert settings["planner_model"]["langgraph_nodes"] == ["plan"]
    assert form["x-server-settings"]["search"] == "python"
    assert "search: python" in form["description"]
    assert tuple(schemas["config_schema"]["properties"]) == CLIENTS
    drawn = await client.assistants.get_graph(assistant["assistant_id"])
    nodes = {node for field in settings.values() for node in field.get("langgraph_nodes", [])}
    assert nodes <= {str(node["id"]) for node in drawn["nodes"]}


async def test_the_subgraph_is_drawn(client: Any):
    (assistant,) = await client.assistants.search(graph_id="research")
    drawn = await client.assistants.get_graph(assistant["assistant_id"], xray=1)
    names = {str(node["id"]) for node in drawn["nodes"]}
    assert {"research:reason", "research:observe", "research:conclude"} <= names
    assert {"prepare", "plan", "approve_plan", "summarize", "verify"} <= names


async def test_a_run_streams_events_and_updates_of_its_researchers(client: Any):
    thread = (await client.threads.create())["thread_id"]
    events, researchers = [], set()
    async for part in client.runs.stream(
        thread, "research", input=QUESTION,
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
    assistant = await client.assistants.create("research", context={"effort": "quick"} | untouched)
    state = await client.runs.wait(
        None, assistant["assistant_id"], input=QUESTION, context={"max_subtasks": 1}
    )
    assert state["trace"]["outcome"] == "complete"
    subtasks = {step["branch"] for step in state["trace"]["steps"]} - {None}
    assert subtasks == {1}
    await client.assistants.delete(assistant["assistant_id"])


async def test_a_plan_is_edited_and_the_run_goes_on(client: Any):
    thread = (await client.threads.create())["thread_id"]
    context = {"approve_plan": True}
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


async def test_a_resume_without_its_context_goes_on_with_it(client: Any, model: OpenAIServer):
    model.requests.clear()
    thread = (await client.threads.create())["thread_id"]
    context = {"approve_plan": True, "model": "other", "max_tool_calls": 1}
    run = await client.runs.create(thread, "research", input=QUESTION, context=context)
    await ended(client, thread, run)
    approved = {"resume": {"action": "approve"}}
    run = await client.runs.create(thread, "research", command=approved)
    trace = (await ended(client, thread, run))["values"]["trace"]
    assert trace["outcome"] == "complete"
    assert set(trace["models"].values()) == {"other"}
    assert {body["model"] for body in model.requests if "messages" in body} == {"other"}
    assert [u["tool_calls"] for u in trace["usage"] if u["role"] == "researcher"] == [1, 1]


async def test_an_answer_that_is_none_is_asked_for_again(client: Any):
    thread = (await client.threads.create())["thread_id"]
    context = {"approve_plan": True}
    run = await client.runs.create(thread, "research", input=QUESTION, context=context)
    await ended(client, thread, run)
    for answer in ({"type": "reject"}, {"foo": 1}, {"action": "edit"}, "yes", ["approve"]):
        command = {"resume": answer}
        run = await client.runs.create(thread, "research", command=command, context=context)
        state = await ended(client, thread, run)
        (stop,) = [i for task in state["tasks"] for i in task["interrupts"]]
        assert stop["value"]["fault"]
    rejected = {"resume": {"decisions": [{"type": "reject", "message": "too broad"}]}}
    run = await client.runs.create(thread, "research", command=rejected, context=context)
    trace = (await ended(client, thread, run))["values"]["trace"]
    assert "too broad" in trace["failures"][0]["message"]
    assert trace["usage"][0]["role"] == "planner"
    assert len(trace["usage"]) == 1


ATTACK = {"corpus": "/etc", "search": "corpus", "base_url": "http://127.0.0.1:9/v1",
          "model": "fake", "allow_private_addresses": True}  # fmt: skip


@pytest.mark.parametrize(
    "given",
    [
        *({"context": WITH_MODEL | {name: value}} for name, value in ATTACK.items()
          if name != "model"),
        {"context": ATTACK},
        {"context": {"search": "searxng:http://127.0.0.1:9"}},
        {"context": {"model": "openai:another"}},
        {"context": {"efort": "deep"}},
        {"context": {"max_tokens": 10_000_000}},
        {"config": {"configurable": ATTACK}},
        {"config": {"configurable": {"__pregel_runtime": {"context": ATTACK}}}},
        {"config": {"configurable": {"context": ATTACK}}},
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_the_servers_is_refused_before_a_run_spends(
    client: Any, model: OpenAIServer, given: dict[str, Any]
):
    model.requests.clear()
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "research", input=QUESTION, **given)
    state = await ended(client, thread, run)
    assert (await client.runs.get(thread, run["run_id"]))["status"] == "error"
    assert "trace" not in state["values"]
    assert model.requests == []
    error = await client.runs.join(thread, run["run_id"])
    if "__pregel_runtime" not in str(given):  # LangGraph's own words
        assert "ConfigurationError" in error["__error__"]["error"]
        assert "internal" not in error["__error__"]["message"]


async def test_a_threads_own_state_sets_nothing(client: Any, model: OpenAIServer):
    """Input keys and commands write state; settings are no part of it."""
    model.requests.clear()
    run = {"id": "x", "started": 1.0, "question": "q", "language": "en", "protocol": {}}
    smuggled = QUESTION | ATTACK | {"run": run, "context": ATTACK, "settings": ATTACK}
    state = await client.runs.wait(None, "research", input=smuggled, context={"max_subtasks": 1})
    assert state["trace"]["outcome"] == "complete"
    assert all(source["url"].startswith("python:") for source in state["trace"]["sources"])
    thread = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread, "research", input=QUESTION, context={"max_subtasks": 1})
    task = {"run": run, "branch": 1, "subtask": "passwd", "before": [], "known": [
        {"id": 1, "url": "file:///etc/passwd", "title": "", "text": ""}]}  # fmt: skip
    command = {
        "update": ATTACK | {"run": run},
        "goto": {"node": "research", "input": {"task": task}},
    }
    state = await client.runs.wait(thread, "research", command=command)
    assert "root:" not in json.dumps(state)
    assert model.requests == []


async def test_what_is_kept_is_its_owners_alone(server: StudioServer, client: Any):
    await client.runs.wait(
        (await client.threads.create())["thread_id"], "research", input=QUESTION,
        context={"max_subtasks": 1},
    )  # fmt: skip
    await asyncio.sleep(11)  # the development server writes its store every ten seconds
    kept = [server.folder / "home", server.folder / ".langgraph_api"]
    kept += [path for folder in kept for path in folder.rglob("*")]
    assert {"studio.sqlite", "studio.sqlite-wal", "studio.sqlite-shm"} <= {p.name for p in kept}
    assert any(path.suffix == ".pckl" for path in kept)
    assert {p.name: oct(p.stat().st_mode & 0o077) for p in kept if p.stat().st_mode & 0o077} == {}


RUN = json.dumps({"assistant_id": "research", "input": QUESTION, "context": WITH_MODEL})
STRANGERS = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:3000"},
    {"origin": "https://smith.langchain.com.evil.example"},
    {"origin": "https://evil.example", "host": "evil.example"},
    {"host": "evil.example"},
    {"host": "rebound.example:2024"},
    {"host": "0.0.0.0"},
    {"host": ""},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"x-forwarded-host": "localhost", "host": "evil.example"},
]
PATHS = ["/runs/wait", "/runs/stream", "/runs", "/runs/batch", "/threads", "/threads/search",
         "/assistants/search", "/store/items", "/mcp", "/a2a/research", "/runs/crons"]  # fmt: skip


async def test_a_strangers_request_is_refused_before_a_run_exists(
    server: StudioServer, client: Any, model: OpenAIServer
):
    model.requests.clear()
    threads = await client.threads.count()
    kept = (await client.threads.search(limit=1))[0]["thread_id"]
    gets = ["/", "/ok", "/info", "/docs", "/openapi.json", "/metrics", f"/threads/{kept}/state",
            f"/threads/{kept}/history", f"/threads/{kept}/stream", "/nothing"]  # fmt: skip
    as_json = {"content-type": "application/json"}
    async with httpx.AsyncClient(base_url=server.address) as http:
        for headers in STRANGERS:
            for path in PATHS:
                answer = await http.post(path, content=RUN, headers=headers | as_json)
                assert (answer.status_code, "refused" in answer.text) == (403, True), headers
                assert "access-control-allow-origin" not in answer.headers
            for path in gets:
                for method in ("GET", "HEAD", "DELETE", "OPTIONS"):
                    answer = await http.request(method, path, headers=headers)
                    assert answer.status_code == 403, (headers, method, path)
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
            for path in PATHS:
                for own in ({}, {"origin": STUDIO}, {"origin": server.address}):
                    headers = own | {"content-type": kind}
                    assert (await http.post(path, content=RUN, headers=headers)).status_code == 403
                    assert (await http.patch(path, content=RUN, headers=headers)).status_code == 403
        upgrade = {"connection": "Upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
                   "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
                   "origin": "https://evil.example"}  # fmt: skip
        answer = await http.get(f"/threads/{kept}/stream/events", headers=upgrade)
        assert answer.status_code == 403
    assert await client.threads.count() == threads
    assert model.requests == []


async def test_studio_and_the_servers_own_pages_may_ask(server: StudioServer):
    async with httpx.AsyncClient(base_url=server.address) as http:
        asks = {"origin": STUDIO, "access-control-request-method": "POST",
                "access-control-request-headers": "content-type",
                "access-control-request-private-network": "true"}  # fmt: skip
        before = await http.options("/threads/search", headers=asks)
        assert before.status_code == 200
        assert before.headers["access-control-allow-origin"] == STUDIO
        assert before.headers["access-control-allow-private-network"] == "true"
        named = (STUDIO, "https://my.example")
        for origin in (*named, server.address, f"http://localhost:{server.port}"):
            answer = await http.post("/threads/search", json={}, headers={"origin": origin})
            assert answer.status_code == 200
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (origin if origin in named else None)


def wait_for_requests(model: OpenAIServer, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(model.requests) < count and time.monotonic() < deadline:
        time.sleep(0.05)


async def test_a_stopped_run_is_forked_at_a_researchers_step(client: Any, model: OpenAIServer):
    model.requests.clear()
    thread = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread, "research", input=QUESTION, context=WITH_MODEL)
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
    run = await client.runs.create(thread, "research", input=None, context=WITH_MODEL)
    trace = (await ended(client, thread, run))["values"]["trace"]
    assert trace["outcome"] == "complete"
    # One of four turns stands before the fork: three turns and the answer are to come.
    again = [json.dumps(body["messages"]) for body in model.requests[before:]]
    *research, _ = [talk for talk in again if "You check sentences of a report" not in talk]
    assert sum("<subtask>One</subtask>" in talk for talk in research) == 4
    branch = [s for s in trace["steps"] if s["branch"] == 1]
    assert branch[:4] == step["values"]["steps"]
    assert branch[4]["text"] == "A person was here."
    assert branch[-1]["kind"] == "subtask_answer"


async def test_a_thread_outlives_the_server(server: StudioServer):
    async with server.client() as client:
        thread = (await client.threads.create())["thread_id"]
        first = await client.runs.wait(thread, "research", input=QUESTION)
    server.stop()
    server.start()
    async with server.client() as client:
        assert thread in [each["thread_id"] for each in await client.threads.search()]
        state = await client.threads.get_state(thread)
        assert state["values"]["trace"] == first["trace"]
        history = await client.threads.get_history(thread, limit=20)
        assert {tuple(past["next"]) for past in history} >= {(), ("verify",), ("prepare",)}


async def test_a_killed_server_continues_inside_each_researcher(
    server: StudioServer, model: OpenAIServer
):
    model.requests.clear()
    async with server.client() as client:
        thread = (await client.threads.create())["thread_id"]
        await client.runs.create(thread, "research", input=QUESTION, context=WITH_MODEL)
    await asyncio.to_thread(wait_for_requests, model, 6)
    server.stop(signal.SIGKILL)
    before = len(model.requests)
    server.start()
    async with server.client() as client:
        # The dev server itself writes its list of threads every ten seconds only.
        await client.threads.create(thread_id=thread, if_exists="do_nothing")
        run = await client.runs.create(
            thread, "research", input=None, context=WITH_MODEL, multitask_strategy="enqueue"
        )
        state = await ended(client, thread, run)
    after = len(model.requests) - before
    assert state["values"]["trace"]["outcome"] == "complete"
    # A whole run makes 14 calls: planner, 2 × 5 researchers', summarizer and 2 to verify. At most
    # the one call in flight of each of the two branches is made again.
    assert 14 <= before + after <= 14 + 2
