"""Settings as forms, environments, contexts and `configurable` bring them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from pydantic import ValidationError

from oresearch_graph import create_research_graph
from oresearch_graph.environment import resolve_settings
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.settings import ResearchSettings
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

QUESTION: Any = {"question": "What causes tides?"}
SUBTASKS = ["a tides", "b tides", "c tides"]


def test_a_field_that_a_form_left_empty_is_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ORESEARCH_MAX_STEPS", "7")
    form = ResearchSettings.model_validate(
        {"model": "", "language": "", "max_steps": "", "outline": "", "effort": "quick"}
    )
    assert form.model_fields_set == {"effort"}
    assert resolve_settings(form).limits.steps == 7


@pytest.mark.parametrize(
    ("variable", "says"),
    [
        ("ORESEARCH_EFORT", "did you mean ORESEARCH_EFFORT?"),
        ("oresearch_max_token", "did you mean ORESEARCH_MAX_TOKENS?"),
        ("ORESEARCH_NONSENSE", "oresearch settings lists them"),
    ],
)
def test_a_variable_that_sets_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, says: str
):
    monkeypatch.setenv(variable, "deep")
    with pytest.raises(ConfigurationError, match=says) as refusal:
        resolve_settings()
    assert variable.upper() in str(refusal.value)


@pytest.mark.parametrize(
    "name", ["HOME", "ALLOWED_MODELS", "ALLOWED_ORIGINS", "SERVICE_HOST", "PORT_80_TCP_ADDR"]
)
def test_a_variable_that_others_read_is_none_of_a_settings(
    monkeypatch: pytest.MonkeyPatch, name: str
):
    monkeypatch.setenv(f"ORESEARCH_{name}", "x")
    assert resolve_settings() == ResearchSettings()


def test_a_keyword_that_is_no_setting_is_told_the_nearest():
    with pytest.raises(ValidationError, match=r"no setting 'efort'; did you mean effort\?"):
        ResearchSettings(efort="deep")  # type: ignore[call-arg]


def graph() -> Any:
    policy = ScriptedPolicy(research_script(SUBTASKS))
    return create_research_graph(policy, search=Documents(PAGES))


class State(TypedDict, total=False):
    question: str
    trace: Any


def within(context_schema: Any) -> Any:
    """The graph as a node of a parent with a context of its own."""
    builder = StateGraph(State, context_schema=context_schema)
    builder.add_node("research", graph())
    builder.add_edge(START, "research")
    builder.add_edge("research", END)
    return builder.compile()


def branches(result: Any) -> int:
    return len(result["trace"].branches)


class Context(TypedDict, total=False):
    user: str
    max_subtasks: Any
    max_subtask: Any


@dataclass
class Tenant:
    user: str
    max_subtasks: Any = 2


@pytest.mark.parametrize(
    ("schema", "context", "count"),
    [
        (Context, {"user": "Ada", "max_subtasks": 2}, 2),
        (Tenant, Tenant("Ada"), 2),
        (Tenant, {"user": "Ada", "max_subtasks": 1}, 1),
        (Context, {"user": "Ada"}, 3),
        (Context, {"user": "Ada", "max_subtasks": "many"}, 3),
        (Context, {"user": "Ada", "max_subtasks": object()}, 3),
    ],
)
def test_of_a_parents_context_our_names_are_taken(schema: Any, context: Any, count: int):
    assert branches(within(schema).invoke(QUESTION, context=context)) == count


def test_a_near_miss_of_a_parents_is_logged_once(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "oresearch_graph")
    context = {"user": "Ada", "max_subtask": 1, "max_subtasks": 2}
    assert branches(within(Context).invoke(QUESTION, context=context)) == 2
    (line,) = caplog.messages
    assert "not taken from a parent's context: there is no setting 'max_subtask'" in line
    assert "did you mean max_subtasks?" in line


@pytest.mark.parametrize(
    "foreign",
    [
        {"base_url": "http://127.0.0.1:9/v1"}, {"search": "corpus", "corpus": "/etc"},
        {"parameters": {"planner": {"api_key": "x"}}}, {"allow_private_addresses": True},
        {"allow_plain_http": True}, {"tenant": "other"}, {"prices": {"m": [0, 0, 0]}},
        {"model": "m@http://127.0.0.1:9/v1"}, {"planner_model": "local:/etc/passwd"},
        {"researcher_models": ("m@http://127.0.0.1:9/v1",)}, {"model": None}, {"search": None},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("place", ["context", "configurable"])
def test_what_reaches_reads_or_sends_is_taken_from_nobody_else(
    place: str, foreign: dict[str, Any], caplog: pytest.LogCaptureFixture
):
    class Parent(TypedDict, total=False):
        user: str

    values = {"user": "Ada", **foreign}
    if place == "context":
        result = within(Parent).invoke(QUESTION, context=values)
    else:
        result = within(Parent).invoke(QUESTION, {"configurable": values})
    assert result["trace"].outcome == "complete"
    assert set(result["trace"].models.values()) == {"scripted"}
    assert bool(caplog.messages) == (None not in foreign.values())


def test_a_limit_from_elsewhere_goes_down_only():
    policy = ScriptedPolicy(research_script(SUBTASKS))
    made = create_research_graph(
        policy, search=Documents(PAGES), settings=ResearchSettings(max_subtasks=2)
    )
    for most, count in ((9, 2), (1, 1)):
        config: Any = {"configurable": {"max_subtasks": most}}
        assert branches(made.invoke(QUESTION, config)) == count


@pytest.mark.parametrize("context", [{"max_subtasks": "many"}, {"max_subtasks": -1}])
def test_a_context_of_nothing_but_ours_that_cannot_be_is_refused(context: Any):
    with pytest.raises(ConfigurationError, match="max_subtasks cannot be"):
        within(Context).invoke(QUESTION, context=context)


def test_configurable_sets_and_a_context_beats_it(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.WARNING, "oresearch_graph")
    config: Any = {"configurable": {"max_subtasks": 2, "user": "Ada", "thread_id": "1"}}
    assert branches(graph().invoke(QUESTION, config)) == 2
    assert branches(graph().with_config(config).invoke(QUESTION)) == 2
    assert branches(graph().invoke(QUESTION, config, context={"max_subtasks": 1})) == 1
    assert caplog.messages == []
    config = {"configurable": {"max_subtask": 2, "thread_id": "1"}}
    assert branches(graph().invoke(QUESTION, config)) == 3
    assert "not taken from configurable" in caplog.text
    assert "did you mean max_subtasks?" in caplog.text
