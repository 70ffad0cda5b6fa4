"""Caps and budgets: what a run does when it may do no more."""

from __future__ import annotations

import re

import pytest

from oresearch_graph import create_research_graph, parse_trace, render_trace, violations
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Trace
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script


async def run(policy: ScriptedPolicy, documents: Documents | None = None, **settings) -> Trace:
    graph = create_research_graph(
        policy, search=documents or Documents(PAGES), settings=ResearchSettings(**settings)
    )
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    return trace


def calls_of(trace: Trace, branch: int) -> int:
    return sum(step.is_call for step in trace.branches[branch])


async def test_a_branch_of_nine_calls_has_nine_calls_and_nine_observations():
    policy = ScriptedPolicy(research_script(["tides"], turns=9))
    trace = await run(policy, max_tool_calls=12, max_steps=12)
    assert calls_of(trace, 1) == 9
    assert sum(step.kind == "observation" for step in trace.branches[1]) == 9
    assert sum(usage.tool_calls for usage in trace.usage) == 9
    assert violations(trace) == ()


async def test_a_branch_without_calls_is_a_branch_without_calls():
    def script(thread: Thread) -> str:
        if thread.role == "researcher" and thread.branch == 2:
            return "\n\n<think>I know.</think>\n\n<subtask_answer>Large.</subtask_answer>"
        return research_script()(thread)

    trace = await run(ScriptedPolicy(script), corrections=0)
    assert [calls_of(trace, branch) for branch in (1, 2)] == [1, 0]
    assert [step.kind for step in trace.branches[2]] == ["subtask", "think", "subtask_answer"]
    assert [(f.name, f.branch) for f in trace.failures] == [("no_evidence", 2)]
    assert trace.outcome == "partial"
    assert all(violation.declared for violation in violations(trace))


async def test_at_the_cap_the_world_opens_the_answer_and_says_why():
    policy = ScriptedPolicy(research_script(["tides"], turns=99))
    trace = await run(policy, max_tool_calls=3, max_steps=20)
    assert calls_of(trace, 1) == 3
    *_, last, answer = trace.branches[1]
    assert "Notice: no tool call is left" in last.text
    assert (answer.kind, answer.opened, answer.author) == ("subtask_answer", "world", "policy")
    assert violations(trace) == ()
    assert parse_trace(render_trace(trace)).steps == trace.steps


async def test_the_step_cap_counts_the_answer():
    policy = ScriptedPolicy(research_script(["tides"], turns=99))
    trace = await run(policy, max_tool_calls=50, max_steps=4)
    assert sum(thread.role == "researcher" for thread in policy.threads) == 4
    assert calls_of(trace, 1) == 3
    assert trace.branches[1][-1].opened == "world"


async def test_the_same_call_again_is_not_carried_out_again():
    def script(thread: Thread) -> str:
        if thread.role != "researcher" or thread.forced:
            return research_script(["tides"])(thread)
        return "\n\n<think>Again.</think>\n\n<web_search>tides</web_search>"

    documents = Documents(PAGES)
    trace = await run(ScriptedPolicy(script), documents, max_tool_calls=4)
    assert documents.searched == ["tides"]
    observed = [step.text for step in trace.branches[1] if step.kind == "observation"]
    assert len(observed) == 4
    assert all("made before" in text for text in observed[1:])


async def test_several_calls_in_one_continuation_each_get_their_observation():
    def script(thread: Thread) -> str:
        seen = sum(step.kind == "observation" for step in thread.steps)
        if thread.role == "researcher" and not seen:
            return (
                "\n\n<think>Both at once.</think>\n\n<web_search>Moon</web_search>"
                "\n\n<crawl_page>https://example.org/sun</crawl_page>"
            )
        return research_script(["tides"])(thread)

    trace = await run(ScriptedPolicy(script))
    kinds = [step.kind for step in trace.branches[1]]
    assert kinds[2:6] == ["web_search", "observation", "crawl_page", "observation"]
    assert "Moon orbits" in trace.branches[1][3].text
    assert "Sun causes" in trace.branches[1][5].text
    assert violations(trace) == ()


async def test_near_a_budgets_end_threads_are_told_to_answer():
    policy = ScriptedPolicy(research_script(["tides"], turns=99), tokens=100)
    trace = await run(policy, max_tokens=1_500, soft_limit=0.5, max_tool_calls=50, max_steps=50)
    last = [step for step in trace.branches[1] if step.kind == "observation"][-1]
    assert "Notice: the token budget of this run is nearly spent" in last.text
    assert trace.branches[1][-1].opened == "world"
    assert trace.outcome == "complete"


async def test_no_call_is_made_beyond_a_hard_limit_and_what_was_begun_is_answered():
    policy = ScriptedPolicy(research_script(["a tides", "b tides"], turns=99))
    trace = await run(policy, max_model_calls=6, soft_limit=1.0)
    assert len(policy.threads) <= 6
    observed = [step.text for step in trace.steps if step.kind == "observation"]
    assert "the model call budget of this run is nearly spent" in observed[-1]
    assert trace.outcome == "complete"


async def test_a_subtask_that_the_budget_leaves_no_room_for_is_named_as_not_covered():
    policy = ScriptedPolicy(research_script(["a tides", "b tides"]), tokens=400)
    trace = await run(policy, max_tokens=3_000, soft_limit=0.75, execution="sequential")
    names = {(failure.name, failure.branch) for failure in trace.failures}
    assert names == {("not_covered", 2)}
    assert trace.outcome == "partial"
    assert all(violation.declared for violation in violations(trace))


async def test_subtasks_beyond_the_limit_are_dropped_and_named():
    policy = ScriptedPolicy(research_script([f"tides {i}" for i in range(1, 6)]))
    graph = create_research_graph(
        policy, search=Documents(PAGES), settings=ResearchSettings(max_subtasks=3)
    )
    result = await graph.ainvoke({"question": "What causes tides?"})
    trace = result["trace"]
    assert sorted(trace.branches) == [1, 2, 3]
    assert {failure.branch for failure in trace.failures} == {4, 5}
    assert trace.outcome == "partial"
    assert "tides 4" in result["report"]
    assert "tides 5" in result["report"]


async def test_observations_keep_to_their_token_budget():
    long_text = " ".join(f"Tides of harbour {i} reach {i} metres." for i in range(3_000))
    documents = Documents({"https://example.org/tides": long_text})

    def script(thread: Thread) -> str:
        if thread.role == "researcher" and not any(s.kind == "observation" for s in thread.steps):
            return "\n\n<think>Read.</think>\n\n<crawl_page>https://example.org/tides</crawl_page>"
        return research_script(["harbour 1717 tides"])(thread)

    trace = await run(ScriptedPolicy(script), documents, observation_tokens=500)
    shown = next(step.text for step in trace.steps if step.kind == "observation")
    assert 200 < len(shown) < 500 * 4 * 1.2
    assert "harbour 1717 " in shown
    assert "[…]" in shown


@pytest.mark.parametrize("effort", ["quick", "standard", "deep"])
async def test_an_effort_sets_the_figures_and_explicit_ones_stand(effort):
    policy = ScriptedPolicy(research_script(["tides"]))
    await run(policy, effort=effort, max_subtasks=2)
    assert "at most 2 orthogonal subtasks" in policy.threads[0].system
    calls = re.search(r"Use (?:\d|up) to (\d+) tool calls", policy.threads[0].system)
    assert calls is not None
    assert calls[1] == {"quick": "4", "standard": "8", "deep": "8"}[effort]
