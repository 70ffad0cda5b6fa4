"""The reward of a rollout: its parts by hand, whose fault drops it, and settings that spoil it."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph import create_research_graph
from oresearch_graph.boundary import failure_of
from oresearch_graph.errors import (
    BudgetExhausted,
    ConfigurationError,
    JudgeError,
    PolicyError,
    PolicyRefused,
    PolicyTimeout,
    ToolError,
)
from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judge import KeyPoint
from oresearch_graph.model_judge import ModelJudge
from oresearch_graph.rubric import Criterion, GroundTruth, Judged, KeyPointJudge, Rubric
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.backend import Hits
from oresearch_graph.trace import Failure, Fault, Step, Trace, violations
from oresearch_graph.trace.calls import calls_per_subtask, distinct_calls
from rl.rollouts.reward import (
    RewardJudge,
    fate,
    ground_truth,
    judge_from,
    tool_use,
)
from rl.rollouts.tool_term import constant_tool_use
from rl.settings import JudgeSettings, RewardSettings, RLSettings
from tests.openai_server import OpenAIServer
from tests.scripted import CUT, PAGES, Documents, ScriptedPolicy, failing, research_script
from tests.traces import GOOD, SOURCES, good_trace, trace_of

POINTS = (
    KeyPoint(text="The Moon causes tides.", weight=3.0),
    KeyPoint(text="Tides reach 16 metres."),
)
REWARD = RewardSettings()


class Judge:
    """Says what it is told to say; keeps the reports it was given."""

    def __init__(self, quality: float | Exception = 1.0) -> None:
        self.quality, self.reports = quality, list[str]()

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *, citations: Any = None
    ) -> Judged:
        self.reports.append(report)
        if isinstance(self.quality, Exception):
            raise self.quality
        return Judged(quality=self.quality, by="told", seconds=0.5)


def row(truth: GroundTruth | None = None) -> dict[str, Any]:
    truth = truth or GroundTruth(key_points=POINTS)
    return {"reward_model": {"style": "rule", "ground_truth": truth.to_json()}}


def cited(trace: Trace) -> Trace:
    """The trace with the report's check, as a run's end makes it."""
    assert trace.answer is not None
    return trace.model_copy(update={"citations": verify_report(trace.answer.text, SOURCES)})


async def test_a_reference_report_earns_all_and_its_parts_add_up():
    trace = cited(good_trace())
    parts = await RewardJudge(REWARD, KeyPointJudge()).score(trace, row())
    assert (parts.quality, parts.format) == (1.0, 1.0)
    assert (parts.tool_calls, parts.tool_use) == ((1, 1), 0.0)
    assert parts.total == pytest.approx(0.6 * 1.0 + 0.2 * 0.0 + 0.2 * 1.0)
    assert parts.citation_precision == 1.0
    assert parts.citation_coverage == pytest.approx(2 / 4)
    assert trace.answer is not None
    assert parts.report_characters == len(trace.answer.text)
    assert parts.violations == {}


async def test_the_judge_reads_what_the_policy_wrote_not_what_was_delivered():
    trace, judge = cited(good_trace()), Judge()
    await RewardJudge(REWARD, judge).score(trace, row())
    assert trace.answer is not None
    assert judge.reports == [trace.answer.text]


NO_REPORT = GOOD[: GOOD.index("<suggested_answer>")].rstrip()
EMPTY = NO_REPORT + "\n\n<suggested_answer>\n \n</suggested_answer>"
GARBAGE = "I would rather not."


@pytest.mark.parametrize("text", [NO_REPORT, EMPTY, GARBAGE, ""])
async def test_no_report_is_worth_nothing_and_no_judge_is_asked(text: str):
    judge = Judge()
    parts = await RewardJudge(REWARD, judge).score(trace_of(text, outcome="failed"), row())
    assert (parts.quality, parts.format, parts.judged) == (0.0, 0.0, None)
    assert judge.reports == []
    assert parts.total == pytest.approx(0.2 * parts.tool_use)
    assert parts.report_words is None
    assert parts.citation_precision is None


async def test_one_violation_costs_the_form_and_is_counted():
    text = GOOD.replace("16 metres [2]", "16 metres [7]")
    parts = await RewardJudge(REWARD, Judge(0.5)).score(cited(trace_of(text)), row())
    assert parts.violations["dangling_citation"] == 1
    assert parts.total == pytest.approx(0.6 * 0.5)
    assert parts.citation_precision == 0.5


async def test_a_report_without_citations_has_no_precision_and_is_not_zero():
    text = GOOD.replace(" [1].", ".").replace(" [2].", ".")
    parts = await RewardJudge(REWARD, Judge()).score(cited(trace_of(text)), row())
    assert parts.citation_precision is None
    assert parts.citation_coverage == 0.0


async def test_every_rollout_logs_the_same_numbers_and_verl_takes_them():
    metrics = pytest.importorskip("verl.trainer.ppo.metric_utils")
    judge = RewardJudge(REWARD, Judge(0.5))
    rows = [
        (await judge.score(trace, row())).as_floats()
        for trace in (cited(good_trace()), trace_of(GARBAGE))
    ]
    assert rows[0].keys() == rows[1].keys()
    assert "reward" not in rows[0], "verl's validation adds that one itself"
    assert rows[1]["citation_precision"] is None
    infos = {key: [one[key] for one in rows] for key in rows[0]}
    made = metrics.process_validation_metrics(["d", "d"], ["a", "a"], infos)["d"]
    assert made["quality"]["mean@2"] == 0.25
    assert made["citation_precision"]["mean@1"] == 1.0, "missing is left out, not counted as 0"
    assert all(isinstance(value, float) for value in rows[0].values())


def branch(number: int, *calls: str, kind: Any = "web_search") -> list[Step]:
    return [Step(kind=kind, text=text, branch=number) for text in calls]


def planned(count: int, *steps: Step) -> Trace:
    listed = "\n".join(f"{n}. Subtask {n}" for n in range(1, count + 1))
    return Trace(question="Why?", steps=(Step(kind="subtask_list", text=listed), *steps))


def queries(count: int) -> list[str]:
    return [f"query {n}" for n in range(count)]


@pytest.mark.parametrize(("calls", "worth"), [(0, 0), (1, 0), (2, 1), (8, 1), (9, -1), (30, -1)])
def test_the_tool_term_of_one_subtask(calls: int, worth: float):
    assert tool_use(planned(1, *branch(1, *queries(calls))), REWARD) == worth


def test_the_tool_term_is_the_mean_over_listed_subtasks():
    trace = planned(
        4, *branch(1, *queries(3)), *branch(2, *queries(9)), *branch(3, *queries(1)),
        *branch(5, *queries(5)),
    )  # fmt: skip
    assert calls_per_subtask(trace) == (3, 9, 1, 0), "one never begun; the unlisted fifth is none"
    assert tool_use(trace, REWARD) == pytest.approx((1 - 1 + 0 + 0) / 4)
    whole = RewardSettings(scope="trajectory")
    # Branches ask the same queries: nine different ones altogether.
    assert tool_use(trace, whole) == -1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), whole) == 1.0
    assert tool_use(planned(2, *branch(1, "a"), *branch(2, "b")), REWARD) == 0.0


def test_a_plan_that_lists_nothing_is_counted_by_its_branches():
    steps = (Step(kind="subtask_list", text=" "), *branch(1, "a", "b"))
    assert calls_per_subtask(Trace(question="Why?", steps=steps)) == (2,)
    assert tool_use(Trace(question="Why?"), REWARD) == 0.0


def test_only_different_well_formed_calls_count():
    steps = [
        *branch(1, "a | b | c", " a | b | c\n", "a", "", "a&serp_num=0"),
        *branch(1, "a", "https://e.example/a | https://e.example/b", kind="crawl_page"),
        Step(kind="tool_call", name="sum", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text='{"of": 1}', branch=1),
        Step(kind="tool_call", name="mean", text="not json", branch=1),
        Step(kind="observation", text="a", author="world", branch=1),
    ]
    assert len(distinct_calls(steps)) == 5


CALLS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["a", "b ", "b", "c", "", "d", "e"])))


@given(CALLS, CALLS, st.integers(1, 4))
def test_the_tool_term_keeps_its_bounds_and_repeating_calls_changes_nothing(calls, more, listed):
    steps = [step for number, text in calls for step in branch(number, text)]
    trace = planned(listed, *steps)
    settings = RewardSettings(most_calls=3)
    for scope in ("subtask", "trajectory"):
        own = settings.model_copy(update={"scope": scope})
        value = tool_use(trace, own)
        assert -1.0 <= value <= 1.0
        assert tool_use(planned(listed, *steps, *steps), own) == value
    assert value in {-1.0, 0.0, 1.0}, "of a trajectory there is no mean"
    total = 4 * tool_use(planned(4, *steps), settings)
    assert total == sum(
        tool_use(planned(1, *(s.model_copy(update={"branch": 1}) for s in steps if s.branch == n)),
                 settings)
        for n in range(1, 5)
    )  # fmt: skip


@given(st.floats(0, 1), st.floats(0, 1))
async def test_a_better_report_never_earns_less(one: float, two: float):
    trace = cited(good_trace())
    totals = [
        (await RewardJudge(REWARD, Judge(quality)).score(trace, row())).total
        for quality in sorted((one, two))
    ]
    assert totals[0] <= totals[1]
    assert 0.2 <= totals[0] <= 0.8 + 1e-9


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
    parts = await RewardJudge(REWARD, KeyPointJudge()).score(trace, row())
    assert parts.total < 0.8 - 1e-9


async def test_a_good_run_is_scored():
    trace = await run(research_script(turns=2))
    truth = GroundTruth(key_points=POINTS[:1])
    parts = await RewardJudge(REWARD, KeyPointJudge()).score(trace, row(truth))
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


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "has no reward_model.ground_truth"),
        ({"reward_model": {"ground_truth": {"key_points": []}}}, "has no reward_model"),
        ({"reward_model": {"ground_truth": "{}"}}, "neither key points nor a rubric"),
        ({"reward_model": {"ground_truth": "42"}}, "has no ground truth"),
        ({"reward_model": {"ground_truth": json.dumps({"points": []})}}, "points"),
    ],
)
def test_a_row_without_anything_to_judge_by_names_its_question(given: Any, message: str):
    with pytest.raises(ConfigurationError, match=rf"'Why so\?'.*{message}"):
        ground_truth(given, "Why so?")


async def test_the_judge_of_the_settings(tmp_path: Any):
    assert isinstance(judge_from(JudgeSettings()), KeyPointJudge)
    with pytest.raises(ConfigurationError, match=r"set oresearch\.judge\.model"):
        judge_from(JudgeSettings(kind="model"))
    answer = '{"criteria": [{"number": 1, "reason": "", "quote": "", "score": 5}]}'
    truth = GroundTruth(rubric=Rubric(criteria=(Criterion(text="Is right."),)))
    with OpenAIServer(lambda messages, body: answer, models=("wise",)) as server:
        judge = judge_from(
            JudgeSettings(
                kind="model", model="wise", base_url=server.base_url, cache=tmp_path / "verdicts"
            )
        )
        assert isinstance(judge, ModelJudge)
        scored = [
            (await RewardJudge(REWARD, judge).score(cited(good_trace()), row(truth))).as_floats()
            for _ in range(2)
        ]
        assert len(server.requests) == 1
        await judge.aclose()
    assert [one["quality"] for one in scored] == [0.5, 0.5]
    assert [one["judge_cached"] for one in scored] == [0.0, 1.0]
    assert scored[0]["judge_seconds"]
    assert scored[1]["judge_seconds"] is None


@pytest.mark.parametrize(
    ("research", "reward", "line"),
    [
        ({}, {}, None),
        ({"max_tool_calls": 9}, {}, None),
        ({"max_tool_calls": 8}, {}, "the upper bound is never felt: a subtask holds at most 8"),
        ({"max_steps": 9}, {}, "the upper bound is never felt: a subtask holds at most 8"),
        ({"max_tool_calls": 2}, {}, "the upper bound is never felt: a subtask holds at most 2"),
        ({"max_tool_calls": 1}, {}, "constant: always 0, a subtask holds at most 1"),
        ({"max_steps": 2}, {}, "constant: always 0, a subtask holds at most 1"),
        ({"max_tool_calls": 4}, {"fewest_calls": 0}, "constant: always 1"),
        ({}, {"fewest_calls": 9, "most_calls": 8}, "never 1: "),
        ({}, {"tool_use": 0.0}, "constant: oresearch.reward.tool_use is 0"),
        ({}, {"scope": "trajectory"}, "against the prompt: "),
        ({"max_tool_calls": 4}, {"scope": "trajectory"}, None),
        ({"max_subtasks": 1}, {"scope": "trajectory"}, None),
        (
            {"max_tool_calls": 1, "max_subtasks": 3},
            {"scope": "trajectory"},
            "the upper bound is never felt: a trajectory holds at most 3",
        ),
    ],
)
def test_settings_that_spoil_the_tool_term(research: Any, reward: Any, line: str | None):
    settings = RLSettings(research=research, reward=RewardSettings(**reward))
    found = constant_tool_use(settings)
    assert found is None if line is None else (found or "").startswith(line)


@given(st.integers(0, 6), st.integers(0, 4), st.integers(1, 5), st.integers(1, 8))
def test_the_report_on_settings_agrees_with_what_the_term_can_be(cap, fewest, most, steps):
    reward = RewardSettings(fewest_calls=fewest, most_calls=most)
    research = {"max_tool_calls": cap, "max_steps": steps}
    line = constant_tool_use(RLSettings(research=research, reward=reward)) or ""
    counts = range(max(0, min(cap, steps - 1)) + 1)
    values = {tool_use(planned(1, *branch(1, *queries(count))), reward) for count in counts}
    if fewest <= most:
        assert line.startswith("constant") == (len(values) == 1)
        assert ("never felt" in line) == (len(values) == 2 and -1.0 not in values)
    else:
        assert 1.0 not in values
