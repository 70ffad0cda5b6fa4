"""The report once more, as the structure that an embedder asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from pydantic import BaseModel

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.server_habits import (
    Body,
    Fault,
    Message,
    ToolCalls,
)

QUESTION: Any = {"question": "q"}


class Answer(BaseModel):
    """What an embedder wants to know."""

    cause: str


class StructuringBrain(ResearchBrain):
    """Researches, and fills in the structure when asked for one."""

    def __call__(self, messages: list[Message], body: Body) -> str | ToolCalls:
        if not structuring(body):
            return super().__call__(messages, body)
        filled = {"cause": "the Moon"}
        return ToolCalls((("Answer", filled),)) if body.get("tools") else json.dumps(filled)


def structuring(body: Body) -> bool:
    return "Answer" in f"{body.get('response_format')}{body.get('tools')}"


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(StructuringBrain(("tides",))) as running:
        yield running


def graph(server: OpenAIServer, shape: Any = Answer, **options: Any) -> Any:
    return create_research_graph(
        "fake",
        search=Documents(PAGES),
        settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        response_format=shape,
        **options,
    )


async def test_a_class_gives_an_object(server: OpenAIServer):
    result = await graph(server).ainvoke(QUESTION)
    assert result["structured_response"] == Answer(cause="the Moon")
    assert server.requests[-1]["messages"][-1]["content"] == result["report"]
    assert sum(usage.calls for usage in result["trace"].usage) == len(server.requests)


async def test_a_json_schema_gives_a_dict(server: OpenAIServer):
    result = await graph(server, Answer.model_json_schema()).ainvoke(QUESTION)
    assert result["structured_response"] == {"cause": "the Moon"}


async def test_the_object_is_kept_by_a_saver(server: OpenAIServer):
    built = graph(server, checkpointer=InMemorySaver())
    await built.ainvoke(QUESTION, {"configurable": {"thread_id": "one"}})
    state = await built.aget_state({"configurable": {"thread_id": "one"}})
    assert state.values["structured_response"] == Answer(cause="the Moon")


async def test_a_passing_fault_is_tried_again(server: OpenAIServer):
    faults = [Fault("status", 500)]
    server.fault_for = lambda body: faults.pop() if structuring(body) and faults else None
    result = await graph(server).ainvoke(QUESTION)
    assert result["structured_response"] == Answer(cause="the Moon")


async def test_a_structure_that_cannot_be_had_costs_no_report(server: OpenAIServer):
    server.fault_for = lambda body: Fault("status", 401) if structuring(body) else None
    result = await graph(server).ainvoke(QUESTION)
    assert result["structured_response"] is None
    assert "## Introduction" in result["report"]
    (failure,) = result["trace"].failures
    assert (failure.name, failure.fault) == ("model_error", "infrastructure")


async def test_without_a_report_no_structure_is_asked_for(server: OpenAIServer):
    built = create_research_graph(
        "fake",
        search=Documents({}),
        settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        response_format=Answer,
    )
    result = await built.ainvoke(QUESTION)
    assert (result["report"], result["structured_response"]) == (None, None)
    assert not any(structuring(body) for body in server.requests)


async def test_without_a_chat_model_one_clear_line_comes_before_any_work():
    policy = ScriptedPolicy(research_script())
    built = create_research_graph(policy, search=Documents(PAGES), response_format=Answer)
    with pytest.raises(ConfigurationError, match="needs a chat model"):
        await built.ainvoke(QUESTION)
    assert policy.threads == []
