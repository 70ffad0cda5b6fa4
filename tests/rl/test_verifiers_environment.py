"""The research graph as an environment of verifiers: real rollouts of that package, whose model is
a loopback server. `make verifiers` runs this in an environment of its own."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

if find_spec("verifiers") is None:
    pytest.skip("verifiers is not installed here: make verifiers", allow_module_level=True)

import verifiers.v1 as vf
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.cli.replay import run_replay
from verifiers.v1.cli.resolve import narrow_taskset_config
from verifiers.v1.configs.cli.eval import EvalConfig
from verifiers.v1.configs.cli.replay import ReplayConfig

import rl
from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.judging.ground_truth import ExactFactsJudge
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.rows.rl import RLQuestion, RLRow, rl_rows, write_rl_rows
from oresearch_graph.trace import Trace, render_steps
from rl.environment import TRACE
from rl.environment.harness import EndpointPolicy
from rl.rollouts.reward import RewardJudge
from rl.settings import RewardSettings
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.server_habits import Body, Fault, Habits, Message, Thinking
from tests.helpers.small_tokenizers import thinking_tokenizer
from tests.helpers.token_server import LOG_PROB, TokenServer

# Of packages that are not ours; what is tested here are rollouts.
pytestmark = pytest.mark.filterwarnings("default")

README = Path(rl.__file__).with_name("README.md")
SUBTASKS = ("What causes tides", "How large tides become", "When spring tides come")
THREADS = 2 + len(SUBTASKS)
PAGES = {
    "causes.md": "# Causes\n\nThe Moon causes tides. Its gravity pulls the water.",
    "range.md": "# Range\n\nTides become large in the Bay of Fundy: 16 metres.",
    "spring.md": "# Spring\n\nSpring tides come twice a month, when the Sun helps.",
}
SAYS = KeyPoint(text="The sources say it.", needs=(("sources",), ("say",)))
"""What the brain's report states; the other points it does not."""
FUNDY = KeyPoint(text="Fundy has the largest.", needs=(("Fundy",), ("largest",)), weight=3.0)
NEAP = KeyPoint(text="Neap tides are small.", needs=(("neap",), ("small",)))
POINTS = {
    "all": (SAYS,), "half": (SAYS, NEAP), "quarter": (SAYS, FUNDY), "none": (NEAP,),
    "third": (SAYS, NEAP, NEAP.model_copy(update={"text": "Neap tides come between."})),
}  # fmt: skip
QUESTIONS = [
    RLQuestion(id=name, question=f"What is known about the tides? ({name})", key_points=points)
    for name, points in POINTS.items()
]
ROWS = {row.extra_info.id: row for row in map(RLRow.model_validate, rl_rows(QUESTIONS, "train"))}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents in `docs`, and the rows."""
    made = tmp_path_factory.mktemp("world")
    (made / "docs").mkdir()
    for name, text in PAGES.items():
        (made / "docs" / name).write_text(text)
    write_rl_rows(made / "train.parquet", QUESTIONS)
    return made


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(ResearchBrain(subtasks=SUBTASKS)) as running:
        yield running


async def evaluated(
    folder: Path, base_url: str, out: Path, *, agent: Any = None, task: Any = None,
    harness: Any = None, rollouts: int = 1, client: Any = None, sampling: Any = None, **select: Any,
) -> list[vf.Trace]:  # fmt: skip
    """The traces of verifiers' own evaluation."""
    tools = {"source": "corpus", "path": str(folder / "docs")}
    taskset = {"id": "rl", "rows": str(folder / "train.parquet"), "task": task or {}}
    config = EvalConfig.model_validate({
        "env": {
            "taskset": taskset,
            "agent": {"harness": {"id": "rl", "tools": tools, **(harness or {})}, **(agent or {})},
        },
        "model": "fake",
        "client": {"base_url": base_url, "api_key_var": "NO_KEY_IS_NEEDED", **(client or {})},
        "sampling": sampling or {},
        "select": select, "num_rollouts": rollouts, "max_concurrent": 4,
        "push": False, "rich": None, "output_dir": str(out), "run": {"name": "run"},
    })  # fmt: skip
    episodes = await run_eval(config)
    return [trace for episode in episodes for trace in episode.traces]


