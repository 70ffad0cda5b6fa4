"""What an operator reads on the logger `oresearch_graph`: a run's beginning and end, tries that are
repeated, pauses, a budget that is nearly spent; nobody's question and no key."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oresearch_graph import ResearchSettings, create_research_graph
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Fault, too_many

QUESTION: Any = {"question": "What causes tides?"}
BRAIN = ResearchBrain(("tides and the Moon", "tides and the Sun"), calls=1)


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "oresearch_graph")


async def run(server: OpenAIServer, **settings: Any) -> Any:
    explicit = {"rendering": "turns", "verifier": "off", **settings}
    graph = create_research_graph(
        "fake", search=Documents(PAGES),
        settings=ResearchSettings(base_url=server.base_url, **explicit),
    )  # fmt: skip
    return (await graph.ainvoke(QUESTION))["trace"]


async def test_a_run_tells_its_beginning_and_its_end(caplog: pytest.LogCaptureFixture):
    with OpenAIServer(BRAIN) as server:
        trace = await run(server)
    calls = sum(usage.calls for usage in trace.usage)
    tokens = sum(usage.tokens for usage in trace.usage)
    assert caplog.messages == [
        f"run {trace.id} began: fake",
        f"run {trace.id} ended: complete; {calls} model calls, {tokens} tokens, failures: none",
    ]
    assert {record.__dict__["run_id"] for record in caplog.records} == {trace.id}
    assert "tides" not in caplog.text


async def test_tries_and_pauses_are_told(caplog: pytest.LogCaptureFixture):
    with OpenAIServer(BRAIN) as server:
        server.faults.extend([None, Fault("status", 503, "0"), too_many("0")])
        trace = await run(server)
    tries = [record for record in caplog.records if ": try " in record.message]
    assert [record.message.partition(": try ")[2][:16] for record in tries] == [
        "2 of fake in 0.0", "2 of fake in 0.0",
    ]  # fmt: skip
    assert {code for code in ("503", "429") for each in tries if code in each.message} == {
        "503", "429",
    }  # fmt: skip
    assert {record.__dict__["run_id"] for record in tries} == {trace.id}
    assert "fake asks for fewer requests for 0 s" in caplog.messages


async def test_a_budget_that_is_nearly_spent_is_told_once(caplog: pytest.LogCaptureFixture):
    with OpenAIServer(BRAIN) as server:
        trace = await run(server, max_model_calls=5)
    warned = [record for record in caplog.records if " budget: " in record.message]
    assert [record.levelname for record in warned] == ["WARNING"]
    assert warned[0].message.startswith(f"run {trace.id}: model call budget: ")
    assert warned[0].message.endswith(" spent")
