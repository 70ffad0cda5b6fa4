"""The whole graph against a real OpenAI-compatible server on loopback, in fair and foul weather."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from oresearch_graph import ChatPolicy, Policies, create_research_graph, violations
from oresearch_graph.evidence.ledger import NOTICE
from oresearch_graph.graph.state import ResearchInput
from oresearch_graph.policies.chat.limiter import AdaptiveLimiter
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.settings import Rendering, ResearchSettings
from oresearch_graph.trace import Execution, Trace
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import INVENTED, ResearchBrain
from tests.helpers.scripted import Documents
from tests.helpers.server_habits import (
    Body,
    Fault,
    Habits,
    too_many,
)

RENDERINGS: tuple[Rendering, ...] = ("prefill", "turns", "tools")
EXECUTIONS: tuple[Execution, ...] = ("parallel", "sequential")
SUBTASKS = ("What a flume is", "What a flume is good for")
PAGES = {
    "https://example.org/flume": "A flume is a channel. What a flume is: this is what the sources "
    "say. What a flume is good for: this is what the sources say.",
    "https://example.org/use": "A flume is good for measuring flow. It is what mills use.",
}


def server(rendering: Rendering = "turns", **more) -> OpenAIServer:
    habits = Habits(on_final_assistant="continue" if rendering == "prefill" else "restart", **more)
    return OpenAIServer(ResearchBrain(SUBTASKS), habits)


def finished(trace: object) -> Trace:
    assert isinstance(trace, Trace)
    return trace


async def research(
    on: OpenAIServer, rendering: Rendering = "turns", *, stream: bool = False,
    seconds: float = 20.0, tries: int = 3, **settings,
) -> Trace:  # fmt: skip
    """One run; with `stream` the way Studio and chat front ends run it."""
    policy = ChatPolicy(
        "fake",
        base_url=on.base_url,
        rendering=rendering,
        timeout=seconds,
        patience=Patience(tries=tries, backoff=0.01),
        limiter=AdaptiveLimiter(4),
    )
    graph = create_research_graph(
        Policies.single(policy), search=Documents(PAGES), settings=ResearchSettings(**settings)
    )
    question: ResearchInput = {"question": "What is a flume good for?"}
    if not stream:
        return finished((await graph.ainvoke(question))["trace"])
    trace: object = None
    pieces = 0
    parts: Any = graph.astream(question, stream_mode=["messages", "values"], subgraphs=True)
    async for _, mode, value in parts:
        if mode == "messages":
            pieces += 1
        elif "trace" in value:
            trace = value["trace"]
    assert pieces > 20
    return finished(trace)


def about_second_subtask(body: Body) -> bool:
    """True for requests of the second researcher (its subtask came as a user's text)."""
    text = json.dumps([m["content"] for m in body["messages"] if m["role"] == "user"])
    first, second = [f"<subtask>{subtask}</subtask>" in text for subtask in SUBTASKS]
    return second and not first


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("rendering", RENDERINGS)
async def test_a_correct_report_in_every_rendering(rendering, execution, stream):
    with server(rendering) as on:
        trace = await research(on, rendering, stream=stream, execution=execution)
    assert [(f.name, f.message) for f in trace.failures] == []
    assert trace.outcome == "complete"
    assert violations(trace) == ()
    assert trace.subtasks == SUBTASKS
    for branch in (1, 2):
        kinds = [step.kind for step in trace.branches[branch] if step.kind != "plan"]
        assert kinds == [
            "subtask", "think", "web_search", "observation", "think", "crawl_page",
            "observation", "think", "subtask_answer",
        ] or kinds == [
            "subtask", "think", "web_search", "observation", "think", "crawl_page",
            "observation", "subtask_answer",
        ]  # fmt: skip
    assert INVENTED.strip() not in trace.model_dump_json()
    assert trace.citations is not None
    assert trace.citations.accuracy == 1.0
    used = [usage for usage in trace.usage if usage.role == "researcher"]
    assert all(u.prompt_tokens and u.completion_tokens and u.cached_tokens for u in used)


@pytest.mark.parametrize(
    "fault",
    [
        too_many("0"),
        Fault("status", 500),
        Fault("empty_choices"),
        Fault("garbage"),
        Fault("drop"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.status}",
)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_passing_fault_leaves_a_complete_report(fault, stream):
    with server() as on:
        on.faults.extend([fault, None, fault, fault, None])
        trace = await research(on, stream=stream)
    assert trace.outcome == "complete"
    assert trace.failures == ()
    assert violations(trace) == ()


async def test_a_cut_stream_is_asked_again():
    with server() as on:
        on.faults.extend([None, Fault("cut"), Fault("cut")])
        trace = await research(on, stream=True)
    assert trace.outcome == "complete"
    assert violations(trace) == ()


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        (Fault("status", 500), "model_error"),
        (too_many("0"), "model_error"),
        (Fault("empty_choices"), "model_error"),
        (Fault("garbage"), "model_error"),
        (Fault("hang", seconds=3.0), "timeout"),
    ],
    ids=["500", "429", "empty", "garbage", "hang"],
)
async def test_a_lasting_fault_in_one_branch_gives_a_partial_report_that_names_it(fault, name):
    with server() as on:
        on.fault_for = lambda body: fault if about_second_subtask(body) else None
        trace = await research(on, seconds=2.0 if fault.kind == "hang" else 20.0)
    assert trace.outcome == "partial"
    assert [(f.name, f.fault, f.branch) for f in trace.failures] == [(name, "infrastructure", 2)]
    assert trace.branches[1][-1].kind == "subtask_answer"
    assert trace.answer is not None
    assert all(violation.declared for violation in violations(trace))


