"""A rollout is the graph itself: the same traces as in serving, ids as they were sampled."""

from __future__ import annotations

import asyncio
import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from rich.console import Console

from datagen.generate.maker import LocalRunner
from datagen.generate.stage import generate
from datagen.records import Seed
from datagen.run.folder import RunFolder, Work
from datagen.run.record_files import write_records
from datagen.settings import DatagenSettings
from oresearch_graph import ResearchSettings, create_research_graph, violations
from oresearch_graph.policies.models import Policies
from oresearch_graph.trace import Trace, read_traces, render_steps
from rl.rollouts.graph import Rollout, RolloutGraph
from rl.rollouts.ledger_policy import Sampling
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rollouts.token_ledger import TokenRow
from rl.settings import RLSettings
from rl.tools.training_tools import training_tools
from tests.helpers.rl_engine import (
    SAMPLING,
    ScriptedEngine,
    ScriptedLedgerPolicy,
    log_prob,
    small_tokens,
)
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

BOTH = ("parallel", "sequential")
QUESTION = "What causes tides?"


@pytest.fixture(scope="module")
def tokens() -> ThreadTokens:
    return small_tokens()


async def roll(engine: ScriptedEngine, sampling: Sampling = SAMPLING, **research) -> Rollout:
    settings = RLSettings(research=research)
    documents = Documents(PAGES)
    policy = ScriptedLedgerPolicy(engine, engine.tokens, sampling, name="scripted")
    tools = training_tools(settings, (documents, documents))
    return await RolloutGraph(settings, "scripted").run(QUESTION, policy, tools)


def same(one: Trace, two: Trace) -> bool:
    """Equal in all but identity and what time and engine tell: when, how long, how many tokens."""
    ours = {"id", "created", "spans", "usage"}
    return one.model_dump(exclude=ours) == two.model_dump(exclude=ours)


def policy_text(rollout: Rollout, row: TokenRow) -> str:
    """What the policy wrote in the thread of a row, by the engine's own account."""
    engine = rollout.policy.engine
    assert isinstance(engine, ScriptedEngine)
    return "".join(text for thread, text, _ in engine.written if thread.id == row.thread)


def masked(row: TokenRow, tokens: ThreadTokens) -> str:
    kept = [token for token, mask in zip(row.response_ids, row.mask, strict=True) if mask]
    return tokens.decode(kept)


def generated(folder: Path, policy: ScriptedPolicy, research: ResearchSettings) -> Trace:
    """What datagen's generate stage makes of the question with these settings."""
    generate_settings = {
        "teachers": [{"name": "t", "model": "scripted"}], "candidates": 1,
        "executions": [research.execution], "ask_for_reasoning": False,
    }  # fmt: skip
    settings = DatagenSettings.model_validate(
        {"research": research.model_dump(), "generate": generate_settings}
    )
    work = Work(RunFolder(folder), settings, Console(file=io.StringIO()))
    write_records(work.run.seeds, [Seed(id="tides", question=QUESTION)])
    generate(work, LocalRunner(lambda *_: Policies.single(policy), Documents(PAGES)))
    [trace] = read_traces(work.run.generated)
    assert trace.id == "tides.1"
    return trace


@pytest.mark.parametrize("execution", BOTH)
async def test_serving_generating_and_training_give_equal_traces(execution, tokens, tmp_path):
    script = research_script(turns=3)
    settings = RLSettings(research={"execution": execution}).research_settings
    graph = create_research_graph(
        ScriptedPolicy(script), search=Documents(PAGES), settings=settings
    )
    served: Trace = (await graph.ainvoke({"question": QUESTION}))["trace"]
    rollout = await roll(ScriptedEngine(tokens, script), execution=execution)
    assert rollout.trace is not None
    assert same(served, rollout.trace)
    made = await asyncio.to_thread(generated, tmp_path, ScriptedPolicy(script), settings)
    assert same(served, made)
    assert violations(served) == ()


async def test_threads_mode_has_a_row_per_thread_the_summarizer_last(tokens):
    rollout = await roll(ScriptedEngine(tokens))
    roles = [(row.role, row.branch) for row in rollout.rows]
    assert roles == [("planner", None), ("researcher", 1), ("researcher", 2), ("summarizer", None)]
    assert len({row.thread for row in rollout.rows}) == 4
    assert rollout.policy.ledger.prefix_breaks == 0


async def test_sequential_mode_has_one_row(tokens):
    rollout = await roll(ScriptedEngine(tokens, research_script(turns=2)), execution="sequential")
    [row] = rollout.rows
    assert row.roles == ["planner", *["researcher"] * 6, "summarizer"]
    assert sum(row.sampled_by.values()) == row.sampled


