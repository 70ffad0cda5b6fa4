"""What those see who watch a run: stream modes, events, callbacks."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk

from oresearch_graph import ResearchSettings, create_research_graph, event_from
from oresearch_graph.graph.events import (
    Called,
    Observed,
    Planned,
    ReportText,
    SubtaskFailed,
    Verified,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, failing, research_script

QUESTION: Any = {"question": "What causes tides?"}
NODES = ["prepare", "plan", "research", "research", "summarize", "verify"]


def graph(policy: ScriptedPolicy | None = None, **settings: Any) -> Any:
    return create_research_graph(
        policy or ScriptedPolicy(research_script()),
        search=Documents(PAGES),
        settings=ResearchSettings(**settings),
    )


@pytest.fixture
def served() -> Iterator[Any]:
    """The graph over a real model server that streams."""
    with OpenAIServer(ResearchBrain(("tides", "Moon"))) as server:
        yield create_research_graph(
            "fake",
            search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        )


async def streamed(graph: Any, mode: Any, **options: Any) -> list[Any]:
    return [part async for part in graph.astream(QUESTION, stream_mode=mode, **options)]


async def test_values_end_with_what_ainvoke_gives():
    parts = await streamed(graph(), "values")
    result = await graph().ainvoke(QUESTION)
    assert parts[-1].keys() >= result.keys()
    assert parts[-1]["report"] == result["report"]
    assert parts[-1]["trace"].steps == result["trace"].steps


async def test_updates_name_the_nodes_in_order():
    parts = await streamed(graph(), "updates")
    assert [name for part in parts for name in part] == NODES


async def test_updates_of_researchers_carry_their_steps():
    deep = await streamed(graph(), "updates", subgraphs=True)
    researchers = defaultdict(list)
    for namespace, update in deep:
        assert all(update.values())
        if namespace:
            researchers[namespace].extend(update)
    steps = ["reason", "observe", "reason", "conclude"]
    assert list(researchers.values()) == [steps, steps]
    assert all(namespace[0].startswith("research:") for namespace in researchers)


async def test_several_modes_at_once_say_which_is_which():
    parts = await streamed(graph(), ["values", "updates", "custom"])
    assert {mode for mode, _ in parts} == {"values", "updates", "custom"}


async def test_events_tell_the_run_in_order():
    events = [event_from(value) for _, value in await streamed(graph(), "custom", subgraphs=True)]
    assert None not in events
    types = [event.type.removeprefix("oresearch.") for event in events if event]
    assert types[0] == "plan"
    assert types[-3:] == ["report_text", "report_text", "verified"]
    for branch in (1, 2):
        own = [event.type for event in events if event and getattr(event, "branch", 0) == branch]
        assert own == [
            "oresearch.subtask_started",
            "oresearch.call",
            "oresearch.observation",
            "oresearch.subtask_finished",
        ]


async def test_events_without_subgraphs_leave_the_researchers_out():
    events = [event_from(value) for value in await streamed(graph(), "custom")]
    assert [type(event) for event in events] == [Planned, ReportText, ReportText, Verified]


async def test_events_hold_what_happened_and_are_plain_json():
    parts = [value for _, value in await streamed(graph(), "custom", subgraphs=True)]
    assert json.loads(json.dumps(parts)) == parts
    events = [event_from(part) for part in parts]
    call = next(event for event in events if isinstance(event, Called))
    assert (call.tool, call.items) == ("web_search", ("tides Moon Sun 1",))
    seen = next(event for event in events if isinstance(event, Observed) and event.branch == 2)
    assert seen.sources == (2001, 2002, 2003)
    text = "".join(event.text for event in events if isinstance(event, ReportText))
    assert text.startswith("## Introduction")
    assert "[1]. https://example.org/tides - tides" in text
    end = events[-1]
    assert isinstance(end, Verified)
    assert (end.outcome, end.accuracy, end.claims) == ("complete", 1.0, {"found": 2})


async def test_a_failing_branch_is_told():
    script = failing(research_script(), branch=2)
    parts = await streamed(graph(ScriptedPolicy(script)), "custom", subgraphs=True)
    events = [event_from(value) for _, value in parts]
    (failed,) = [event for event in events if isinstance(event, SubtaskFailed)]
    assert failed.branch == 2
    assert "the model's server is gone" in failed.message
    assert isinstance(events[-1], Verified)
    assert events[-1].outcome == "partial"


@pytest.mark.parametrize("foreign", [None, "text", {}, {"type": "other.plan"}, {"subtasks": []}])
def test_events_of_other_graphs_are_none_of_ours(foreign: object):
    assert event_from(foreign) is None


async def test_tokens_of_the_report_arrive_as_it_is_written(served: Any):
    tokens: dict[str, list[str]] = defaultdict(list)
    whole = []
    for message, about in await streamed(served, "messages"):
        if isinstance(message, AIMessageChunk):
            tokens[about["langgraph_node"]].append(message.text)
        elif isinstance(message, AIMessage):
            whole.append(message)
    assert len(tokens["summarize"]) > 5
    text = "".join(tokens["summarize"])
    assert text.startswith("## Introduction")
    assert "## Conclusion" in text
    assert "<" not in text


async def test_tokens_of_researchers_come_with_their_branch(served: Any):
    branches = defaultdict(list)
    for _, (message, about) in await streamed(served, "messages", subgraphs=True):
        if about["langgraph_node"] == "reason":
            assert about["role"] == "researcher"
            branches[about["branch"]].append(message.text)
    assert sorted(branches) == [1, 2]
    assert all("<subtask_answer>" in "".join(pieces) for pieces in branches.values())


class Watching(BaseCallbackHandler):
    """Notes which nodes began and which model calls."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self.calls: list[tuple[str, int | None]] = []
        self.tags: set[str] = set()

    def on_chain_start(self, serialized: Any, inputs: Any, **more: Any) -> None:
        self.nodes.append(more["name"])

    def on_chat_model_start(self, serialized: Any, messages: Any, **more: Any) -> None:
        self.calls.append((more["metadata"]["role"], more["metadata"]["branch"]))
        self.tags |= set(more["tags"])


async def test_callbacks_see_every_node_and_every_model_call_with_its_role(served: Any):
    watching = Watching()
    result = await served.ainvoke(QUESTION, {"callbacks": [watching], "tags": ["mine"]})
    nodes = ["research", *NODES]
    nodes.insert(-1, "mend")
    assert [name for name in watching.nodes if name in nodes] == nodes
    assert watching.nodes.count("reason") == 6
    assert watching.calls[0] == ("planner", None)
    assert watching.calls[-2:] == [("summarizer", None), ("verifier", None)]
    assert sorted(watching.calls[1:-2]) == [("researcher", 1)] * 3 + [("researcher", 2)] * 3
    assert {"mine", "planner", "researcher", "summarizer", "verifier"} <= watching.tags
    assert sum(usage.calls for usage in result["trace"].usage) == len(watching.calls)


async def test_events_of_langchain_are_streamed_too(served: Any):
    ends = [
        event["name"]
        async for event in served.astream_events(QUESTION, version="v2")
        if event["event"] == "on_chat_model_end"
    ]
    assert sorted(ends) == ["planner"] + ["researcher:1"] * 3 + ["researcher:2"] * 3 + [
        "summarizer", "verifier",
    ]  # fmt: skip
