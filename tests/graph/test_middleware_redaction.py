"""PII middleware around researchers: what is redacted reaches no model, no source and no trace."""

from __future__ import annotations

from typing import Any

import pytest
from langchain.agents.middleware import PIIMiddleware, after_model, before_model
from langchain_core.messages import ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.evidence.ledger import SourceLedger, source_block
from oresearch_graph.known_secrets import remember
from oresearch_graph.trace import text_hash
from tests.helpers.middleware_runs import (
    BRAIN,
    MAIL,
    QUESTION,
    RENDERINGS,
    TIDES,
    WITH_MAIL,
    graph,
    model,
    of_researchers,
    traced,
)
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, ToolCalls


def pages_and_input(**options: Any) -> PIIMiddleware[Any, Any]:
    return PIIMiddleware("email", apply_to_tool_results=True, **options)


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_an_address_that_is_redacted_never_reaches_a_model(rendering: str, execution: str):
    with OpenAIServer(BRAIN, RENDERINGS[rendering]) as server:
        trace = traced(
            server, pages_and_input(strategy="redact"), search=Documents(WITH_MAIL),
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


ASKED: Any = {"question": f"What did {MAIL} find out about tides?"}
IN_PLAN = ResearchBrain((f"tides and the Moon, by {MAIL}", TIDES[1]))


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", RENDERINGS)
def test_an_address_in_the_question_reaches_no_researcher(rendering: str, execution: str):
    """Nor one that the planner has put into the plan, which in sequence they write from."""
    brain = IN_PLAN if execution == "parallel" else BRAIN
    with OpenAIServer(brain, RENDERINGS[rendering]) as server:
        subject = graph(server, PIIMiddleware("email"), rendering=rendering, execution=execution)
        trace = subject.invoke(ASKED)["trace"]
    assert trace.outcome == "complete"
    sent = of_researchers(server)
    assert len(sent) == 6
    assert MAIL not in "".join(sent)
    assert all("What did [REDACTED_EMAIL] find out about tides?" in text for text in sent)
    assert trace.changed_by == ("PIIMiddleware[email]",)
    assert trace.question == ASKED["question"], "the record has what was asked"


def test_an_address_in_the_question_is_blocked(server: OpenAIServer):
    trace = graph(server, PIIMiddleware("email", strategy="block")).invoke(ASKED)["trace"]
    assert of_researchers(server) == []
    messages = [f.message for f in trace.failures if f.role == "researcher" and f.branch]
    assert len([m for m in messages if m.startswith("PIIMiddleware[email]: Detected")]) == 2


def test_what_a_hook_adds_to_the_question_stays_with_it(server: OpenAIServer):
    @before_model
    def reminding(state: Any, runtime: Any) -> dict[str, Any]:
        first = state["messages"][0]
        return {"messages": [first.model_copy(update={"content": f"{first.content}\nBe brief."})]}

    trace = traced(server, reminding)
    sent = of_researchers(server)
    assert len(sent) == 6
    assert all(f"{QUESTION['question']}\\nBe brief." in text for text in sent)
    assert all(f"<subtask>{TIDES[0]}</subtask>" in text or TIDES[1] in text for text in sent)
    assert trace.outcome == "complete"


def test_several_observations_of_one_reply_are_all_redacted():
    def brain(messages: Any, body: Body) -> Any:
        reply = BRAIN(messages, body)
        if isinstance(reply, ToolCalls) and reply.calls[0][0] == "web_search":
            return ToolCalls((*reply.calls, ("crawl_page", {"urls": list(PAGES)[:1]})), reply.text)
        return reply

    with OpenAIServer(brain) as server:
        trace = traced(server, pages_and_input(), search=Documents(WITH_MAIL), rendering="tools")
    assert MAIL not in str(server.requests)
    assert sum("[REDACTED_EMAIL]" in s.text for s in trace.steps if s.kind == "observation") >= 4


def test_a_page_that_imitates_heads_of_sources_hides_no_address(server: OpenAIServer):
    heads = "".join(
        f"\n[{1000 * branch + nth}] x\n{url}\n{MAIL} again\n"
        for branch in (1, 2) for nth in (1, 2, 3) for url in PAGES
    )  # fmt: skip
    pages = {url: f"{text}{heads}Write to {MAIL}." for url, text in PAGES.items()}
    trace = traced(server, pages_and_input(), search=Documents(pages))
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


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
def test_what_is_blocked_ends_the_branch_by_name(server: OpenAIServer, execution: str):
    """Nobody else reads it: in sequence, the branches that follow and the summarizer would."""
    trace = traced(
        server, pages_and_input(strategy="block"), search=Documents(WITH_MAIL), execution=execution
    )
    assert MAIL not in str(server.requests)
    assert MAIL not in trace.model_dump_json()
    assert trace.changed_by == ("PIIMiddleware[email]",)
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


class Loose:
    """Writes an address into a reply that breaks the protocol, then mends it."""

    def __init__(self) -> None:
        self.refused = set[str]()

    def __call__(self, messages: Any, body: Body) -> Any:
        text = str(messages)
        subtask = next(
            each for each in (*TIDES, "") if f"<subtask>{each}</subtask>" in text or not each
        )
        if not subtask or "suggested_answer" in text[-400:] or subtask in self.refused:
            return BRAIN(messages, body)
        self.refused.add(subtask)
        return f"I would ask {MAIL} first."


@pytest.mark.parametrize("redacts", [True, False])
def test_a_reply_that_was_refused_is_kept_without_what_is_redacted(redacts: bool):
    heard: list[str] = []

    @after_model
    def hearing(state: Any, runtime: Any) -> None:
        heard.append(str(state["messages"][-1].text))

    middleware = PIIMiddleware("email", apply_to_output=True) if redacts else hearing
    with OpenAIServer(Loose()) as server:
        trace = traced(server, middleware)
    assert trace.outcome == "complete"
    repaired = [f for f in trace.failures if f.name == "repaired"]
    assert len(repaired) == 2
    assert (MAIL in trace.model_dump_json()) == (not redacts)
    assert all((f.rejected is None) == redacts for f in repaired)
    assert trace.changed_by == ()
    assert redacts or sum(MAIL in text for text in heard) == 2


def test_a_secret_that_a_hook_writes_is_withheld(server: OpenAIServer):
    remember("sekret-9f8e7d6c5b")

    @before_model
    def leaking(state: Any, runtime: Any) -> dict[str, Any] | None:
        last = state["messages"][-1]
        if not isinstance(last, ToolMessage):
            return None
        return {"messages": [last.model_copy(update={"content": "Use sekret-9f8e7d6c5b."})]}

    trace = traced(server, leaking)
    assert "sekret-9f8e7d6c5b" not in str(server.requests)
    assert "sekret-9f8e7d6c5b" not in trace.model_dump_json()
    assert "Use [redacted]." in [step.text for step in trace.steps]


def test_what_was_redacted_stays_so_where_a_later_hook_ends_the_branch(server: OpenAIServer):
    @before_model(can_jump_to=["end"])
    def ending(state: Any, runtime: Any) -> dict[str, Any] | None:
        seen = any(isinstance(message, ToolMessage) for message in state["messages"])
        return {"jump_to": "end"} if seen else None

    trace = traced(server, pages_and_input(), ending, search=Documents(WITH_MAIL))
    assert [step.kind for step in trace.branches[1]][-1] == "observation"
    assert MAIL not in trace.model_dump_json()


def test_what_broke_the_protocol_to_the_end_is_not_quoted_either():
    def brain(messages: Any, body: Body) -> Any:
        reply = str(BRAIN(messages, body))
        return reply.replace("<subtask_answer>", f"Ask {MAIL}.\n<subtask_answer>")

    with OpenAIServer(brain) as server:
        redacts = PIIMiddleware("email", apply_to_output=True)
        trace = traced(server, redacts, corrections=1)
    assert {f.name for f in trace.failures if f.branch} == {"repaired", "grammar"}
    assert MAIL not in trace.model_dump_json()
    assert trace.changed_by == ("PIIMiddleware[email]",)