@pytest.mark.parametrize("execution", BOTH)
@pytest.mark.parametrize("after", ["", "\n", " \n\n", " searches; so many"])
async def test_ids_are_kept_as_sampled_and_masks_are_the_policys(execution, after, tokens):
    engine = ScriptedEngine(tokens, research_script(turns=2), after=after)
    rollout = await roll(engine, execution=execution)
    assert rollout.policy.ledger.prefix_breaks == 0
    assert rollout.trace is not None
    assert {violation.code for violation in violations(rollout.trace)} <= {
        *(["stray_text", "step_after_answer"] if after.strip() else [])
    }
    for row in rollout.rows:
        assert masked(row, tokens) == policy_text(rollout, row)
        assert len(row.response_ids) == len(row.mask) == len(row.log_probs)
        for token, mask, value in zip(row.response_ids, row.mask, row.log_probs, strict=True):
            assert value == (log_prob(token) if mask else 0.0)


@pytest.mark.parametrize("execution", BOTH)
async def test_every_prompt_is_the_row_that_is_trained(execution, tokens):
    engine = ScriptedEngine(tokens, research_script(turns=2), after="\n")
    rollout = await roll(engine, execution=execution)
    for row in rollout.rows:
        prompts = [ids for thread, ids in engine.prompts if thread == row.thread]
        assert prompts[0] == row.prompt_ids
        assert all(row.ids[: len(ids)] == ids for ids in prompts)


@pytest.mark.parametrize("execution", BOTH)
async def test_the_text_of_all_rows_is_the_traces(execution, tokens):
    rollout = await roll(ScriptedEngine(tokens, research_script(turns=2)), execution=execution)
    assert rollout.trace is not None
    sampled = [masked(row, tokens) for row in rollout.rows]
    written = [render_steps([step]) for step in rollout.trace.steps if step.author == "policy"]
    assert "".join(written) == "".join(sampled)


async def test_a_rewritten_thread_opens_another_row_and_is_counted(tokens):
    engine = ScriptedEngine(tokens)
    policy = ScriptedLedgerPolicy(engine, tokens, SAMPLING)
    rollout = await roll(engine)
    thread = engine.written[-1][0].model_copy(update={"id": "t"})
    await policy.continue_thread(thread, ["</suggested_answer>"])
    changed = thread.model_copy(update={"steps": thread.steps[:-1]})
    await policy.continue_thread(changed, ["</suggested_answer>"])
    assert policy.ledger.prefix_breaks == 1
    assert [row.ended for row in policy.ledger.rows] == ["prefix_break", "open"]
    assert all(masked(row, tokens) for row in policy.ledger.rows)
    assert rollout.policy.ledger.prefix_breaks == 0


async def test_stop_length_and_end_are_told_apart(tokens):
    end = tokens.decode([next(iter(tokens.end_ids))])

    def script(thread):
        if thread.role == "planner":
            return research_script()(thread)
        if thread.branch == 1:
            return f"\n\n<think>I give up.</think>{end}"
        return "\n\n<think>" + "so many words " * 400

    rollout = await roll(ScriptedEngine(tokens, script), SAMPLING)
    stops = {row.branch: row.stops for row in rollout.rows}
    assert stops == {None: ["stop"], 1: ["end"], 2: ["length"]}
    ended, cut = rollout.rows[1:]
    assert (ended.ended, cut.ended) == ("end_token", "length")
    assert rollout.trace is not None
    assert not any(end in step.text for step in rollout.trace.steps)
    assert tokens.end_ids >= {ended.response_ids[-1]}
    assert {failure.name for failure in rollout.trace.failures} >= {"cut", "grammar"}


async def test_a_full_context_ends_the_thread_by_the_policys_own_budget(tokens):
    engine = ScriptedEngine(tokens, research_script(turns=9))
    window = len(tokens.encode("x")) + 900
    sampling = Sampling({"logprobs": True}, window, 200, 200, 20.0)
    rollout = await roll(engine, sampling, observation_tokens=100, max_output_tokens=64)
    assert rollout.trace is not None
    assert all(len(row.ids) <= window for row in rollout.rows)
    faults = {failure.fault for failure in rollout.trace.failures}
    assert faults <= {"policy"}


