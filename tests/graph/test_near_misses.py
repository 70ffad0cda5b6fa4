"""Near misses of the protocol, as models without constraints write them: each is read for what it
stands for, and the trace says so."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from oresearch_graph import create_research_graph, violations
from oresearch_graph.rows.sft import trace_rows
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace
from oresearch_graph.trace.tags import step_segments
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import INVENTED, ResearchBrain
from tests.helpers.scripted import PAGES, Documents
from tests.helpers.server_habits import Body, Message

Rewrite = Callable[[str], str]

SUBTASK = "The cause of tides"
PLAN = re.compile(r"<subtask_list>\n1\. (.*)\n</subtask_list>")


def _sub(pattern: str, replacement: str) -> Rewrite:
    return lambda text: re.sub(pattern, replacement, text, flags=re.DOTALL)


def _plan(replacement: str) -> Rewrite:
    return lambda text: PLAN.sub(replacement, text)


def _before_call(text: str) -> str:
    """What the model writes up to its call, where it writes one."""
    return re.sub(r"(<web_search>[^<]*).*", r"\1", text, flags=re.DOTALL)


CERTAIN: dict[str, Rewrite] = {
    "a subtask for the list": _plan(r"<subtask>\1</subtask>"),
    "several subtasks": _plan(r"1. <subtask>\1</subtask>\n2. <subtask>The size of tides</subtask>"),
    "subtasks without close tags": _plan(r"<subtask>\1\n<subtask>The size of tides\n"),
    "subtasks within the list": _plan(r"<subtask_list>\n<subtask>\1</subtask>\n</subtask_list>"),
    "subtasks within an open list": _plan(r"<subtask_list>\n<subtask>\1</subtask>"),
    "a Markdown list": _plan(r"Here are the subtasks:\n\n- \1\n- The size of tides"),
    "a numbered list": _plan(r"# Plan\n1. \1\n2. The size of tides"),
    "a list in a fence": _plan(r"```\n1. \1\n2. The size of tides\n```"),
    "a plan in a fence": _plan(r"```xml\n\g<0>\n```"),
    "a plan without its end": _plan(r"<subtask_list>\n1. \1"),
    "a turn in a fence": _sub(r"(<think>.*)", r"```xml\n\1\n```"),
    "each tag in back-ticks": _sub(r"(</?(?:think|subtask_list|suggested_answer)>)", r"`\1`"),
    "a call to the end of the line": _before_call,
    "a call, then talk": lambda text: _before_call(text).replace(
        "<web_search>The cause of tides", "<web_search>The cause of tides\nI wait for the results."
    ),
    "an answer without its end": _sub(r"(<subtask_answer>.*?)</subtask_answer>.*", r"\1"),
    "a report without its end": _sub(r"(<suggested_answer>.*?)</suggested_answer>.*", r"\1"),
    "a report in a fence": _sub(r"(<suggested_answer>.*)", r"```markdown\n\1"),
    "a bare report": _sub(r"<suggested_answer>(.*?)</suggested_answer>.*", r"\1"),
}
GUESSES: dict[str, Rewrite] = {
    "a bare answer": _sub(
        r"(?:<think>Enough.</think>\n)?<subtask_answer>(.*?)</subtask_answer>.*", r"\1"
    ),
    "a bare answer behind a thought": _sub(r"<subtask_answer>(.*?)</subtask_answer>.*", r"\1"),
    "a bare report without a conclusion": _sub(
        r"<suggested_answer>(.*?)## Conclusion.*?(## References.*?)</suggested_answer>.*", r"\1\2"
    ),
}


async def run(rewrite: Rewrite, **settings: Any) -> tuple[dict[str, Any], list[str], int]:
    """The run's result, what was sampled, and how many calls it took."""
    sampled: list[str] = []

    def brain(messages: list[Message], body: Body) -> str:
        text = rewrite(str(ResearchBrain(subtasks=(SUBTASK,), calls=1)(messages, body)))
        ends = [at for stop in body.get("stop") or [] if (at := text.find(stop)) >= 0]
        sampled.append(text[: min(ends, default=len(text))])
        return text

    with OpenAIServer(brain) as server:
        explicit = {"rendering": "turns", "effort": "quick", "corrections": 1, **settings}
        graph = create_research_graph(
            "fake", search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, **explicit),
        )  # fmt: skip
        state = await graph.ainvoke({"question": "What causes tides?"})
        return state, sampled, len(server.requests)


def recovered(trace: Trace) -> list[str]:
    return [failure.message for failure in trace.failures if failure.name == "recovered"]


def policy_text(trace: Trace) -> str:
    return "".join(
        text for step in trace.steps for who, text in step_segments(step) if who == "policy"
    )


@pytest.mark.parametrize("kind", CERTAIN)
async def test_what_is_certain_costs_no_call_more(kind):
    rewrite = CERTAIN[kind]
    plain, _, calls = await run(lambda text: text)
    assert violations(plain["trace"]) == ()
    state, sampled, spent = await run(rewrite)
    trace = state["trace"]
    branches = len(state["trace"].branches)
    assert spent == calls + 2 * (branches - 1)
    assert state["report"]
    assert trace.outcome == "complete"
    assert trace.subtasks[0] == SUBTASK
    assert recovered(trace)
    assert violations(trace)
    assert trace.repaired
    assert len(policy_text(trace)) == sum(map(len, sampled))
    assert all(text in policy_text(trace) for text in sampled)
    rows = trace_rows(trace, "system", "threads")
    assert "".join(row.policy_text for row in rows) == policy_text(trace)


@pytest.mark.parametrize("kind", GUESSES)
async def test_a_guess_waits_until_the_corrections_are_spent(kind):
    state, sampled, _ = await run(GUESSES[kind])
    trace = state["trace"]
    rejected = [failure for failure in trace.failures if failure.name == "repaired"]
    assert rejected
    assert recovered(trace)
    assert violations(trace)
    assert state["report"]
    assert trace.outcome == "complete"
    for failure in rejected:
        sampled.remove(failure.rejected or "")
    assert policy_text(trace) == "".join(sampled)


@pytest.mark.parametrize("kind", [*CERTAIN, *GUESSES])
async def test_without_corrections_what_was_written_is_what_is_judged(kind):
    state, _, _ = await run({**CERTAIN, **GUESSES}[kind], corrections=0)
    assert not recovered(state["trace"])


async def test_the_lines_of_the_prompt_are_no_plan():
    line = "For each subtask, in <subtask>: <think> what is known and what is missing"
    state, _, _ = await run(_plan(rf"<subtask_list>\n1. {line[:16]}\n2. \1\n</subtask_list>"))
    trace = state["trace"]
    assert trace.subtasks == ("What causes tides?",)
    assert "plan_fallback" in {failure.name for failure in trace.failures}
    assert trace.outcome == "complete"


async def test_subtasks_that_an_embedder_names_are_a_plan():
    state, _, calls = await run(lambda text: text, prompts={"planner": f"Take: {SUBTASK}."})
    assert violations(state["trace"]) == ()
    assert calls == 4


async def test_text_that_no_evidence_came_before_is_neither_answer_nor_report():
    state, _, _ = await run(_sub(r"<think>.*", "The Moon causes tides, and it spans 115 metres."))
    assert state["trace"].outcome == "failed"
    assert state["report"] is None
    state, _, _ = await run(_sub(r"<think>.*", "<subtask_answer>The Moon causes them."))
    assert state["report"] is None
    report = f"<suggested_answer>## Introduction\nThe Moon.</suggested_answer>{INVENTED}"
    state, _, _ = await run(_sub(r"<think>.*", report))
    assert state["report"] is None
