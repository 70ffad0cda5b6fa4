"""stream_events: all that a run tells, and nobody's run goes on when nobody listens."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import uvicorn
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import TypeAdapter, ValidationError

from oresearch_graph import ResearchSettings, create_research_graph, stream_events
from oresearch_graph.graph.event_stream import Finished
from oresearch_graph.graph.events import Event, Planned, SubtaskFinished, Verified
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, failing, research_script
from tests.helpers.server_habits import Habits

QUESTION: Final = "What causes tides?"
EXAMPLE: Final = Path(__file__).parents[2] / "examples" / "fastapi_sse.py"


def graph(**options: Any) -> Any:
    policy = ScriptedPolicy(research_script())
    return create_research_graph(policy, search=Documents(PAGES), **options)


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    habits = Habits(latency=0.3)
    with OpenAIServer(ResearchBrain(("tides", "Moon"), calls=4), habits) as serving:
        yield serving


def over(model: OpenAIServer) -> Any:
    settings = ResearchSettings(base_url=model.base_url, rendering="turns")
    return create_research_graph("fake", search=Documents(PAGES), settings=settings)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - threads of others make it so
            await asyncio.sleep(0.02)


async def asked(model: OpenAIServer, requests: int = 3) -> None:
    """Waits until the run is in the middle."""
    await until(lambda: len(model.requests) >= requests)


async def is_at_rest(model: OpenAIServer) -> None:
    """No request is begun from two seconds after now."""
    await asyncio.sleep(2)
    before = len(model.requests)
    await asyncio.sleep(1)
    assert len(model.requests) == before < 10
    assert model.answered <= before


async def test_events_come_in_order_and_the_result_comes_last():
    events = [event async for event in stream_events(graph(), QUESTION)]
    *events, last = events
    assert isinstance(events[0], Planned)
    assert sum(isinstance(event, SubtaskFinished) for event in events) == 2
    assert isinstance(events[-1], Verified)
    assert isinstance(last, Finished)
    result = await graph().ainvoke({"question": QUESTION})
    assert last.state.keys() == result.keys()
    assert last.report == result["report"]
    assert last.outcome == "complete"
    for source in last.sources:
        assert f"[{source.id}]. {source.url}" in result["report"]
    assert len(last.sources) == result["report"].partition("## References")[2].count("]. ")
    kinds: TypeAdapter[Any] = TypeAdapter(Event)
    assert [kinds.validate_json(event.model_dump_json()) for event in events] == events
    assert "state" not in last.model_dump()


async def test_a_run_without_a_report_says_why():
    script = research_script(("What causes tides?",))
    bare = create_research_graph(ScriptedPolicy(failing(script, 1)), search=Documents(PAGES))
    *_, last = [event async for event in stream_events(bare, QUESTION)]
    assert isinstance(last, Finished)
    assert (last.outcome, last.report, last.sources) == ("failed", None, [])
    assert "the model's server is gone" in (last.failure or "")


@pytest.mark.parametrize("how", [{"interrupt_before": ["summarize"]}, {}], ids=["before", "plan"])
async def test_a_run_that_stops_for_a_person_goes_on_with_the_answer(how: dict[str, Any]):
    waiting = graph(checkpointer=InMemorySaver(), **how)
    config: Any = {"configurable": {"thread_id": "one"}}
    context = {"approve_plan": not how}
    stream = stream_events(waiting, QUESTION, context=context, config=config)
    assert not [event async for event in stream if isinstance(event, Finished)]
    answer: Any = None if how else Command(resume={"action": "approve"})
    *_, last = [event async for event in stream_events(waiting, answer, config=config)]
    assert isinstance(last, Finished)
    assert last.outcome == "complete"


async def test_what_the_run_raises_is_raised():
    with pytest.raises(ValidationError, match="efort"):
        async for _ in stream_events(graph(), QUESTION, context={"efort": "deep"}):
            pass


async def test_closing_the_stream_stops_the_run(model: OpenAIServer):
    stream = stream_events(over(model), QUESTION)
    await anext(stream)
    await asked(model)
    await stream.aclose()
    await is_at_rest(model)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_the_listener_stops_the_run(model: OpenAIServer):
    async def listen() -> None:
        async for _ in stream_events(over(model), QUESTION):
            pass

    listener = asyncio.create_task(listen())
    await asked(model)
    listener.cancel()
    await asyncio.wait([listener])
    assert listener.cancelled()
    await is_at_rest(model)


@asynccontextmanager
async def example_serving(model: OpenAIServer) -> AsyncIterator[httpx.AsyncClient]:
    """The example under uvicorn, over the model's server."""
    module = runpy.run_path(str(EXAMPLE))
    module["research"].__globals__["graph"] = over(model)
    server = uvicorn.Server(uvicorn.Config(module["app"], port=0, log_level="error"))
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
    finally:
        server.should_exit = True
        await serving


async def test_a_web_service_streams_a_run(model: OpenAIServer):
    model.habits = Habits()
    async with example_serving(model) as client:
        answer = await client.get("/research", params={"question": QUESTION})
    names = [line for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names[0] == "event: oresearch.plan"
    assert names[-2:] == ["event: oresearch.verified", "event: oresearch.finished"]
    data = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    last = TypeAdapter(dict[str, Any]).validate_json(data[-1].removeprefix("data: "))
    assert last["outcome"] == "complete"
    assert "## References" in last["report"]


async def test_a_client_that_goes_away_stops_its_run(model: OpenAIServer):
    async with example_serving(model) as client:
        async with client.stream("GET", "/research", params={"question": QUESTION}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: oresearch.call"):
                    break
        await is_at_rest(model)


async def test_a_client_that_reads_nothing_and_goes_away_stops_its_run(model: OpenAIServer):
    async with example_serving(model) as client:
        async with client.stream("GET", "/research", params={"question": QUESTION}):
            await asked(model)
        await is_at_rest(model)
