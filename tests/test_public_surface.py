"""The names people rely on."""

from __future__ import annotations

from typing import get_args

import oresearch_graph
from oresearch_graph.events import Event

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


def test_a_name_that_is_not_there_is_an_attribute_error():
    assert not hasattr(oresearch_graph, "create_research_grpah")


def test_the_events_of_the_contract():
    union = get_args(Event)[0]
    assert {kind.model_fields["type"].default for kind in get_args(union)} == {
        "oresearch.plan",
        "oresearch.subtask_started",
        "oresearch.subtask_finished",
        "oresearch.subtask_failed",
        "oresearch.call",
        "oresearch.observation",
        "oresearch.report_text",
        "oresearch.verified",
    }


def test_every_setting_has_title_and_description_and_essential_ones_come_first():
    fields = oresearch_graph.ResearchSettings.model_fields
    assert all(field.title and field.description for field in fields.values())
    advanced = [bool(field.json_schema_extra) for field in fields.values()]
    assert advanced == sorted(advanced)
