"""Whose fault it was: which rollouts are scored, and which are dropped."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from oresearch_graph import create_research_graph
from oresearch_graph.errors import (
    BudgetExhausted,
    JudgeError,
    PolicyError,
    PolicyRefused,
    PolicyTimeout,
    ToolError,
)
from oresearch_graph.graph.boundary import failure_of
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits
from oresearch_graph.trace import Failure, Fault, Trace, violations
from rl.rollouts.reward import RewardJudge, fate
from tests.helpers.rewards import GARBAGE, POINTS, REWARD, Judge, cited, row
from tests.helpers.scripted import CUT, PAGES, Documents, ScriptedPolicy, failing, research_script
from tests.helpers.traces import good_trace

ERRORS: list[tuple[Exception, str]] = [
    (BudgetExhausted("token", 9, 9), "scored"),
    (BudgetExhausted("model call", 9, 9), "scored"),
    (BudgetExhausted("time", 9, 9), "dropped"),
    (PolicyError("down"), "dropped"),
    (PolicyTimeout("slow"), "dropped"),
    (PolicyRefused("no key"), "dropped"),
    (ToolError("search is down"), "dropped"),
    (TimeoutError(), "dropped"),
    (KeyError("a defect"), "dropped"),
    (JudgeError("no judge"), "dropped"),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS, ids=lambda value: str(value))
def test_what_becomes_of_a_rollout_with_this_error_in_one_branch(error: Exception, expected: str):
    assert fate(good_trace(failures=(failure_of(error, "researcher", 2),))) == expected


async def test_a_branch_that_time_left_no_room_for_drops_the_rollout():
    slow = ScriptedPolicy(research_script(turns=2), seconds=0.3)
    settings = ResearchSettings(max_seconds=2.0, soft_limit=0.1, execution="sequential")
    graph = create_research_graph(slow, search=Documents(PAGES), settings=settings)
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    assert {(f.name, f.fault) for f in trace.failures} >= {("not_covered", "infrastructure")}
    assert fate(trace) == "dropped"


@pytest.mark.parametrize("fault", get_args(Fault))
def test_only_the_policys_and_the_webs_failures_are_scored(fault: Fault):
    ours = Failure(name="internal", fault=fault, message="it broke")
    others = Failure(name="grammar", fault="policy", message="stray text")
    expected = "scored" if fault in {"policy", "web"} else "dropped"
    assert fate(good_trace(failures=(others, ours, others))) == expected


async def run(script: Any, documents: Documents | None = None, **settings: Any) -> Trace:
    """A run of the graph as training has it: nothing is corrected or continued."""
    given = {"corrections": 0, "continuations": 0, **settings}
    graph = create_research_graph(
        ScriptedPolicy(script),
        search=documents or Documents(PAGES),
        settings=ResearchSettings(**given),
    )
    trace: Trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
    return trace


def once(role: str, text: str, branch: int | None = None) -> Any:
    """The good script, but for what one role writes."""

    def script(thread: Thread) -> str:
        if thread.role == role and branch in (None, thread.branch):
            return text
        return research_script(turns=2)(thread)

    return script


PAGELESS = "\n\n<think>x</think>\n\n<crawl_page>https://gone.example/</crawl_page>"


@pytest.mark.parametrize(
    ("script", "settings"),
    [
        (once("planner", GARBAGE), {}),
        (once("researcher", GARBAGE, branch=1), {}),
        (once("researcher", GARBAGE), {}),
        (once("researcher", PAGELESS), {"max_tool_calls": 2}),
        (once("summarizer", GARBAGE), {}),
        (once("summarizer", "<suggested_answer>Well, the" + CUT), {}),
        (research_script(turns=2), {"max_model_calls": 4}),
        (research_script(["a", "b", "c"], turns=2), {"max_subtasks": 2}),
    ],
    ids=["plan", "branch", "branches", "gone", "report", "cut", "calls", "subtasks"],
)
async def test_what_the_policy_does_wrong_is_scored(script: Any, settings: dict[str, Any]):
    trace = await run(script, **settings)
    assert fate(trace) == "scored"
    assert trace.failures or violations(trace)
    parts = await RewardJudge(REWARD, ExactFactsJudge()).score(trace, row())
    assert parts.total < 0.8 - 1e-9


@pytest.mark.parametrize("plan", [GARBAGE, "", "<subtask_list>\n</subtask_list>", "<subtask_list>"])
async def test_a_plan_that_was_replaced_is_a_violation_and_pays_no_calls(plan: str):
    trace = await run(once("planner", plan))
    settings = REWARD.model_copy(update={"fewest_calls": 1, "fewest_subtasks": 1})
    parts = await RewardJudge(settings, ExactFactsJudge()).score(trace, row())
    assert parts.violations["replaced_plan"] == 1
    assert (parts.tool_use, parts.format) == (0.0, 0.0)
    honest = await RewardJudge(settings, ExactFactsJudge()).score(
        await run(research_script(turns=2)), row()
    )
    assert (honest.tool_use, honest.format) == (1.0, 1.0)


async def test_a_good_run_is_scored():
    trace = await run(research_script(turns=2))
    truth = GroundTruth(key_points=POINTS[:1])
    # Both searches of a branch find the same pages.
    settings = REWARD.model_copy(update={"fewest_calls": 1})
    parts = await RewardJudge(settings, ExactFactsJudge()).score(trace, row(truth))
    assert parts.total == pytest.approx(1.0)


async def test_one_branch_that_infrastructure_spoils_drops_the_rollout():
    class Broken(Documents):
        async def search(self, queries: Any, k: int) -> list[Hits]:
            if queries[0].endswith("2"):
                raise ToolError("the search service is down; start it")
            return await super().search(queries, k)

    for trace in (
        await run(failing(research_script(turns=2), branch=2)),
        await run(research_script(turns=2), Broken(PAGES)),
    ):
        assert trace.answer is not None
        assert fate(trace) == "dropped"
        judge = Judge()
        with pytest.raises(ValueError, match="to be dropped, not scored"):
            await RewardJudge(REWARD, judge).score(trace, row())
        assert judge.reports == []


async def test_a_judge_that_fails_leaves_no_score():
    judge = RewardJudge(REWARD, Judge(JudgeError("nobody answers")))
    with pytest.raises(JudgeError):
        await judge.score(cited(good_trace()), row())
