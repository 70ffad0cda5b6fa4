"""A person between plan and research."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph, event_from, violations
from oresearch_graph.graph.events import Planned
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
QUESTION: Any = {"question": "q"}


class Spent:
    """Counts the calls of model and tools."""

    calls = 0

    def script(self, thread: Thread) -> str:
        self.calls += 1
        return research_script()(thread)

    def documents(self) -> Documents:
        spent = self

        class Counted(Documents):
            async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
                spent.calls += 1
                return await super().search(queries, k)

        return Counted(PAGES)


def graph(checkpointer: Any = None, spent: Spent | None = None, **settings: Any) -> Any:
    spent = spent or Spent()
    return create_research_graph(
        ScriptedPolicy(spent.script),
        search=spent.documents(),
        checkpointer=checkpointer or InMemorySaver(),
        settings=ResearchSettings(approve_plan=True, **settings),
    )


async def test_what_a_person_is_shown():
    (stop,) = (await graph(max_cost=2.5).ainvoke(QUESTION, THREAD))["__interrupt__"]
    assert stop.value["subtasks"] == ["What causes tides?", "How large are tides?"]
    assert stop.value["overlaps"] == [{"subtasks": [1, 2], "overlap": 0.33}]
    assert stop.value["at_most"]["tool_calls"] == 16
    assert stop.value["at_most"]["cost"] == 2.5
    actions = stop.value["answer_with"]["properties"]["action"]["enum"]
    assert actions == ["approve", "edit", "reject"]


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize(
    ("answer", "subtasks", "outcome"),
    [
        ({"action": "approve"}, 2, "complete"),
        ({"action": "edit", "subtasks": ["What causes tides?"]}, 1, "complete"),
        ({"action": "reject", "reason": "too broad"}, 0, "failed"),
    ],
    ids=["approve", "edit", "reject"],
)
async def test_the_plan_is_approved_edited_or_rejected(answer, subtasks, outcome, execution):
    built = graph(execution=execution)
    await built.ainvoke(QUESTION, THREAD)
    trace = (await built.ainvoke(Command(resume=answer), THREAD))["trace"]
    assert (len(trace.branches), trace.outcome) == (subtasks, outcome)
    assert all(violation.declared for violation in violations(trace))


async def test_an_edited_plan_is_the_worlds_and_is_told():
    built = graph()
    await built.ainvoke(QUESTION, THREAD)
    answer: Command[Any] = Command(resume={"action": "edit", "subtasks": ["What causes tides?"]})
    parts = [part async for part in built.astream(answer, THREAD, stream_mode="custom")]
    assert event_from(parts[0]) == Planned(subtasks=("What causes tides?",))
    trace = (await built.aget_state(THREAD)).values["trace"]
    assert (trace.steps[0].kind, trace.steps[0].author) == ("subtask_list", "world")


async def test_a_rejected_plan_gives_no_report_and_its_reason():
    built = graph()
    await built.ainvoke(QUESTION, THREAD)
    answer: Command[Any] = Command(resume={"action": "reject", "reason": "too broad"})
    result = await built.ainvoke(answer, THREAD)
    assert result["report"] is None
    assert {failure.name for failure in result["trace"].failures} == {"plan_rejected"}
    assert "the plan was rejected: too broad" in result["messages"][-1].text


def decisions(*each: Any) -> dict[str, Any]:
    """LangChain's form of an answer."""
    return {"decisions": list(each)}


def edited(arguments: Any, name: str = "research") -> dict[str, Any]:
    return {"type": "edit", "edited_action": {"name": name, "args": arguments}}


def inbox_edit(subtasks: Any, action: str = "research") -> dict[str, Any]:
    """As agent-chat-ui sends it."""
    return {"type": "edit", "args": {"action": action, "args": {"subtasks": subtasks}}}


