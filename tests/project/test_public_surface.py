"""The names people rely on."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import get_args

from langchain.agents import create_agent

import oresearch_graph
from oresearch_graph.graph.events import Event

PROMISED = {
    "create_research_graph", "research_tool", "ResearchSettings", "Trace", "Step", "parse_trace",
    "render_trace", "violations",
}  # fmt: skip


def test_promised_names_are_there():
    assert set(oresearch_graph.__all__) >= PROMISED


def test_every_public_name_is_importable_and_documented():
    for name in oresearch_graph.__all__:
        assert getattr(oresearch_graph, name).__doc__, name
    assert dir(oresearch_graph) == sorted(oresearch_graph.__all__)


def test_type_checkers_see_the_names_that_are_loaded():
    tree = ast.parse(Path(oresearch_graph.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: node.module
        for node in checked.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    loaded = {name: f"oresearch_graph.{home}" for name, home in oresearch_graph._HOMES.items()}
    assert seen == loaded
    assert sorted(loaded) == sorted(oresearch_graph.__all__)


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(oresearch_graph, "create_research_grpah")


def test_the_events_of_the_contract():
    union = get_args(Event)[0]
    assert {kind.model_fields["type"].default for kind in get_args(union)} == {
        "oresearch.forecast",
        "oresearch.plan",
        "oresearch.subtask_started",
        "oresearch.subtask_finished",
        "oresearch.subtask_failed",
        "oresearch.call",
        "oresearch.observation",
        "oresearch.report",
        "oresearch.report_text",
        "oresearch.verified",
    }


def test_every_event_is_documented():
    for kind in get_args(get_args(Event)[0]):
        assert inspect.getdoc(kind)


def test_arguments_follow_create_agents_conventions():
    own = inspect.signature(oresearch_graph.create_research_graph).parameters
    theirs = inspect.signature(create_agent).parameters
    shared = ["model", "tools", "response_format", "checkpointer", "store", "interrupt_before",
              "interrupt_after", "debug", "name", "cache"]  # fmt: skip
    assert set(shared) <= own.keys() & theirs.keys()
    assert list(own)[:2] == list(theirs)[:2] == ["model", "tools"]
    assert all(own[name].kind == theirs[name].kind for name in shared)


def test_every_setting_has_title_and_description_and_essential_ones_come_first():
    fields = oresearch_graph.ResearchSettings.model_fields
    assert all(field.title and field.description for field in fields.values())
    advanced = [bool(field.json_schema_extra) for field in fields.values()]
    assert advanced == sorted(advanced)
