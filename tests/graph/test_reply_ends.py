"""Why a reply ended, in every provider's word: an end, a cut, a broken-off reply, a filter."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage

from oresearch_graph.errors import PolicyError, PolicyRefused
from oresearch_graph.graph.build import create_research_graph
from oresearch_graph.policies.chat.model_call import Patience
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.reply import read_message
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import (
    Fault,
    Habits,
)

STOP = ("</subtask_list>",)
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
QUICK = Patience(silence=0.2, tries=3, backoff=0.01)
BROKEN = (
    "insufficient_system_resource", "error", "network_error", "abort", "cancelled", "OTHER",
    "MALFORMED_FUNCTION_CALL", "FinishReason.UNEXPECTED_TOOL_CALL", "TIME_LIMIT", "null",
    "a word that nobody knows",
)  # fmt: skip
FILTERED = (
    "sensitive", "content_filter", "SAFETY", "RECITATION", "PROHIBITED_CONTENT", "BLOCKLIST",
    "SPII", "guardrail_intervened", "refusal", "FinishReason.SAFETY", "content_filtered",
    "ERROR_TOXIC",
)  # fmt: skip
ENDS = (
    "stop", "end_turn", "tool_calls", "tool_use", "function_call", "STOP", "COMPLETE", "eos",
    "eos_token", "stop_sequence", "STOP_SEQUENCE", "FinishReason.STOP", "stopstop", "FINISH",
)  # fmt: skip
CUTS = (
    "length", "max_tokens", "MAX_TOKENS", "model_length", "pause_turn", "max_output_tokens",
    "model_context_window_exceeded",
)  # fmt: skip


def ended(word: str) -> str | None:
    return read_message(AIMessage("x", response_metadata={"finish_reason": word})).finish


def test_every_word_is_of_one_kind() -> None:
    assert {ended(word) for word in ENDS} == {"stop"}
    assert {ended(word) for word in CUTS} == {"length"}
    assert {ended(word) for word in FILTERED} == {"filter"}
    assert {ended(word) for word in BROKEN} == {"fault"}


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("word", BROKEN)
async def test_a_reply_that_was_broken_off_is_tried_again(word: str, streams: bool) -> None:
    listener = (lambda _: None) if streams else None
    with OpenAIServer(research_brain, Habits(finish=word)) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        with pytest.raises(PolicyError, match=r"broke the answer off .*3 tries") as raised:
            await chat.continue_thread(PLAN, STOP, on_text=listener)
        assert len(server.requests) == 3
        assert not isinstance(raised.value, PolicyRefused)
        server.habits = Habits()
        assert (await chat.continue_thread(PLAN, STOP, on_text=listener)).stop == "stop"
        await chat.aclose()


@pytest.mark.parametrize("streams", [False, True])
@pytest.mark.parametrize("word", FILTERED)
async def test_a_filter_is_named_at_once(word: str, streams: bool) -> None:
    listener = (lambda _: None) if streams else None
    with OpenAIServer(lambda *_: "", Habits(finish=word)) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        with pytest.raises(PolicyError, match="the provider's content filter refused"):
            await chat.continue_thread(PLAN, STOP, on_text=listener)
        assert len(server.requests) == 1
        await chat.aclose()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "content_filter", "message": "The response was filtered due to "
               "the prompt triggering Azure OpenAI's content management policy."}}),
        (400, {"error": {"code": "1301", "message": "input may contain sensitive content"}}),
        (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate "
               "content."}),
        (403, {"error": {"message": "This input was flagged by moderation", "code": 403}}),
        (400, {"error": {"message": "Content Exists Risk"}}),
        (400, "Output blocked by content filtering policy"),
    ],
)  # fmt: skip
async def test_a_filter_that_answers_with_an_error(status: int, body: Any) -> None:
    with OpenAIServer(research_brain) as server:
        server.fault_for = lambda _: Fault("status", status, body=body)
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        with pytest.raises(PolicyError, match="the provider's content filter refused"):
            await chat.continue_thread(PLAN, STOP)
        assert len(server.requests) == 1
        await chat.aclose()


async def test_a_refusal_in_a_field_of_its_own() -> None:
    with OpenAIServer(research_brain, Habits(refusal="I cannot help with that.")) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        with pytest.raises(PolicyError, match="the provider's content filter refused"):
            await chat.continue_thread(PLAN, STOP)
        await chat.aclose()


@pytest.mark.parametrize(
    "message",
    [
        AIMessage("", response_metadata={"prompt_feedback": {"block_reason": "SAFETY"}}),
        AIMessage([{"type": "refusal", "refusal": "no"}], response_metadata={"status":
                  "completed"}),
    ],
)  # fmt: skip
def test_refusals_beside_the_reason(message: AIMessage) -> None:
    assert read_message(message).finish == "filter"


@pytest.mark.parametrize("word", ["sensitive", "insufficient_system_resource"])
async def test_no_branch_is_the_policys_fault(word: str) -> None:
    """Seen: six corrections and "no evidence (policy)"; half an answer taken for a whole one."""

    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        made = research_brain(messages, body)
        server.habits = Habits(finish=None if "<subtask_list>" in str(made) else word)
        return made

    with OpenAIServer(brain) as server:
        chat = ChatPolicy("fake", base_url=server.base_url, rendering="turns", patience=QUICK)
        settings, documents = ResearchSettings(effort="quick"), Documents(PAGES)
        graph = create_research_graph(chat, search=documents, reader=documents, settings=settings)
        state = await graph.ainvoke({"question": "Why are there tides?"})
        await chat.aclose()
    failures = state["trace"].failures
    assert failures
    assert {failure.fault for failure in failures} == {"infrastructure"}
    assert not any(failure.name in {"repaired", "grammar", "no_evidence"} for failure in failures)