NO_ANSWERS: dict[str, tuple[Any, str | None]] = {
    "a word": ("yes", "answer cannot be 'yes'"),
    "approve, bare": ("approve", "answer cannot be"),
    "true": (True, "answer cannot be True"),
    "false": (False, "answer cannot be False"),
    "zero": (0, "answer cannot be 0"),
    "a list": (["approve"], "answer.0 cannot be 'approve'"),
    "two responses": ([{"type": "accept"}, {"type": "accept"}], "answer cannot be"),
    "a response in words": (
        [{"type": "response", "args": "go"}],
        "be 'response': it is one of 'accept'",
    ),
    "an ignore with words": ([{"type": "ignore", "args": "?"}], "args cannot be '?'"),
    "an inbox's edit to nothing": ([inbox_edit(" \n")], "edit needs the subtasks"),
    "an inbox's edit to a list": ([inbox_edit(["One"])], "subtasks cannot be ['One']"),
    "an inbox's edit of another action": ([inbox_edit("One", "rm")], "action cannot be 'rm'"),
    "an inbox's endless edit": ([inbox_edit("x" * 999_999)], "subtasks cannot be"),
    "nothing": ({}, None),  # LangGraph itself takes it for no answer, and asks again
    "another field": ({"foo": 1}, "action is missing"),
    "LangChain's type alone": ({"type": "reject"}, "action is missing"),
    "another action": ({"action": "go"}, "action cannot be"),
    "an action in capitals": ({"action": "Approve"}, "action cannot be"),
    "a list of actions": ({"action": ["approve"]}, "action cannot be"),
    "an unknown field": ({"action": "approve", "foo": 1}, "foo is no field"),
    "an endless field": ({"action": "approve", "x" * 9_000: 1}, "is no field"),
    "approved, with subtasks": ({"action": "approve", "subtasks": ["One"]}, "takes no subtasks"),
    "approved, with a reason": ({"action": "approve", "reason": "no!"}, "takes no reason"),
    "rejected, with subtasks": ({"action": "reject", "subtasks": ["One"]}, "takes no subtasks"),
    "edit alone": ({"action": "edit"}, "edit needs the subtasks"),
    "edit to nothing": ({"action": "edit", "subtasks": []}, "edit needs the subtasks"),
    "edit to blanks": ({"action": "edit", "subtasks": [" ", "\n"]}, "edit needs the subtasks"),
    "edit to a text": ({"action": "edit", "subtasks": "One"}, "subtasks cannot be 'One'"),
    "edit to numbers": ({"action": "edit", "subtasks": [1]}, "subtasks.0 cannot be 1"),
    "edit to null": ({"action": "edit", "subtasks": None}, "subtasks cannot be None"),
    "too many": ({"action": "edit", "subtasks": ["One"] * 6}, "6 subtasks are more than the limit"),
    "far too many": ({"action": "edit", "subtasks": ["One"] * 99_999}, "more than the limit of 5"),
    "too long": ({"action": "edit", "subtasks": ["x" * 99_999]}, "subtasks.0 cannot be"),
    "no decision": (decisions(), "decisions cannot be"),
    "decisions of no list": ({"decisions": {"type": "approve"}}, "decisions cannot be"),
    "a word for a decision": (decisions("approve"), "decisions.0 cannot be 'approve'"),
    "a decision of nothing": (decisions({}), "decisions.0 cannot be {}"),
    "two decisions": (decisions({"type": "approve"}, {"type": "approve"}), "decisions cannot be"),
    "two forms": (decisions({"type": "approve"}) | {"action": "approve"}, "action is no field"),
    "a respond": (decisions({"type": "respond", "message": "go"}), "type cannot be 'respond'"),
    "an endless type": (decisions({"type": "\x1b" * 9_000}), "type cannot be"),
    "approve, with more": (decisions({"type": "approve", "message": "no"}), "message is no field"),
    "LangChain's edit alone": (decisions({"type": "edit"}), "edited_action is missing"),
    "LangChain's edit to nothing": (decisions(edited({"subtasks": []})), "edit needs"),
    "an edit of another action": (decisions(edited({"subtasks": ["One"]}, "rm")), "name cannot be"),
    "an edit of other arguments": (decisions(edited({"question": "x"})), "subtasks is missing"),
}


