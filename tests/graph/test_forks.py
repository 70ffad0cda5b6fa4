"""A run taken up again at an earlier step, edited as Studio edits: plain JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.messages import BaseMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Overwrite, StateSnapshot
from pydantic import BaseModel, ValidationError

from oresearch_graph import ResearchSettings, Trace, create_research_graph, violations
from oresearch_graph.threads import Thread
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}


def plain(value: Any) -> Any:
    """The value as it comes back from a browser."""
    if isinstance(value, Overwrite):
        return plain(value.value)
    if isinstance(value, BaseModel | BaseMessage):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


class Forked:
    """A finished run and its checkpoints."""

    def __init__(self, **settings: Any) -> None:
        self.policy = ScriptedPolicy(research_script(turns=2))
        self.graph = create_research_graph(
            self.policy,
            search=Documents(PAGES),
            checkpointer=InMemorySaver(),
            settings=ResearchSettings(**settings),
        )

    async def run(self) -> Trace:
        trace: Trace = (await self.graph.ainvoke({"question": "What causes tides?"}, THREAD))[
            "trace"
        ]
        return trace

    async def before(self, node: str) -> StateSnapshot:
        history = [each async for each in self.graph.aget_state_history(THREAD)]
        return next(each for each in history if each.next[:1] == (node,))

    async def fork(self, node: str, **edits: Any) -> Trace:
        """Run again from behind `node`, whose update is edited."""
        before = await self.before(node)
        update = plain(before.tasks[0].result) | edits
        config = await self.graph.aupdate_state(before.config, update, as_node=node)
        self.policy.threads.clear()
        trace: Trace = (await self.graph.ainvoke(None, config))["trace"]
        return trace


def asked(threads: Sequence[Thread]) -> list[tuple[str, int | None]]:
    return [(thread.role, thread.branch) for thread in threads]


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("node", ["prepare", "plan", "summarize"])
async def test_a_nodes_update_may_come_back_as_plain_json(node: str, execution: str):
    forked = Forked(execution=execution)
    first = await forked.run()
    second = await forked.fork(node)
    assert second.steps == first.steps
    assert (second.outcome, second.failures) == ("complete", ())
    assert violations(second) == ()


async def test_only_what_follows_a_fork_is_run_again():
    forked = Forked()
    await forked.run()
    await forked.fork("summarize")
    assert forked.policy.threads == []
    await forked.fork("plan")
    assert {role for role, _ in asked(forked.policy.threads)} == {"researcher", "summarizer"}


@pytest.mark.parametrize("subtasks", [["Where are tides?", "When are tides?"], ["Tides?"]])
async def test_subtasks_edited_alone_become_a_plan_that_no_policy_wrote(subtasks: list[str]):
    forked = Forked()
    await forked.run()
    trace = await forked.fork("plan", subtasks=subtasks)
    assert list(trace.subtasks) == subtasks
    assert [step.text for step in trace.steps if step.kind == "subtask"] == subtasks
    assert trace.steps[0].author == "world"
    assert violations(trace) == ()


async def test_a_plan_edited_until_nothing_is_left_says_so():
    forked = Forked()
    await forked.run()
    trace = await forked.fork("plan", subtasks=[])
    assert trace.outcome == "failed"
    assert [failure.name for failure in trace.failures] == ["plan_rejected"]


async def test_subtasks_beyond_the_limit_leave_the_policys_plan_as_it_wrote_it():
    trace = await Forked(max_subtasks=1).run()
    assert len(trace.subtasks) == 2
    assert trace.steps[0].author == "policy"


async def test_a_fork_that_leaves_a_researcher_out_owns_up_to_it():
    forked = Forked()
    await forked.run()
    trace = await forked.fork("research")
    assert trace.outcome == "partial"
    assert [(failure.name, failure.branch) for failure in trace.failures] == [("not_covered", 2)]
    assert all(violation.declared for violation in violations(trace))


class Killed(BaseException):
    """The end of a process, as far as a graph can see it."""


async def test_a_fork_inside_a_researcher_runs_only_the_rest_of_it_again():
    forked = Forked()
    whole = forked.policy.script

    def killed(thread: Thread) -> str:
        if sum(step.kind == "observation" for step in thread.steps) == 2:
            raise Killed
        return whole(thread)

    forked.policy.script = killed
    with pytest.raises(Killed):
        await forked.graph.ainvoke({"question": "What causes tides?"}, THREAD, durability="sync")
    stopped = await forked.graph.aget_state(THREAD, subgraphs=True)
    states: list[Any] = [task.state for task in stopped.tasks]
    inner = next(state for state in states if state.values["task"].branch == 1)
    namespace = inner.config["configurable"]["checkpoint_ns"]
    researcher: RunnableConfig = {"configurable": {"thread_id": "one", "checkpoint_ns": namespace}}
    inside = [each async for each in forked.graph.aget_state_history(researcher)]
    step = next(s for s in inside if s.next == ("reason",) and len(s.values["steps"]) == 4)
    note = {"kind": "think", "text": "A person was here.", "branch": 1, "lead": "\n\n"}
    await forked.graph.aupdate_state(step.config, {"steps": [note]})

    forked.policy.script = whole
    forked.policy.threads.clear()
    trace: Trace = (await forked.graph.ainvoke(None, THREAD))["trace"]
    assert trace.outcome == "complete"
    assert trace.branches[1][:4] == tuple(step.values["steps"])
    assert trace.branches[1][4].text == "A person was here."
    # One turn of branch 1 stands before the fork: its second turn and its answer are to come.
    assert asked(forked.policy.threads).count(("researcher", 1)) == 2
    assert ("planner", None) not in asked(forked.policy.threads)


async def test_an_edit_that_is_no_record_is_refused():
    forked = Forked()
    await forked.run()
    with pytest.raises(ValidationError, match="kind"):
        await forked.fork("plan", plan=[{"kind": "opinion", "text": "x"}])
