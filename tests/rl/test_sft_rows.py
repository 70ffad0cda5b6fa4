"""SFT rows and their tokens: what is trained is the policy's text of a thread, as sampled."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.rows.sft import SFTRow, UnclearThreads, trace_rows
from oresearch_graph.trace import (
    Step,
    Trace,
    Usage,
    render_step,
    render_steps,
    step_segments,
    world_step,
)
from rl.rollouts.thread_tokens import ThreadTokens
from rl.rows.sft_dataset import encode_row
from tests.helpers.scripted import failing, research_script
from tests.helpers.sft_traces import BOTH, SYSTEM, run
from tests.helpers.small_tokenizers import greedy_tokenizer, protocol_tokenizer

TOKENIZERS = (protocol_tokenizer, greedy_tokenizer)


def trained(row, tokens):
    """The text of the ids with mask 1."""
    encoded = encode_row(row, tokens)
    return tokens.decode(encoded.ids[encoded.mask.bool()].tolist())


def policy_text(trace):
    return "".join(
        text
        for step in trace.steps
        for author, text in step_segments(step, trace.protocol.tools)
        if author == "policy"
    )


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("execution", BOTH)
async def test_decoded_rows_are_the_opening_and_the_threads_text(execution, tokenizer):
    trace, policy = await run(execution)
    tokens = ThreadTokens(tokenizer())
    last = {thread.id: thread for thread in policy.threads}
    rows = trace_rows(trace, SYSTEM, "threads")
    assert len(rows) == len(last)
    for row, thread in zip(rows, last.values(), strict=True):
        text = tokens.decode(encode_row(row, tokens).ids.tolist())
        opening = tokens.decode(tokens.opening(thread.system, thread.question))
        written = policy.script(thread)
        assert text == opening + render_steps(thread.steps) + written


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
@pytest.mark.parametrize("rows", ["threads", "linear"])
@pytest.mark.parametrize("execution", BOTH)
async def test_every_policy_character_is_trained_exactly_once(execution, rows, tokenizer):
    trace, _ = await run(execution)
    tokens = ThreadTokens(tokenizer())
    found = trace_rows(trace, SYSTEM, rows)
    assert [trained(row, tokens) for row in found] == [row.policy_text for row in found]
    assert "".join(row.policy_text for row in found) == policy_text(trace)


async def test_a_parallel_trace_gives_a_row_per_thread_and_masks_what_others_wrote():
    trace, _ = await run()
    plan, one, two, report = trace_rows(trace, SYSTEM, "threads")
    assert [plan.role, one.role, two.role, report.role] == [
        "planner", "researcher", "researcher", "summarizer",
    ]  # fmt: skip
    assert (one.branch, two.branch, plan.branch, report.branch) == (1, 2, None, None)
    assert one.pieces[0].author == "world"
    assert one.pieces[0].text.startswith("<subtask_list>")
    assert "How large are tides?</subtask>" not in one.pieces[0].text
    assert [piece.author for piece in report.pieces] == ["world", "policy"]
    assert report.pieces[0].text.count("<subtask_answer>") == 2
    assert "<web_search>" not in report.pieces[0].text
    assert report.pieces[1].text.lstrip().startswith("<suggested_answer>")


async def test_a_sequential_trace_is_one_row_in_both_modes():
    trace, _ = await run("sequential")
    assert trace_rows(trace, SYSTEM, "threads") == trace_rows(trace, SYSTEM, "linear")
    (row,) = trace_rows(trace, SYSTEM, "threads")
    assert (row.thread, row.role) == ("run", None)
    assert "<subtask>What causes tides?</subtask>" in row.policy_text


async def test_observations_with_tags_stay_the_worlds():
    trace, _ = await run()
    shown = "".join(render_step(step) for step in trace.steps if step.kind == "observation")
    assert "mine" in shown
    for row in trace_rows(trace, SYSTEM, "threads"):
        assert "mine" not in row.policy_text


async def test_a_forced_answer_is_opened_by_the_world_in_one_piece_with_the_observation():
    trace, _ = await run(script=research_script(turns=5), max_tool_calls=2)
    row = trace_rows(trace, SYSTEM, "threads")[1]
    opened, answer = row.pieces[-2:]
    assert opened.author == "world"
    assert "</observation>\n\n<subtask_answer>" in opened.text
    assert answer.text.startswith("The Moon causes tides")


async def test_what_the_world_showed_last_is_left_out_where_the_policy_wrote_no_more():
    trace, _ = await run(script=failing(research_script(turns=2), branch=2))
    assert trace.branches[2][-1].kind == "observation"
    row = next(r for r in trace_rows(trace, SYSTEM, "threads") if r.branch == 2)
    assert row.pieces[-1].author == "policy"
    assert row.pieces[-1].text.endswith("</web_search>")


@given(st.lists(st.tuples(st.sampled_from(["policy", "world"]), st.text()), max_size=12))
def test_no_token_crosses_an_authors_border(parts):
    row = SFTRow(
        id="t-run", trace_id="t", thread="run", question="q", system="s", fingerprint="f",
        execution="parallel", segments=[{"author": a, "text": t} for a, t in parts],
    )  # fmt: skip
    for tokenizer in TOKENIZERS:
        tokens = ThreadTokens(tokenizer())
        encoded = encode_row(row, tokens)
        assert trained(row, tokens) == row.policy_text
        opening = len(tokens.opening("s", "q"))
        body = tokens.decode(encoded.ids[opening:].tolist())
        assert body == "".join(piece.text for piece in row.pieces)


def test_the_greedy_tokenizer_does_merge_over_the_border():
    tokens = ThreadTokens(greedy_tokenizer())
    call, observation = "</web_search>", "\n\n<observation>"
    assert tokens.encode(call + observation) != tokens.encode(call) + tokens.encode(observation)


async def test_a_plan_or_report_inside_a_branch_is_no_thread():
    trace, _ = await run()
    at = next(i for i, step in enumerate(trace.steps) if step.branch == 1) + 1
    stray = Step(kind="suggested_answer", text="early")
    mixed = trace.model_copy(update={"steps": (*trace.steps[:at], stray, *trace.steps[at:])})
    with pytest.raises(UnclearThreads, match="among the steps"):
        trace_rows(mixed, SYSTEM, "threads")
    (row,) = trace_rows(mixed, SYSTEM, "linear")
    assert "early" in row.policy_text


async def test_a_report_by_the_last_researcher_is_not_taken_for_the_summarizers():
    trace, _ = await run()
    researchers = tuple(u for u in trace.usage if u.role != "summarizer")
    with pytest.raises(UnclearThreads, match="last researcher"):
        trace_rows(trace.model_copy(update={"usage": researchers}), SYSTEM, "threads")
    assert len(trace_rows(trace.model_copy(update={"usage": ()}), SYSTEM, "threads")) == 4


def test_a_plan_of_a_persons_alone_trains_nothing():
    trace = Trace(id="t", question="q", steps=(world_step("subtask_list", "1. a"),),
                  usage=(Usage(role="planner"),))  # fmt: skip
    assert trace_rows(trace, SYSTEM, "threads") == []