async def test_what_is_no_answer_is_asked_for_again_and_nothing_is_spent():
    """On one thread, as LangGraph keeps every answer it was given."""
    spent = Spent()
    built = graph(spent=spent)
    await built.ainvoke(QUESTION, THREAD)
    assert spent.calls == 1  # the planner's
    for case, (answer, fault) in NO_ANSWERS.items():
        (stop,) = (await built.ainvoke(Command(resume=answer), THREAD))["__interrupt__"]
        told = stop.value.get("fault", "")
        assert fault is None or fault in told, f"{case}: {told}"
        assert len(told) < 300, case
        assert told.isprintable(), case
        assert spent.calls == 1, case
    with suppress(UnboundLocalError):  # LangGraph 1.2.22 fails on it, before any node
        await built.ainvoke(Command(resume=None), THREAD)
    assert spent.calls == 1
    result = await built.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert result["trace"].outcome == "complete"


@pytest.mark.parametrize(
    ("answer", "subtasks", "outcome"),
    [
        (decisions({"type": "approve"}), 2, "complete"),
        (decisions(edited({"subtasks": [" What causes\ntides? "]})), 1, "complete"),
        (decisions({"type": "reject"}), 0, "failed"),
        (decisions({"type": "reject", "message": "too broad"}), 0, "failed"),
        ({"action": "approve", "subtasks": [], "reason": ""}, 2, "complete"),
        ([{"type": "accept", "args": None}], 2, "complete"),
        ([{"type": "accept", "args": {"action": "research", "args": {}}}], 2, "complete"),
        ([inbox_edit("1. What causes tides?\n2. How large\nare they?")], 2, "complete"),
        ([{"type": "ignore", "args": None}], 0, "failed"),
    ],
    ids=[
        "approve", "edit", "reject", "reject with its reason", "a form left alone",
        "accept", "accept what was sent", "edit lines", "ignore",
    ],
)  # fmt: skip
async def test_an_inboxs_form_has_its_meaning(answer, subtasks, outcome):
    built = graph()
    (stop,) = (await built.ainvoke(QUESTION, THREAD))["__interrupt__"]
    trace = (await built.ainvoke(Command(resume={stop.id: answer}), THREAD))["trace"]
    assert (len(trace.branches), trace.outcome) == (subtasks, outcome)
    if "too broad" in str(answer):
        assert "the plan was rejected: too broad" in trace.failures[0].message


async def test_an_inbox_can_draw_its_buttons():
    (stop,) = (await graph().ainvoke(QUESTION, THREAD))["__interrupt__"]
    (request,), (review,) = stop.value["action_requests"], stop.value["review_configs"]
    assert request["name"] == review["action_name"]
    assert request["args"] == {"subtasks": ["What causes tides?", "How large are tides?"]}
    assert review["allowed_decisions"] == ["approve", "edit", "reject"]
    assert stop.response_schema["required"] == ["action"]
    assert stop.value["action_request"] == {
        "action": "research",
        "args": {"subtasks": "1. What causes tides?\n2. How large are tides?"},
    }
    allowed = [name for name, allows in stop.value["config"].items() if allows]
    assert allowed == ["allow_accept", "allow_edit", "allow_ignore"]


async def test_a_second_answer_changes_nothing():
    spent = Spent()
    built = graph(spent=spent)
    await built.ainvoke(QUESTION, THREAD)
    first = await built.ainvoke(Command(resume={"action": "reject"}), THREAD)
    calls = spent.calls
    again = await built.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert again["trace"] == first["trace"]
    assert spent.calls == calls


async def test_another_process_takes_the_decision(tmp_path: Path):
    path = str(tmp_path / "state.sqlite")
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        await graph(saver).ainvoke(QUESTION, THREAD)
    async with AsyncSqliteSaver.from_conn_string(path) as saver:
        built = graph(saver)
        (stop,) = (await built.aget_state(THREAD)).interrupts
        assert stop.value["question"] == "q"
        result = await built.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert result["trace"].outcome == "complete"


async def test_the_time_a_person_takes_counts_against_no_limit(monkeypatch: pytest.MonkeyPatch):
    built = graph(max_seconds=60)
    await built.ainvoke(QUESTION, THREAD)
    later = time.time() + 3_600
    monkeypatch.setattr(time, "time", lambda: later)
    trace = (await built.ainvoke(Command(resume={"action": "approve"}), THREAD))["trace"]
    assert (trace.outcome, len(trace.branches)) == ("complete", 2)
    assert max(span.start + span.seconds for span in trace.spans) < 60