def research_of(trace: vf.Trace) -> Trace:
    return Trace.model_validate(trace.info[TRACE])


async def ours(research: Trace) -> dict[str, float | None]:
    name = research.question.rpartition("(")[2].rstrip(")")
    judge = RewardJudge(RewardSettings(), ExactFactsJudge())
    return (await judge.score(research, ROWS[name].model_dump())).as_floats()


def sampled(branch: vf.Branch) -> str:
    """What was sampled in a branch, without the blanks around."""
    return "".join(node.message.content or "" for node in branch.nodes if node.sampled).strip()


def policy_texts(research: Trace) -> list[str]:
    """What the policy wrote, by thread."""
    threads: dict[object, list[Any]] = {}
    for step in research.steps:
        if step.author == "policy":
            threads.setdefault(step.branch or step.kind, []).append(step)
    return sorted(render_steps(steps).strip() for steps in threads.values())


async def test_twenty_rollouts_are_rewarded_as_ours_and_each_thread_is_a_branch(
    folder: Path, server: OpenAIServer, tmp_path: Path
):
    traces = await evaluated(folder, server.base_url, tmp_path, rollouts=4)
    assert len(traces) == 20
    for trace in traces:
        assert trace.ok, trace.errors
        research = research_of(trace)
        assert research.outcome == "complete"
        assert trace.num_branches == THREADS
        assert sorted(map(sampled, trace.branches)) == policy_texts(research)
        replies = [id(node) for branch in trace.branches for node in branch.nodes if node.sampled]
        assert len(replies) == len(set(replies)) == trace.num_turns
        parts = await ours(research)
        assert trace.reward == parts.pop("total")
        assert trace.metrics == {name: value for name, value in parts.items() if value is not None}
    assert len({trace.reward for trace in traces}) == len(POINTS), "they differ by their questions"


async def test_one_growing_context_is_one_branch(
    folder: Path, server: OpenAIServer, tmp_path: Path
):
    harness = {"research": {"execution": "sequential"}}
    [trace] = await evaluated(folder, server.base_url, tmp_path, harness=harness, limit=1)
    assert trace.ok, trace.errors
    assert (trace.num_branches, trace.num_turns) == (1, 11)
    assert trace.reward == (await ours(research_of(trace)))["total"]


@pytest.mark.parametrize("execution", ["sequential", "parallel"])
async def test_a_thread_has_the_room_that_it_has_in_training(
    folder: Path, server: OpenAIServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    execution: str,
):  # fmt: skip
    window, report = 50_000, 2_000
    reserves: dict[str, set[int]] = {}
    continued = EndpointPolicy.continue_thread

    async def noted(self: EndpointPolicy, thread: Any, stop: Any, **more: Any) -> Any:
        given = await continued(self, thread, stop, **more)
        assert given.room is not None
        used = (given.usage.prompt_tokens or 0) + (given.usage.completion_tokens or 0)
        reserves.setdefault(thread.role, set()).add(window - used - given.room)
        return given

    monkeypatch.setattr(EndpointPolicy, "continue_thread", noted)
    harness = {"research": {"execution": execution}, "window": window, "report_tokens": report}
    [trace] = await evaluated(folder, server.base_url, tmp_path, harness=harness, limit=1)
    assert trace.ok, trace.errors
    kept = report if execution == "sequential" else 0
    assert reserves == {"planner": {kept}, "researcher": {kept}, "summarizer": {0}}


async def test_a_full_thread_ends_as_it_does_in_training(
    folder: Path, server: OpenAIServer, tmp_path: Path
):
    roomy, full = [
        research_of(
            (await evaluated(folder, server.base_url, tmp_path / name, limit=1,
                             harness={"window": window}))[0]
        )
        for name, window in (("roomy", 100_000), ("full", 1_500))
    ]  # fmt: skip
    calls = [
        sum(step.kind in {"web_search", "crawl_page"} for step in research.steps)
        for research in (roomy, full)
    ]
    assert calls[1] < calls[0]
    assert [failure.fault for failure in full.failures] in ([], ["policy"] * len(full.failures))


