"""PII middleware around researchers: what is redacted reaches no model, no source and no trace."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents.middleware import PIIMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.ledger import SourceLedger, source_block
from oresearch_graph.trace import text_hash
from tests.helpers.middleware_runs import (
    BRAIN,
    MAIL,
    QUESTION,
    RENDERINGS,
    WITH_MAIL,
    model,
    traced,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, ToolCalls


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(BRAIN) as running:
        yield running


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_an_address_that_is_redacted_never_reaches_a_model(rendering: str, execution: str):
    with OpenAIServer(BRAIN, RENDERINGS[rendering]) as server:
        trace = traced(
            server, PIIMiddleware("email", strategy="redact"), search=Documents(WITH_MAIL),
            rendering=rendering, execution=execution,
        )  # fmt: skip
    assert trace.outcome == "complete"
    assert MAIL not in str(server.requests)
    assert "[REDACTED_EMAIL]" in str(server.requests)
    assert MAIL not in trace.model_dump_json()
    assert trace.changed_by == ("PIIMiddleware[email]",)
    assert all("[REDACTED_EMAIL]" in source.text for source in trace.sources or ())
    assert trace.citations
    assert all(claim.status != "dangling" for claim in trace.citations.claims)


def test_several_observations_of_one_reply_are_all_redacted():
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "web_search":
            return ToolCalls((*reply.calls, ("crawl_page", {"urls": list(PAGES)[:1]})), reply.text)
        return reply

    with OpenAIServer(brain) as server:
        trace = traced(
            server, PIIMiddleware("email"), search=Documents(WITH_MAIL), rendering="tools"
        )
    assert MAIL not in str(server.requests)
    assert sum("[REDACTED_EMAIL]" in s.text for s in trace.steps if s.kind == "observation") >= 4


def test_a_page_that_imitates_heads_of_sources_hides_no_address(server: OpenAIServer):
    heads = "".join(
        f"\n[{1000 * branch + nth}] x\n{url}\n{MAIL} again\n"
        for branch in (1, 2) for nth in (1, 2, 3) for url in PAGES
    )  # fmt: skip
    pages = {url: f"{text}{heads}Write to {MAIL}." for url, text in PAGES.items()}
    trace = traced(server, PIIMiddleware("email"), search=Documents(pages))
    assert MAIL not in trace.model_dump_json()
    assert MAIL not in str(server.requests)


def test_a_ledger_keeps_of_an_observation_what_it_shows():
    ledger = SourceLedger(1)
    ledger.show("https://a.example", "Said elsewhere.", title="A")
    blocks = [
        source_block(ledger.show(url, text, title=url[8:]), text)
        for url, text in {
            "https://a.example": "Write to a@b.example.", "https://b.example": "B is here.",
            "https://c.example": "C is here.",
        }.items()
    ]  # fmt: skip
    before = "\n\n".join(blocks)
    assert ledger.copy().reshow(before, before) == [1001, 1002, 1003]
    after = "\n\n".join([blocks[0].replace("a@b.example", "[MAIL]"), blocks[2]])
    copy = ledger.copy()
    assert copy.reshow(before, after) == [1001, 1003]
    assert [source.url for source in copy.sources] == ["https://a.example", "https://c.example"]
    assert copy.sources[0].text.split("\n[…]\n") == ["Said elsewhere.", "Write to [MAIL]."]
    assert copy.sources[0].sha256 == text_hash(copy.sources[0].text)
    assert len(ledger.sources) == 3, "the first stays as it was"


def test_a_run_with_middleware_does_not_go_on_without(server: OpenAIServer):
    keeps = InMemorySaver()
    config: Any = {"configurable": {"thread_id": "1"}}
    begun, resumed = (
        create_research_graph(
            model(server), middleware=middleware, search=Documents(WITH_MAIL), checkpointer=keeps,
            settings=ResearchSettings(rendering="turns", effort="quick", approve_plan=True),
        )
        for middleware in ([PIIMiddleware("email")], [])
    )  # fmt: skip
    begun.invoke(QUESTION, config)
    approved: Any = Command(resume={"action": "approve"})
    with pytest.raises(ConfigurationError, match=r"begun with middleware=PIIMiddleware\[email\]"):
        resumed.invoke(approved, config)


def test_what_is_blocked_ends_the_branch_by_name(server: OpenAIServer):
    trace = traced(server, PIIMiddleware("email", strategy="block"), search=Documents(WITH_MAIL))
    assert MAIL not in str(server.requests)
    messages = [f.message for f in trace.failures if f.role == "researcher" and f.branch]
    assert any(m.startswith("PIIMiddleware[email]: Detected") for m in messages)
    assert trace.outcome == "failed"


def test_what_a_researcher_says_may_be_redacted(server: OpenAIServer):
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        return reply.replace("is what the sources", f"({MAIL}) is what the sources")  # type: ignore[union-attr]

    server.brain = brain
    trace = traced(server, PIIMiddleware("email", apply_to_output=True))
    answers = [step for step in trace.steps if step.kind == "subtask_answer"]
    assert len(answers) == 2
    assert all("[REDACTED_EMAIL]" in step.text and MAIL not in step.text for step in answers)
    assert trace.changed_by == ("PIIMiddleware[email]",)
