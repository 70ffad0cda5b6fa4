"""A person between plan and research."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph, event_from, violations
from oresearch_graph.events import Planned
from tests.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}
QUESTION: Any = {"question": "q"}


def graph(checkpointer: Any = None, **settings: Any) -> Any:
    return create_research_graph(
        ScriptedPolicy(research_script()),
        search=Documents(PAGES),
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


async def test_an_answer_that_is_no_decision_is_asked_for_again():
    built = graph()
    await built.ainvoke(QUESTION, THREAD)
    for wrong, fault in (("yes", "answer cannot be 'yes'"), ({"action": "go"}, "action cannot be")):
        (stop,) = (await built.ainvoke(Command(resume=wrong), THREAD))["__interrupt__"]
        assert fault in stop.value["fault"]
    result = await built.ainvoke(Command(resume={"action": "approve"}), THREAD)
    assert result["trace"].outcome == "complete"


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