async def test_the_graph_is_the_one_that_serves(folder: Path, server: OpenAIServer, tmp_path: Path):
    [trace] = await evaluated(folder, server.base_url, tmp_path, limit=1)
    harness = vf.load_harness(trace.agent.config.harness)
    keeps = {"extra_body": harness.config.request_fields}
    model = ChatPolicy("fake", base_url=server.base_url, rendering="turns", extra=keeps)
    graph = create_research_graph(
        model, search=folder / "docs",
        settings=harness.research.model_copy(update={"verifier": "off"}),
    )  # fmt: skip
    state = await graph.ainvoke({"question": trace.task.data.prompt})
    assert research_of(trace).steps == state["trace"].steps
    assert trace.last_reply == state["report"].strip()


async def test_a_saved_rollout_is_scored_again(folder: Path, server: OpenAIServer, tmp_path: Path):
    [trace] = await evaluated(folder, server.base_url, tmp_path, limit=1)
    saved = json.loads((tmp_path / "run" / "configs" / "resolved" / "eval.json").read_text("utf-8"))
    config = narrow_taskset_config(ReplayConfig, "rl").model_validate(
        {"taskset": saved["env"]["taskset"], "rich": False}
    )
    [again] = await run_replay(config, tmp_path / "run", tmp_path / "again")
    assert again.rewards == trace.rewards
    assert again.metrics == trace.metrics


SAMPLING = tomllib.loads(README.read_text("utf-8").split("```toml")[1].split("```")[0])["sampling"]


async def test_a_client_that_tokenizes_gets_each_token_once_and_as_it_was_sampled(
    folder: Path, tmp_path: Path
):
    tokenizer = thinking_tokenizer()
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    server = TokenServer(tokenizer, ResearchBrain(subtasks=SUBTASKS))
    client = {
        "type": "train", "renderer_model_name": str(tmp_path / "tokenizer"),
        "renderer": {"name": "qwen3", "thinking_retention": "all"},
    }  # fmt: skip
    async with server.serving() as base_url:
        [trace] = await evaluated(
            folder, base_url, tmp_path, client=client, sampling=SAMPLING, limit=1
        )
    assert trace.ok, trace.errors
    assert trace.num_branches == THREADS
    replies = [node.token_ids[-sum(node.mask) :] for node in trace.nodes if node.sampled]
    assert sorted(replies) == sorted(server.sampled)
    for branch in trace.branches:
        assert sum(branch.logprobs) == LOG_PROB * sum(branch.sampled_mask)
    texts = [
        tokenizer.decode([n for n, mine in zip(b.token_ids, b.sampled_mask, strict=True) if mine])
        for b in trace.branches
    ]
    assert sorted(map(bare, texts)) == sorted(map(bare, policy_texts(research_of(trace))))
    assert trace.reward == (await ours(research_of(trace)))["total"]


def bare(text: str) -> str:
    """Without blanks: what stands around a thought that was delivered apart is not kept."""
    return "".join(text.split())


async def test_thinking_that_comes_apart_goes_back_as_it_came(folder: Path, tmp_path: Path):
    brain = ResearchBrain(subtasks=SUBTASKS)

    def thinking(messages: list[Message], body: Body) -> Any:
        made = str(brain(messages, body))
        thought = re.match(r"<think>(.*?)</think>\n?", made)
        return Thinking(thought[1], made[thought.end() :]) if thought else made

    with OpenAIServer(thinking) as server:
        [trace] = await evaluated(folder, server.base_url, tmp_path, limit=1)
    assert trace.ok, trace.errors
    assert trace.num_branches == THREADS
    thoughts = [s.text for s in research_of(trace).steps if s.kind == "think"]
    assert thoughts == ["I look it up.", "I look it up.", "Enough."] * len(SUBTASKS)
    assert trace.reward == (await ours(research_of(trace)))["total"]


