"""DeepSeek and Mistral continue the final assistant message where it has `prefix: true`. Not
recorded: written after DeepSeek's guide "Chat Prefix Completion" and Mistral's "Prefix" guide."""

from __future__ import annotations

from typing import Any

import pytest

from oresearch_graph import create_research_graph, violations
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.probe import PACE, PACES, PROBES
from oresearch_graph.settings import ResearchSettings
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Habits

DEEPSEEK = Habits(on_final_assistant="prefix", keeps_stop=False)
MISTRAL = Habits(on_final_assistant="prefix, echo", echoes_stream=True, keeps_stop=False)


@pytest.fixture(autouse=True)
def _no_probe_is_remembered() -> None:
    PROBES.forget()
    PACES.forget()


@pytest.mark.parametrize(
    ("owner", "habits", "path"), [("deepseek", DEEPSEEK, "/beta"), ("mistralai", MISTRAL, "/v1")]
)
async def test_a_beginning_is_sent_in_the_servers_own_form(
    owner: str, habits: Habits, path: str
) -> None:
    brain = ResearchBrain(subtasks=("The cause of tides",))
    with OpenAIServer(brain, habits, owned_by=owner) as server:
        chat = ChatPolicy("fake", base_url=server.base_url.replace("/v1", path))
        documents = Documents(PAGES)
        graph = create_research_graph(
            chat, search=documents, reader=documents,
            settings=ResearchSettings(effort="quick", corrections=0),
        )  # fmt: skip
        trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
        reason = await chat.settle()
        await chat.aclose()
    assert reason.startswith("prefill: the server continues an assistant message")
    assert trace.outcome == "complete"
    assert violations(trace) == ()
    assert {step.opened for step in trace.steps if step.kind == "subtask_list"} == {"given"}
    pace = str(PACE[-1].content)  # is tried where the machine is busy and the server seems slow
    asked = [body for body in server.requests if body["messages"][-1]["content"] != pace]
    assert len(asked) > 5
    for body in asked:
        *before, last = body["messages"]
        assert last["role"] == "assistant"
        assert last["prefix"] is True
        assert not any("prefix" in message for message in before)
        assert not {"continue_final_message", "include_stop_str_in_output"} & body.keys()
        assert "max_completion_tokens" not in body


async def test_deepseek_without_beta_continues_nothing_and_says_why() -> None:
    with OpenAIServer(ResearchBrain(), DEEPSEEK, owned_by="deepseek") as server:
        chat = ChatPolicy("fake", base_url=server.base_url)
        reason = await chat.settle()
        await chat.aclose()
    assert reason.startswith("turns: ")
    assert "/beta" in reason
    assert not server.requests


async def test_a_server_that_answers_anew_all_the_same_gets_turns() -> None:
    habits: Any = Habits(on_final_assistant="restart")
    with OpenAIServer(ResearchBrain(), habits, owned_by="mistralai") as server:
        chat = ChatPolicy("fake", base_url=server.base_url)
        assert (await chat.settle()).startswith("turns: the server answers anew")
        await chat.aclose()
    assert server.requests[0]["messages"][-1]["prefix"] is True
