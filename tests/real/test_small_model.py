"""A real language model of 0.5B parameters behind llama.cpp's own server, driven by the product.

Such a model is often wrong; what is held here is what the product promises of any model.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI

from datagen.judge.judges import judge_from
from datagen.settings.judge import JudgeSettings
from oresearch_graph import (
    ResearchSettings,
    Trace,
    check_report,
    create_research_graph,
    research_tool,
    violations,
)
from oresearch_graph.evidence.citations import in_words
from oresearch_graph.judging.judge_model import Spent
from oresearch_graph.judging.verifier import Verifier
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.local_model import LocalServer, local_server
from oresearch_graph.prompts import system_prompt
from oresearch_graph.settings import Rendering
from oresearch_graph.threads import Thread
from oresearch_graph.trace import parse_policy_text, world_step
from tests.planted_score import report_sentences, score
from tests.planted_world import World, planted_world
from tests.real.models import MISSING, model_file

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(MISSING is not None, reason=str(MISSING)),
]
CALLS = ("</web_search>", "</crawl_page>", "</subtask_answer>")

_UNDECIDED = {"found", "unchecked", "not_checkable"}
"""What is known by words alone."""


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """With the form of calls that the model writes: behind its own template it writes none, though
    a call is required, for llama.cpp lets any text stand before one."""
    template = Path(__file__).with_name("fenced_calls.jinja").read_text("utf-8")
    running = local_server(str(model_file("small")), chat_template=template)
    yield running
    running.close()


@pytest.fixture
def settings(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> ResearchSettings:
    monkeypatch.setenv("OPENAI_API_KEY", server.key)
    return ResearchSettings(model=server.name, base_url=server.base_url, effort="quick")


@pytest.fixture(scope="module")
def world() -> World:
    return planted_world(11)


@pytest.fixture(scope="module")
def pages(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    world.write(folder)
    return folder / "pages"


@pytest.fixture(scope="module")
def traces() -> list[Trace]:
    """Of the tests so far."""
    return []


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Prints a line for whoever runs this."""

    def line(text: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n{text}\n")

    return line


def _pace(trace: Trace) -> str:
    seconds = sum(span.seconds for span in trace.spans if span.name == "model")
    tokens = sum(usage.completion_tokens or 0 for usage in trace.usage)
    return f"{seconds:.0f} s, {tokens / seconds:.1f} tokens/s with the reading of prompts"


def test_doctor_says_what_the_server_is_and_what_a_run_will_do(server: LocalServer):
    command = [str(Path(sys.executable).with_name("oresearch")), "doctor"]
    environment = os.environ | {"OPENAI_API_KEY": server.key, "COLUMNS": "200"}
    answer = subprocess.run(
        [*command, "--base-url", server.base_url], env=environment, capture_output=True,
        text=True, timeout=180, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert server.key not in answer.stdout
    findings = dict(line.split(maxsplit=1) for line in answer.stdout.splitlines() if line[:1] > " ")
    assert findings["server"].startswith("llama.cpp, 8,192 tokens of context, 1 slot")
    assert findings["model"] == server.name
    assert findings["rendering"].startswith("prefill")
    assert findings["stop"] == "stop strings end the text"
    assert "cached" in findings["usage"]
    assert "held to the protocol's grammar" in findings["run"]


async def test_a_planted_question_ends_in_a_cited_report(settings, world, pages, traces, say):
    graph = create_research_graph(search=pages, settings=settings)
    trace: Trace = (await graph.ainvoke({"question": world.questions[0].question}))["trace"]
    traces.append(trace)
    assert trace.outcome == "complete", trace.failures
    assert trace.protocol.constrained
    assert violations(trace) == ()
    result = score(world, trace)
    say(f"planted: {result.hits} of {len(result.facts)} facts, {_pace(trace)}")
    assert result.cited >= 3
    assert result.loops == ()
    assert all(sentence.files for sentence in report_sentences(trace))
    cached = sum(usage.cached_tokens or 0 for usage in trace.usage)
    assert cached > 0


@pytest.mark.parametrize("rendering", ["turns", "tools"])
async def test_a_turn_in_another_rendering_is_bounded_and_read(
    settings, server, rendering: Rendering
):
    policy = ChatPolicy(server.name, base_url=server.base_url, rendering=rendering)
    plain = ResearchSettings(effort="quick", prompt_style="training")
    thread = Thread(
        id="turn", system=system_prompt(plain), question="How tall is the Quill bridge?",
        role="researcher", branch=1, bound=120,
        steps=(world_step("subtask", "The height of the Quill bridge", branch=1),),
    )  # fmt: skip
    turn = await policy.continue_thread(thread, CALLS)
    await policy.aclose()
    assert turn.text.strip()
    assert 0 < (turn.usage.completion_tokens or 0) <= 120
    steps = parse_policy_text(turn.text)
    assert "".join(step.text for step in steps).strip()
    assert turn.stop in {"length", "end", "stop"}


class FirstStepCalls(AgentMiddleware):
    """The first step has to call a tool, and the others may not."""

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        called = any(isinstance(message, ToolMessage) for message in request.messages)
        return await handler(request.override(tool_choice="none" if called else "required"))


async def test_an_agent_researches_with_the_tool(settings, server, world, pages, traces):
    chat = ChatOpenAI(model=server.name, base_url=server.base_url, temperature=0, max_tokens=200)
    tool = research_tool(search=pages, settings=settings)
    agent = create_agent(chat, [tool], middleware=[FirstStepCalls()])
    question = f"Research this, then tell me: {world.questions[1].question}"
    result = await agent.ainvoke({"messages": [HumanMessage(question)]})
    answers = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    assert answers
    assert answers[0].status == "success", answers[0].text
    assert isinstance(answers[0].artifact, Trace)
    assert "## References" in answers[0].text
    traces.append(answers[0].artifact)
    assert result["messages"][-1].text.strip()


async def test_the_judge_of_datagen_reads_five_verdicts(settings, traces, say):
    assert traces, "the tests before made none"
    judge = judge_from(
        JudgeSettings(
            model=settings.model,
            base_url=settings.base_url,
            votes=1,
            evidence_tokens=300,
            tries=1,
            timeout=300,
            concurrency=1,
        )
    )
    # In turn, so that the server has read what the next one asks.
    verdicts = [
        (await judge.judge(trace, None, Spent())).judged
        for trace in (traces[0], traces[0], traces[0], traces[-1], traces[-1])
    ]
    await judge.aclose()
    for verdict in verdicts:
        assert verdict.by == settings.model
        assert len(verdict.scores) == len(judge.criteria)
        assert 0 <= verdict.quality <= 1
    say(f"verdicts: quality {[round(verdict.quality, 2) for verdict in verdicts]}")


async def test_the_verifier_reads_sentences_of_three_pages(settings, world, say):
    facts = world.questions[0].facts[:3]
    pages = [(fact.pages[0], world.pages[fact.pages[0]]) for fact in facts]
    sources = [{"url": f"doc:{title}", "title": title, "text": text} for title, text in pages]
    told = [f"It is told that {fact.text} [{n}]." for n, fact in enumerate(facts, 1)]
    report = check_report(" ".join(told), sources)
    verifier = Verifier(settings.model, base_url=settings.base_url, tries=1, timeout=300)
    checked, findings = await verifier.check(report)
    await verifier.aclose()
    assert findings.faults == ()
    assert findings.decided + findings.undecided == sum(c.status in _UNDECIDED for c in report)
    for before, after in zip(report, checked, strict=True):
        assert after.status in {before.status, "supported", "unsupported"}
    say(f"verifier: {in_words(checked.counts)}; by words {in_words(report.counts)}")
