"""Parallel and sequential execution: one format, two views of the siblings' steps."""

from __future__ import annotations

import pytest

from oresearch_graph import create_research_graph, parse_trace, render_trace, violations
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Execution, Trace, render_steps
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, report_text, research_script

BOTH: tuple[Execution, ...] = ("parallel", "sequential")


async def run(policy: ScriptedPolicy, **settings) -> Trace:
    graph = create_research_graph(
        policy, search=Documents(PAGES), settings=ResearchSettings(**settings)
    )
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    return trace


@pytest.mark.parametrize("execution", BOTH)
async def test_a_clean_run_is_complete_well_formed_and_survives_as_text(execution):
    trace = await run(ScriptedPolicy(research_script(turns=2)), execution=execution)
    assert trace.outcome == "complete"
    assert trace.failures == ()
    assert violations(trace) == ()
    text = render_trace(trace)
    assert text.startswith("<subtask_list>")
    assert parse_trace(text, execution=execution).steps == trace.steps


async def test_with_one_subtask_both_executions_give_equal_steps_but_for_the_subtasks_author():
    script = research_script(["What causes tides?"], turns=2)
    parallel, sequential = [await run(ScriptedPolicy(script), execution=e) for e in BOTH]
    assert len(parallel.steps) == len(sequential.steps) == 11
    for one, two in zip(parallel.steps, sequential.steps, strict=True):
        if one.kind == "subtask":
            assert (one.author, two.author) == ("world", "policy")
            one = one.model_copy(update={"author": "policy", "opened": "policy"})
            one = one.model_copy(update={"closed": "policy"})
        assert one == two


async def test_a_parallel_researcher_sees_the_list_and_its_own_subtask_only():
    policy = ScriptedPolicy(research_script())
    await run(policy)
    for thread in policy.threads:
        if thread.role == "researcher":
            assert thread.steps[0].kind == "subtask_list"
            assert {step.branch for step in thread.steps[1:]} == {thread.branch}


async def test_the_parallel_summarizer_sees_answers_and_no_turns():
    policy = ScriptedPolicy(research_script())
    await run(policy)
    kinds = [step.kind for step in policy.threads[-1].steps]
    assert kinds == ["subtask_list", *["subtask", "subtask_answer"] * 2]


async def test_a_sequential_researcher_sees_everything_so_far():
    policy = ScriptedPolicy(research_script())
    trace = await run(policy, execution="sequential")
    shown = policy.threads[-1].steps
    assert shown == trace.steps[:-1]
    assert {thread.id for thread in policy.threads} == {policy.threads[0].id}


@pytest.mark.parametrize("execution", BOTH)
async def test_threads_are_append_only(execution):
    policy = ScriptedPolicy(research_script(turns=3))
    await run(policy, execution=execution)
    last: dict[str, str] = {}
    for thread in policy.threads:
        text = render_steps(thread.steps)
        assert text.startswith(last.get(thread.id, ""))
        assert thread.system == policy.threads[0].system
        last[thread.id] = text


async def test_source_ids_count_from_each_branchs_own_block():
    trace = await run(ScriptedPolicy(research_script(["a tides", "b tides", "c tides"])))
    assert trace.sources is not None
    ids = [source.id for source in trace.sources]
    assert len(set(ids)) == len(ids)
    assert {source.id // 1000 for source in trace.sources} == {1, 2, 3}
    assert all(source.branch == source.id // 1000 for source in trace.sources)


async def test_a_sequential_policy_that_reports_early_is_taken_at_its_word():
    plain = research_script()

    def eager(thread):
        if thread.role == "researcher" and thread.branch == 2:
            return "\n\n" + report_text(thread)
        return plain(thread)

    policy = ScriptedPolicy(eager)
    trace = await run(policy, execution="sequential", corrections=0)
    assert [thread.role for thread in policy.threads].count("summarizer") == 0
    assert trace.answer is not None
    assert trace.answer.branch is None
    missing = [v for v in violations(trace) if v.code == "subtask_without_branch"]
    assert [v.branch for v in missing] == [2]


async def test_the_language_of_the_question_is_kept():
    graph = create_research_graph(
        ScriptedPolicy(research_script()),
        search=Documents(PAGES),
        settings=ResearchSettings(corrections=0),
    )
    result = await graph.ainvoke({"question": "潮汐是由什么引起的？"})
    assert result["trace"].language == "zh"
    assert {v.code for v in violations(result["trace"])} == {"heading_language"}
