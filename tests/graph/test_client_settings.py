"""What a client of the served graph may set, and what is refused before a run begins."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import ValidationError

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.graph.budget import Budget
from oresearch_graph.graph.clock import Clock
from oresearch_graph.graph.run_context_pool import RunContextPool
from oresearch_graph.graph.state import Run
from oresearch_graph.served.client_settings import client_settings
from oresearch_graph.settings import CLIENTS
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Protocol, Usage
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

SERVER = ResearchSettings(
    model="openai:small", search="searxng:http://me:pa55word@127.0.0.1:1", max_tokens=50_000,
    max_cost=2.0, effort="quick",
)  # fmt: skip
CLIENT = client_settings(SERVER, ["openai:large"])

TAKEN: list[dict[str, Any]] = [
    {},
    {"effort": "deep", "execution": "sequential", "approve_plan": True, "language": "fr"},
    {"length": "two pages", "tone": "plain", "outline": ["Causes"], "seed": 7},
    {"include_domains": ["a.org"], "exclude_domains": ["b.org"]},
    {"published_after": "2024-01-01", "published_before": "2025-01-01"},
    {"model": "openai:large", "researcher_models": ["openai:small", "openai:large"]},
    {"planner_model": "openai:large", "summarizer_model": "openai:small"},
    {"max_tokens": 50_000, "max_cost": 1.5, "max_steps": 4, "max_seconds": 180},
    {"effort": "deep", "max_steps": 16, "max_subtasks": 8},
    {"max_output_tokens": 64},
    {"model": "", "max_steps": None, "outline": "", "corpus": "", "base_url": None},
    {"thread_id": "t", "__context_provided__": True, "checkpoint_ns": ""},
]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"corpus": "/etc"}, "corpus is the server's to set (ORESEARCH_CORPUS)"),
    ({"base_url": "http://127.0.0.1:1/v1"}, "base_url is the server's"),
    ({"search": "searxng:http://127.0.0.1:1"}, "search is the server's"),
    ({"search": "auto", "effort": "quick"}, "search is the server's"),
    ({"allow_private_addresses": True}, "allow_private_addresses is the server's"),
    ({"tenant": "other"}, "tenant is the server's"),
    ({"parameters": {"planner": {"extra_headers": {}}}}, "parameters is the server's"),
    ({"prompts": {"planner": "x"}}, "prompts is the server's"),
    ({"soft_limit": 1}, "soft_limit is the server's"),
    ({"observation_tokens": 100}, "observation_tokens is the server's"),
    ({"efort": "deep"}, "there is no setting 'efort'"),
    ({"self": 1}, "there is no setting 'self'"),
    ({"\x1b[2J" * 999: 1}, "there is no setting '\\x1b[2J"),
    ({"model": "openai:huge"}, "the model 'openai:huge' is not allowed here"),
    ({"model": "openai:Small"}, "is not allowed here"),
    ({"researcher_models": ["openai:small", "ollama:x"]}, "the model 'ollama:x' is not allowed"),
    ({"planner_model": "x" * 9_999}, "is not allowed here"),
    ({"max_tokens": 50_001}, "max_tokens cannot be 50001 here: the server allows 50000 at most"),
    ({"effort": "deep", "max_tokens": 50_001}, "the server allows 50000 at most"),
    ({"max_steps": 5}, "the server allows 4 at most with effort quick"),
    ({"effort": "standard", "max_steps": 11}, "the server allows 10 at most with effort standard"),
    ({"max_seconds": "inf"}, "the server allows 180 at most"),
    ({"max_seconds": "nan"}, "max_seconds"),
    ({"max_cost": 2.5}, "the server allows 2 at most"),
    ({"max_cost": -1}, "max_cost"),
    ({"effort": "endless"}, "effort"),
]


@pytest.mark.parametrize("context", TAKEN, ids=str)
def test_a_client_chooses_within_the_servers_bounds(context):
    chosen = CLIENT(**context).model_fields_set
    empty = {name for name, value in context.items() if value in ("", None)}
    assert chosen == {name for name in context if name in CLIENTS} - empty
    settings = RunContextPool(SERVER, lambda _: pytest.fail("built"), {}).settings(
        CLIENT(**context)
    )
    assert settings.search == SERVER.search
    assert settings.limits.tokens <= 50_000


@pytest.mark.parametrize(("context", "why"), REFUSED, ids=[why for _, why in REFUSED])
def test_what_is_not_the_clients_is_refused_in_one_line(context, why):
    for make in (lambda: CLIENT(**context), lambda: CLIENT.model_validate(context)):
        with pytest.raises(ConfigurationError) as refused:
            make()
        assert why in str(refused.value)
        assert str(refused.value).isprintable()
        assert len(str(refused.value)) < 500


def test_without_a_named_model_none_may_be_named():
    with pytest.raises(ConfigurationError, match="not allowed here: none is"):
        client_settings(ResearchSettings(), [])(model="openai:small")


def test_the_form_is_the_clients_and_shows_what_the_server_keeps():
    form = json.loads(json.dumps(CLIENT.model_json_schema()))
    assert tuple(form["properties"]) == CLIENTS
    assert all(field["title"] and field["description"] for field in form["properties"].values())
    assert form["properties"]["effort"]["default"] == "quick"
    assert form["properties"]["model"]["enum"] == ["openai:small", "openai:large"]
    assert form["x-server-settings"]["search"] == "searxng:http://127.0.0.1:1"
    assert "allow_private_addresses: False" in form["description"]
    assert "pa55word" not in json.dumps(form)


def test_the_servers_filter_drops_no_name_before_it_is_refused():
    """`langgraph_api.stream._filter_context_by_schema`: `if key in properties`."""
    assert "corpus" in CLIENT.model_json_schema()["properties"]


async def test_a_refused_context_reaches_no_node():
    calls: list[Thread] = []

    def script(thread: Thread) -> str:
        calls.append(thread)
        return research_script()(thread)

    graph = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES))
    graph.context_schema = client_settings(ResearchSettings(), [])
    context: Any = {"corpus": "/etc"}
    with pytest.raises(RuntimeError, match="corpus is the server's to set"):
        await graph.ainvoke({"question": "q"}, context=context)
    assert calls == []
    context = {"max_subtasks": 1}
    assert (await graph.ainvoke({"question": "q"}, context=context))["report"]


async def test_an_edited_state_buys_no_time_no_calls_and_no_subtasks():
    saver, thread = InMemorySaver(), {"configurable": {"thread_id": "one"}}
    settings = ResearchSettings(max_subtasks=2, max_seconds=60, approve_plan=True)

    def graph() -> Any:  # as another process has it
        policy = ScriptedPolicy(research_script())
        return create_research_graph(
            policy, search=Documents(PAGES), settings=settings, checkpointer=saver
        )

    await graph().ainvoke({"question": "q"}, thread)
    edited = graph()
    run = (await edited.aget_state(thread)).values["run"].model_dump()
    spent = {"role": "planner", "calls": -1_000_000}
    update = {
        "run": run | {"started": 9e10},
        "subtasks": ["What causes tides?", "How large are tides?", "Where are tides?"],
        "usage": [spent],
    }
    await edited.aupdate_state(thread, update, as_node="plan")
    await edited.ainvoke(None, thread)
    trace = (await edited.ainvoke(Command(resume={"action": "approve"}), thread))["trace"]
    messages = [failure.message for failure in trace.failures]
    assert "subtask 3 was not begun: the limit is 2 subtasks" in messages


@pytest.mark.parametrize("usage", [{"calls": -9}, {"prompt_tokens": -9}, {"cost": -1}])
def test_what_nobody_can_spend_is_not_counted(usage):
    budget = Budget(ResearchSettings(max_cost=1), Clock())
    budget.restore("planner", None, [Usage(role="planner", **usage)])
    assert all(limit.used >= 0 for limit in budget.limits())


def test_a_run_cannot_have_begun_at_no_time():
    run = Run(id="x", started=9e10, question="q", language="en", protocol=Protocol())
    with pytest.raises(ValidationError):
        Run.model_validate(run.model_dump() | {"started": "nan"})
