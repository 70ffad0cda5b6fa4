"""Budgets hold: what a run may spend is asked for before it is spent, over a loopback server that
counts for itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import SecretStr

from oresearch_graph import create_research_graph
from oresearch_graph.errors import BudgetExhausted, ConfigurationError, PolicyError
from oresearch_graph.graph import clock
from oresearch_graph.graph.budget import Account, Budget
from oresearch_graph.policies.chat.metering import Cost, metered
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace, Usage
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.server_habits import Fault, Habits, too_many

QUESTION: Any = {"question": "What causes tides?"}
TIDES = ("tides and the Moon", "tides and the Sun")
SUBTASKS = tuple(f"tides {number}" for number in range(1, 21))


async def run(server: OpenAIServer, documents: Any = None, **settings: Any) -> dict[str, Any]:
    explicit = {"rendering": "turns", "effort": "quick", "max_subtasks": 20, **settings}
    graph = create_research_graph(
        "fake", search=documents or Documents(PAGES),
        settings=ResearchSettings(base_url=server.base_url, **explicit),
    )  # fmt: skip
    return await graph.ainvoke(QUESTION)


def asked(server: OpenAIServer) -> list[dict[str, Any]]:
    return [body for body in server.requests if "messages" in body]


def total(trace: Trace) -> Usage:
    whole = Usage(role="planner")
    for usage in trace.usage:
        whole = whole.plus(usage)
    return whole


@pytest.mark.parametrize("calls", [1, 2, 3, 4, 5, 7, 12, 30])
async def test_no_more_calls_than_allowed_and_a_report_from_four_on(calls):
    with OpenAIServer(ResearchBrain(subtasks=SUBTASKS, calls=1)) as server:
        result = await run(server, max_model_calls=calls)
        assert len(asked(server)) <= calls
    trace = result["trace"]
    assert total(trace).calls == len(asked(server))
    if calls >= 4:
        assert result["report"]
        assert trace.outcome == "partial"
        left_out = [f for f in trace.failures if f.name == "not_covered"]
        assert len(left_out) + len(trace.branches) == 20
        answered = {s.branch for s in trace.steps if s.kind == "subtask_answer"}
        assert answered == set(trace.branches), "what was begun was brought to its end"
        assert "the model call budget is enough for" in left_out[0].message


@pytest.mark.parametrize("tokens", [3_000, 6_000, 12_000, 25_000])
@pytest.mark.parametrize("told", [True, False])
async def test_no_more_tokens_than_allowed_whether_they_are_told_or_not(tokens, told):
    brain = ResearchBrain(subtasks=SUBTASKS, calls=6)
    with OpenAIServer(brain, Habits(usage=told)) as server:
        trace = (await run(server, max_tokens=tokens))["trace"]
        spent = server.prompt_tokens + server.completion_tokens
    assert spent <= 1.1 * tokens
    whole = total(trace)
    if told:
        assert (whole.prompt_tokens, whole.completion_tokens) == (
            server.prompt_tokens, server.completion_tokens,
        )  # fmt: skip
        assert whole.estimated_tokens is None
    else:
        assert whole.prompt_tokens is None
        assert whole.estimated_tokens == pytest.approx(spent, rel=0.5)


async def test_a_reply_is_bounded_by_what_is_left():
    with OpenAIServer(ResearchBrain(TIDES, calls=2)) as server:
        await run(server, max_tokens=12_000, bounds={"report": 8_000, "planner": 8_000})
    left = 12_000
    for body in asked(server):
        bound = body.get("max_completion_tokens") or body["max_tokens"]
        assert server.tokens(body) + bound <= left


def endless(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
    text = ResearchBrain(TIDES, calls=1)(messages, body)
    if "<suggested_answer>" in str(text):
        return str(text).partition("</")[0] + "word " * 200_000
    return text


async def test_a_server_that_ignores_its_bound_is_cut_while_it_streams():
    with OpenAIServer(endless, Habits(ignores_bound=True, piece=2_000)) as server:
        began = time.monotonic()
        trace = (await run(server, max_tokens=40_000, continuations=1))["trace"]
        assert time.monotonic() - began < 20
    assert total(trace).tokens <= 60_000


async def test_what_a_server_takes_beyond_its_bound_is_a_named_failure():
    def brain(messages: list[dict[str, Any]], body: dict[str, Any]) -> Any:
        text = ResearchBrain(TIDES, calls=1)(messages, body)
        if "web_search" in str(text) and not body.get("stream"):
            return f"<think>{'word ' * 100_000}</think>{text}"
        return text

    with OpenAIServer(brain, Habits(ignores_bound=True)) as server:
        trace = (await run(server, max_tokens=40_000))["trace"]
    excess = [f for f in trace.failures if f.name == "budget" and "ignores the bound" in f.message]
    assert excess
    assert trace.outcome != "complete"


async def test_tries_that_fail_are_counted_and_estimated():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        server.faults.extend([None, Fault("drop"), Fault("status", 500), None])
        result = await run(server, max_subtasks=1)
    whole = total(result["trace"])
    assert whole.calls == len(asked(server))
    assert whole.unanswered == 2
    assert whole.calls - whole.unanswered == server.answered
    assert whole.prompt_tokens == server.prompt_tokens
    assert whole.estimated_tokens, "the dropped one may have been read"


FAULTS = (Fault("drop"), Fault("empty_choices"), Fault("garbage"), Fault("status", 503, "0"))


@hypothesis_settings(max_examples=8, deadline=None)
@given(
    subtasks=st.integers(1, 4), calls=st.integers(0, 3), told=st.booleans(),
    rendering=st.sampled_from(["turns", "prefill", "tools"]),
    execution=st.sampled_from(["parallel", "sequential"]),
    faults=st.lists(st.sampled_from((None, None, None, *FAULTS)), max_size=4),
)  # fmt: skip
async def test_usage_is_what_the_server_counted(
    subtasks: int, calls: int, told: bool, rendering: str, execution: str, faults: list[Any]
):
    brain = ResearchBrain(SUBTASKS[:subtasks], calls=calls)
    with OpenAIServer(brain, Habits(usage=told), faults=deque(faults)) as server:
        trace = (await run(server, rendering=rendering, execution=execution))["trace"]
    whole = total(trace)
    assert (whole.calls, whole.calls - whole.unanswered) == (len(asked(server)), server.answered)
    counted = (server.prompt_tokens, server.completion_tokens) if server.answered else (None, None)
    assert (whole.prompt_tokens, whole.completion_tokens) == (counted if told else (None, None))
    if not told:
        assert whole.estimated_tokens, "what nobody told is estimated, and marked so"
    elif not whole.unanswered:
        assert whole.estimated_tokens is None


async def test_tries_of_a_given_model_are_counted_too():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        server.faults.extend([None, Fault("status", 500), Fault("drop"), None])
        model = ChatOpenAI(model="fake", base_url=server.base_url, api_key=SecretStr("none"))
        graph = create_research_graph(
            model, search=Documents(PAGES),
            settings=ResearchSettings(rendering="turns", effort="quick", max_subtasks=1),
        )  # fmt: skip
        whole = total((await graph.ainvoke(QUESTION))["trace"])
    assert (whole.calls, whole.unanswered) == (len(asked(server)), 2)
    assert model.root_async_client.max_retries == 2, "the given one is left as it is"


async def test_tries_that_fail_do_not_pass_the_limit():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        server.fault_for = lambda body: Fault("status", 500)
        result = await run(server, max_model_calls=5)
        assert len(asked(server)) <= 5
    assert result["trace"].outcome == "failed"


async def test_a_server_that_asks_one_call_to_wait_an_hour_stops_nobody_else():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        server.faults.extend([None, None, too_many("3600")])
        began = time.monotonic()
        result = await run(server, max_subtasks=2, max_seconds=60)
        assert time.monotonic() - began < 20
    assert result["trace"].outcome == "partial"
    assert result["report"]


class Sleeping(BaseRetriever):
    seconds: float

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        time.sleep(self.seconds)
        return [Document("The Moon causes tides.", metadata={"source": "https://a.org/"})]


def test_a_search_that_hangs_does_not_outlive_the_run():
    began = time.monotonic()
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        trace = asyncio.run(run(server, Sleeping(seconds=30.0), max_seconds=2))["trace"]
    assert time.monotonic() - began < 7
    assert {f.name for f in trace.failures} >= {"tool_error"}


async def test_money_without_a_price_is_refused_at_the_start():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        with pytest.raises(ConfigurationError, match=r"price of fake is not known: set prices="):
            await run(server, max_cost=0.01)
        assert not asked(server)


async def test_money_bounds_replies_and_calls():
    with OpenAIServer(ResearchBrain(subtasks=SUBTASKS, calls=3)) as server:
        prices = {"fake": (1.0, 0.5, 4.0, "2026-11-30")}
        trace = (await run(server, max_cost=0.02, prices=prices))["trace"]
    spent = total(trace)
    assert spent.cost is not None
    assert 0 < spent.cost <= 0.02
    assert any("money" in failure.message for failure in trace.failures)


async def test_waiting_an_hour_for_approval_costs_no_time(monkeypatch):
    late = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + late[0])
    graph = create_research_graph(
        ScriptedPolicy(research_script()), search=Documents(PAGES), checkpointer=InMemorySaver(),
        settings=ResearchSettings(approve_plan=True, max_seconds=60),
    )  # fmt: skip
    thread: Any = {"configurable": {"thread_id": "1"}}
    await graph.ainvoke(QUESTION, thread)
    late[0] += 3_600
    result = await graph.ainvoke(Command(resume={"action": "approve"}), thread)
    assert result["trace"].outcome == "complete"
    assert all(span.start + span.seconds < 60 for span in result["trace"].spans)


async def test_time_that_nodes_worked_is_kept_over_a_pause(monkeypatch):
    late = [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: time.monotonic() + late[0])
    saver = InMemorySaver()

    class Slow(ScriptedPolicy):
        async def continue_thread(self, thread: Any, stop: Sequence[str], **more: Any) -> Any:
            late[0] += 50 if thread.role == "planner" else 0
            return await super().continue_thread(thread, stop, **more)

    def graph() -> Any:
        return create_research_graph(
            Slow(research_script()), search=Documents(PAGES), checkpointer=saver,
            settings=ResearchSettings(approve_plan=True, max_seconds=60, soft_limit=0.8),
        )  # fmt: skip

    thread: Any = {"configurable": {"thread_id": "1"}}
    await graph().ainvoke(QUESTION, thread)
    result = await graph().ainvoke(Command(resume={"action": "approve"}), thread)
    assert {f.name for f in result["trace"].failures} == {"not_covered"}
    assert "the time budget was nearly spent" in result["trace"].failures[0].message


def test_another_try_is_set_aside_and_no_fault_of_the_server():
    budget = Budget(ResearchSettings(max_tokens=40_000), clock.Clock())
    account = Account(budget, "summarizer")
    reserved = account.reserve(Cost(9_000, 1_000))
    account.reserve_try(reserved)
    account.reserve_try(reserved)
    assert budget.tokens == (30_000, 40_000)
    account.reserve_try(reserved)
    with pytest.raises(BudgetExhausted):
        account.reserve_try(reserved)
    account.settle(reserved, 4, Usage(role="summarizer", calls=4, estimated_tokens=36_000))
    assert budget.tokens == (36_000, 40_000)
    assert account.faults == []


def test_what_was_asked_before_there_were_funds_is_billed_to_who_asks_first():
    budget = Budget(ResearchSettings(), clock.Clock())
    with metered("researcher", 2, Account(budget, "researcher", 2)) as meter:
        meter.bill(Usage(role="planner", calls=1, prompt_tokens=15))
    budget.restore("planner", None, [Usage(role="planner", calls=3, prompt_tokens=1_000)])
    assert budget.tokens[0] == 1_015
    assert [(usage.role, usage.branch) for usage in meter.usage] == [("researcher", 2)]


async def test_another_process_goes_on_counting_all_that_was_spent():
    saver = InMemorySaver()

    def graph() -> Any:
        return create_research_graph(
            ScriptedPolicy(research_script(), tokens=1_300), search=Documents(PAGES),
            checkpointer=saver, settings=ResearchSettings(approve_plan=True, max_tokens=3_000),
        )  # fmt: skip

    thread: Any = {"configurable": {"thread_id": "1"}}
    await graph().ainvoke(QUESTION, thread)
    result = await graph().ainvoke(Command(resume={"action": "approve"}), thread)
    assert {failure.name for failure in result["trace"].failures} == {"not_covered"}
    messages = [failure.message for failure in result["trace"].failures]
    assert "subtask 1 was not begun: the token budget was nearly spent" in messages


async def test_a_fork_of_an_ended_run_counts_nothing_twice():
    def script(thread: Any) -> str:
        if thread.branch == 1:
            raise PolicyError("the model's server is gone; start it again")
        return research_script()(thread)

    graph = create_research_graph(
        ScriptedPolicy(script), search=Documents(PAGES), checkpointer=InMemorySaver()
    )
    thread: Any = {"configurable": {"thread_id": "1"}}
    first = (await graph.ainvoke(QUESTION, thread))["trace"]
    forked = await graph.aupdate_state(thread, {}, as_node="summarize")
    second = (await graph.ainvoke(None, forked))["trace"]
    assert (second.usage, second.failures) == (first.usage, first.failures)