async def test_a_server_that_only_fails_gives_a_clear_failure():
    with server() as on:
        on.fault_for = lambda _: Fault("status", 503)
        trace = await research(on)
    assert trace.outcome == "failed"
    assert trace.answer is None
    assert {failure.name for failure in trace.failures} == {"model_error", "plan_fallback"}
    assert "503" in trace.failures[0].message
    assert all(violation.declared for violation in violations(trace))


async def test_a_model_that_writes_garbage_is_the_policys_failure():
    with OpenAIServer(lambda *_: "As a language model I like turtles.") as on:
        trace = await research(on)
    assert trace.outcome == "failed"
    assert {(f.name, f.fault) for f in trace.failures} == {
        ("repaired", "policy"), ("grammar", "policy"), ("plan_fallback", "policy"),
        ("no_evidence", "policy"),
    }  # fmt: skip
    assert all(violation.declared for violation in violations(trace))


async def test_a_burst_of_429_lowers_the_concurrency_and_loses_nothing():
    subtasks = tuple(f"What a flume is, part {i}" for i in range(1, 7))
    with OpenAIServer(ResearchBrain(subtasks), Habits(latency=0.01)) as on:
        on.faults.extend([None, *[too_many("0")] * 8])
        trace = await research(on, max_subtasks=6, tries=9)
        assert on.most_at_once <= 4
    assert trace.outcome == "complete"
    assert sorted(trace.branches) == [1, 2, 3, 4, 5, 6]


def test_one_graph_serves_one_event_loop_after_another():
    with server() as on:
        graph = create_research_graph(
            "fake", search=Documents(PAGES), settings=ResearchSettings(base_url=on.base_url)
        )
        for _ in range(3):
            result = asyncio.run(graph.ainvoke({"question": "What is a flume good for?"}))
            assert result["trace"].outcome == "complete"
            assert result["trace"].failures == ()


@pytest.mark.parametrize(("stream", "echoes_stream"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("execution", EXECUTIONS)
async def test_a_beginning_that_the_server_returns_is_no_text_of_the_policy(
    execution: Execution, stream: bool, echoes_stream: bool
) -> None:
    habits = Habits(on_final_assistant="echo", echoes_stream=echoes_stream, keeps_stop=False)
    with OpenAIServer(ResearchBrain(SUBTASKS), habits) as echoing, server("prefill") as plain:
        trace = await research(echoing, "prefill", stream=stream, execution=execution)
        same = await research(plain, "prefill", stream=stream, execution=execution)
    assert trace.outcome == "complete"
    assert [(s.kind, s.text) for s in trace.steps] == [(s.kind, s.text) for s in same.steps]
    assert violations(trace) == ()


@pytest.mark.parametrize("context", [1_600, 100_000])
async def test_a_branch_answers_before_the_servers_context_is_full(context: int) -> None:
    with server("prefill") as on:
        on.context = context
        trace = await research(on, "prefill", observation_tokens=300)
    assert trace.outcome == "complete"
    notices = [s for s in trace.steps if s.kind == "observation" and NOTICE in s.text]
    assert bool(notices) is (context == 1_600)
    assert all("context" in step.text for step in notices)


@pytest.mark.parametrize("named", [True, False], ids=["by name", "a chat model"])
async def test_six_runs_make_as_many_requests_at_once_as_one(named):
    """Verification among them."""
    with server("turns", latency=0.02) as on:
        settings = ResearchSettings(
            base_url=on.base_url if named else None, rendering="turns", concurrency=2
        )
        model = (
            "fake"
            if named
            else ChatOpenAI(model="fake", base_url=on.base_url, api_key=SecretStr("none"))
        )
        asked: ResearchInput = {"question": "What is a flume good for?"}
        graphs = [
            create_research_graph(model, search=Documents(PAGES), settings=settings)
            for _ in range(3)
        ]
        runs = [graph.ainvoke(asked) for graph in graphs for _ in range(2)]
        results = await asyncio.gather(*runs)
    assert [result["trace"].outcome for result in results] == ["complete"] * 6
    assert on.most_at_once == 2