async def test_a_server_that_takes_the_stop_tag_away_costs_branches_and_no_reward(
    folder: Path, tmp_path: Path
):
    brain, habits = ResearchBrain(subtasks=SUBTASKS), Habits(keeps_stop=False)
    with OpenAIServer(brain, habits=habits) as server:
        [trace] = await evaluated(folder, server.base_url, tmp_path, limit=1)
    assert trace.ok, trace.errors
    assert trace.num_branches > THREADS
    assert trace.reward == (await ours(research_of(trace)))["total"]


async def test_a_rollout_whose_engine_failed_is_not_scored(
    folder: Path, server: OpenAIServer, tmp_path: Path
):
    def broken(body: Body) -> Fault | None:
        return Fault("status", status=500) if "(half)" in str(body["messages"]) else None

    server.fault_for = broken
    traces = await evaluated(folder, server.base_url, tmp_path, include={"ids": ["all", "half"]})
    good, bad = sorted(traces, key=lambda trace: not trace.ok)
    assert (good.task.key, good.ok) == ("all", True)
    assert (bad.task.key, bad.ok, bad.last_error.type) == ("half", False, "ProviderError")
    assert bad.rewards == {}


async def test_verifiers_retries_what_infrastructure_failed(
    folder: Path, server: OpenAIServer, tmp_path: Path
):
    server.faults.extend([Fault("status", status=503)] * 2)  # both tries of the first call
    retries = {"retries": {"max_retries": 1}}
    [trace] = await evaluated(folder, server.base_url, tmp_path, agent=retries, limit=1)
    assert trace.ok
    assert [error.type for error in trace.errors] == ["HarnessError"]
    assert "model_error" in trace.errors[0].message
    assert trace.reward == (await ours(research_of(trace)))["total"]


@pytest.mark.parametrize(
    ("agent", "task"),
    [
        ({"max_turns": 2}, {}),
        ({}, {"judge": {"kind": "model", "model": "nobody", "tries": 1}}),
    ],
    ids=["verifiers ended it", "no judge"],
)
async def test_a_rollout_that_nobody_can_score_has_no_reward(
    agent: Any, task: Any, folder: Path, server: OpenAIServer, tmp_path: Path
):
    judge = {"judge": {**task["judge"], "base_url": server.base_url}} if task else {}
    [trace] = await evaluated(folder, server.base_url, tmp_path, agent=agent, task=judge, limit=1)
    assert (trace.ok, trace.last_error.type) == (False, "TaskError")
    assert trace.rewards == {"total": None}


def test_questions_that_nothing_can_judge_are_refused_before_any_rollout(tmp_path: Path):
    free = RLQuestion(id="q", question="Why?", key_points=(KeyPoint(text="In free words."),))
    (tmp_path / "questions.jsonl").write_text(free.line + "\n")
    rows = tmp_path / "questions.jsonl"
    taskset = vf.load_taskset(vf.taskset_config_type("rl")(id="rl", rows=rows))
    with pytest.raises(ConfigurationError, match="question q: the key point 'In free words"):
        list(taskset)
    with pytest.raises(ConfigurationError, match="there is no setting 'colour'"):
        vf.load_harness(vf.harness_config_type("rl")(id="rl", research={"colour": "red"}))


def test_the_command_of_the_readme(folder: Path, server: OpenAIServer, tmp_path: Path):
    line = re.search(r"^vf-eval rl (?:.*\\\n)*.*", README.read_text("utf-8"), re.MULTILINE)
    assert line
    command = line[0].replace("\\\n", " ").replace("$RUN/", f"{folder}/")
    command = command.replace("http://127.0.0.1:8000/v1", server.base_url).replace("MODEL", "fake")
    program, *arguments = shlex.split(command)
    here = ["--output-dir", str(tmp_path), "--run.name", "run", "-n", "2"]
    run = [str(Path(sys.executable).with_name(program)), *arguments, *here]
    subprocess.run(run, check=True, capture_output=True, timeout=120)
    lines = (tmp_path / "run" / "traces.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 2