async def test_near_the_end_of_its_context_a_researcher_is_told_to_answer(tokens):
    engine = ScriptedEngine(tokens, research_script(turns=9))
    free = await roll(engine, max_tool_calls=9, max_steps=10, observation_tokens=100)
    longest = max(len(row.ids) for row in free.rows if row.role == "researcher")
    sampling = Sampling({"logprobs": True}, longest - 600, 200, 200, 20.0)
    engine = ScriptedEngine(tokens, research_script(turns=9))
    rollout = await roll(
        engine, sampling, max_tool_calls=9, max_steps=10, observation_tokens=100,
        max_output_tokens=64,
    )  # fmt: skip
    assert rollout.trace is not None
    told = [step for step in rollout.trace.steps if "nearly full" in step.text]
    assert told
    assert rollout.trace.failures == ()
    assert all(step.opened == "world" for step in rollout.trace.steps
               if step.kind == "subtask_answer")  # fmt: skip


async def test_a_text_cut_in_sequence_is_continued_as_serving_does(tokens):
    cut = Sampling({"logprobs": True}, 100_000, 12, 2_000, 20.0)
    engine = ScriptedEngine(tokens, research_script(turns=2))
    rollout = await roll(engine, cut, execution="sequential")
    assert any("length" in row.stops for row in rollout.rows)
    assert rollout.policy.ledger.prefix_breaks == 0
    [row] = rollout.rows
    assert row.stops.index("length") < len(row.stops) - 1


async def test_an_end_token_opens_another_row_and_is_no_broken_prefix(tokens):
    end = tokens.decode([next(iter(tokens.end_ids))])

    def script(thread):
        written = research_script()(thread)
        return f"{written.rpartition('<')[0]}{end}" if thread.role == "planner" else written

    rollout = await roll(ScriptedEngine(tokens, script), execution="sequential")
    assert rollout.policy.ledger.rows[0].ended == "end_token"
    assert len(rollout.rows) == 2
    assert rollout.policy.ledger.prefix_breaks == 0


FRAGMENTS = [
    *(f"<{slash}{tag}>" for tag in (
        "subtask_list", "subtask", "think", "plan", "web_search", "crawl_page", "observation",
        "subtask_answer", "suggested_answer") for slash in ("", "/")),
    "tides", "Moon [1001]", "1. one\n2. two", "\n\n", " ", "\n", "&lt;think>", "<|im_end|>", "é",
    "https://example.org/moon", "<think>So.</think>", "<web_search>tides</web_search>",
]  # fmt: skip
TOKENS = small_tokens()


@pytest.mark.parametrize("execution", BOTH)
@given(seed=st.integers(0, 2**32), length=st.integers(1, 12))
@settings(max_examples=60)
def test_whatever_a_policy_writes_no_prefix_breaks_and_nothing_is_lost(execution, seed, length):
    draw = random.Random(seed)  # noqa: S311 - garbage that can be drawn again

    def script(thread):
        if thread.role == "planner" and draw.random() < 0.8:
            return research_script()(thread)
        text = "".join(draw.choice(FRAGMENTS) for _ in range(length))
        # An engine ends the text at the first stop tag.
        ends = [text.find(tag) + len(tag) for tag in STOPS[thread.role] if tag in text]
        return text[: min(ends)] if ends else text

    engine = ScriptedEngine(TOKENS, script)
    rollout = asyncio.run(roll(engine, execution=execution, max_steps=4))
    assert rollout.policy.ledger.prefix_breaks == 0
    for thread in {row.thread for row in rollout.rows}:
        rows = [row for row in rollout.policy.ledger.rows if row.thread == thread]
        ids = [list(ids) for written, _, ids in engine.written if written.id == thread]
        sampled = [
            token for row in rows
            for token, mask in zip(row.response_ids, row.mask, strict=True) if mask
        ]  # fmt: skip
        assert sampled == [token for part in ids for token in part]


STOPS = {
    "planner": ["</subtask_list>"],
    "researcher": ["</web_search>", "</crawl_page>", "</subtask_answer>", "</suggested_answer>"],
    "summarizer": ["</suggested_answer>"],
}


def test_the_window_is_the_engines_or_prompt_and_response_together():
    def sampled(longest: int | None) -> Sampling:
        rollout = {"max_model_len": longest, "prompt_length": 100, "response_length": 400}
        config = OmegaConf.create({"actor_rollout_ref": {"rollout": rollout}})
        settings = RLSettings.model_validate({"seconds": {"call": 9.0}, "turn_tokens": 64})
        return Sampling.of(config, settings, {"temperature": 0.5})

    assert sampled(None).window == 500
    told = sampled(300)
    assert (told.window, told.seconds, told.turn_tokens) == (300, 9.0, 64)
    assert told.parameters == {"temperature": 0.5}
