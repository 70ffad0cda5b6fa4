"""A run's report read by a verifier, and mended once: what it costs, keeps, and survives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.models import Policies
from oresearch_graph.threads import Thread
from oresearch_graph.trace import Failure, Trace
from tests.agreement.mending import accuracy
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import CUT, REPORT, Documents, ScriptedPolicy
from tests.helpers.server_habits import Body, Fault, Message

PAGE = "https://example.org/orla"
PAGES = {
    PAGE: "Isa Noor built the mill on the Orne in 1911. Ada Berg, who had drawn it, was paid in "
    "grain. The mill burned once and was built again in stone."
}
TRUE = "The mill on the Orne was built by Isa Noor in 1911 [{n}]."
FALSE = "Isa Noor was paid for the mill in grain by Ada Berg [{n}]."
QUOTE = "Isa Noor was paid"
Say = Callable[[str], dict[str, str]]


def writer(*reports: str) -> ScriptedPolicy:
    """Searches once for each subtask; of the report one text, then what it writes when it is told
    of faults."""

    def write(thread: Thread) -> str:
        if thread.role == "planner":
            return "<subtask_list>\n1. The mill\n2. Its builder\n</subtask_list>"
        if thread.role == "summarizer":
            body = reports[min(len(thread.corrections), len(reports) - 1)].format(n=1001)
            return "\n\n" + REPORT.format(findings=body, references=f"[1001]. {PAGE}")
        if any(s.kind == "observation" and s.branch == thread.branch for s in thread.steps):
            number = 1000 * (thread.branch or 1) + 1
            answer = TRUE.format(n=number)
            if thread.forced:
                return f"{answer}</subtask_answer>"
            return f"<think>Enough.</think>\n<subtask_answer>{answer}</subtask_answer>"
        return "<think>Search.</think>\n<web_search>mill Orne</web_search>"

    return ScriptedPolicy(write)


def honest(sentence: str) -> dict[str, str]:
    if QUOTE in sentence:
        return {"verdict": "unsupported", "quote": QUOTE}
    return {"verdict": "supported", "quote": "Isa Noor built the mill on the Orne in 1911"}


def verdicts(say: Say) -> Callable[[list[Message], Body], str]:
    def brain(messages: list[Message], body: Body) -> str:
        asked = str(messages[-1]["content"]).rpartition("<claims-")[2].splitlines()
        lines = [line for line in asked if line[:1].isdigit() and ". " in line]
        rows = [
            {"number": n, **say(line.partition(". ")[2])} for n, line in enumerate(lines, start=1)
        ]
        return json.dumps({"sentences": rows})

    return brain


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(verdicts(honest)) as server:
        yield server


async def run(server: OpenAIServer, policy: ScriptedPolicy, **settings: Any) -> Trace:
    graph = create_research_graph(
        Policies.single(policy), search=Documents(PAGES),
        settings=ResearchSettings(
            **{"base_url": server.base_url, "verifier_model": "fake", **settings}
        ),
    )  # fmt: skip
    trace: Trace = (await graph.ainvoke({"question": "Who built the mill?"}))["trace"]
    return trace


def statuses(trace: Trace) -> list[str]:
    assert trace.citations is not None
    return [claim.status for claim in trace.citations.claims]


def named(trace: Trace, name: str) -> list[Failure]:
    return [failure for failure in trace.failures if failure.name == name]


async def test_what_the_verifier_finds_is_mended_once_and_the_draft_is_kept(server: OpenAIServer):
    policy = writer(f"{TRUE} {FALSE}", TRUE)
    trace = await run(server, policy)
    assert trace.answer is not None
    assert QUOTE not in trace.answer.text
    assert statuses(trace) == ["supported"]
    (revised,) = named(trace, "revised")
    assert QUOTE in str(revised.rejected)
    assert (trace.outcome, trace.repaired) == ("complete", True)
    (draft, told) = [thread for thread in policy.threads if thread.role == "summarizer"]
    assert not draft.corrections
    ((attempt, objections),) = told.corrections
    assert QUOTE in attempt
    assert f'the source does not say "{QUOTE}"' in objections
    assert "1911" not in objections, "what holds is not objected to"


async def test_its_cost_is_told_and_in_the_budget(server: OpenAIServer):
    trace = await run(server, writer(f"{TRUE} {FALSE}", TRUE))
    (usage,) = [usage for usage in trace.usage if usage.role == "verifier"]
    # What was decided of the draft's first sentence is not asked again.
    assert usage.calls == len([b for b in server.requests if "messages" in b]) == 1
    assert usage.prompt_tokens
    assert usage.completion_tokens
    with_verifier = sum(usage.calls for usage in trace.usage)
    spare = await run(server, writer(f"{TRUE} {FALSE}", TRUE), max_model_calls=with_verifier - 2)
    assert sum(usage.calls for usage in spare.usage) <= with_verifier - 2
    (unverified,) = named(spare, "unverified")
    assert "budget" in unverified.message


async def test_a_report_without_fault_is_written_once(server: OpenAIServer):
    policy = writer(TRUE)
    trace = await run(server, policy)
    assert statuses(trace) == ["supported"]
    assert sum(thread.role == "summarizer" for thread in policy.threads) == 1
    assert (trace.failures, trace.repaired) == ((), False)


@pytest.mark.parametrize("worse", [f"{FALSE} {FALSE}", "Nothing is known.", "", f"{TRUE} {FALSE}"])
async def test_a_report_that_is_no_better_leaves_the_draft(server: OpenAIServer, worse: str):
    trace = await run(server, writer(f"{TRUE} {FALSE}", worse))
    assert trace.answer is not None
    assert QUOTE in trace.answer.text
    assert "1911" in trace.answer.text
    assert statuses(trace) == ["supported", "unsupported"]
    assert not named(trace, "revised")


async def test_a_sentence_that_only_lost_its_citation_is_not_mended(server: OpenAIServer):
    trace = await run(server, writer(f"{TRUE} {FALSE}", f"{TRUE} {FALSE.replace(' [{n}]', '')}"))
    assert statuses(trace) == ["supported", "unsupported"]
    assert not named(trace, "revised")


async def test_a_new_report_that_was_cut_leaves_the_draft(server: OpenAIServer):
    policy = writer(f"{TRUE} {FALSE}", TRUE)
    whole = policy.script

    def cut(thread: Thread) -> str:
        text = whole(thread)
        return text[: text.index("## Concl")] + CUT if thread.corrections else text

    policy.script = cut
    trace = await run(server, policy, continuations=0)
    assert statuses(trace) == ["supported", "unsupported"]
    assert not named(trace, "revised")
    assert named(trace, "unverified")


async def test_a_new_report_that_nobody_could_read_leaves_the_draft(server: OpenAIServer):
    asked: list[Body] = []

    def once(body: Body) -> Fault | None:
        asked.append(body)
        return Fault("status", 401) if len(asked) > 1 else None

    server.fault_for = lambda body: once(body) if "messages" in body else None
    other = "Ada Berg was paid for the mill in grain by Isa Noor [{n}]."
    trace = await run(server, writer(f"{TRUE} {FALSE}", f"{TRUE} {other}"))
    assert statuses(trace) == ["supported", "unsupported"]
    assert named(trace, "unverified")


async def test_a_verifier_that_cannot_be_had_is_refused_before_anything_is_paid(
    server: OpenAIServer,
):
    policy = writer(TRUE)
    with pytest.raises(ConfigurationError, match="nonsense"):
        await run(server, policy, base_url=None, verifier_model="nonsense")
    assert policy.threads == []


@pytest.mark.parametrize("settings", [{"effort": "quick"}, {"verifier": "off"}])
async def test_where_nothing_is_verified_words_alone_tell(server: OpenAIServer, settings: Any):
    trace = await run(server, writer(f"{TRUE} {FALSE}", TRUE), **settings)
    assert not [body for body in server.requests if "messages" in body]
    assert not {"supported", "unsupported"} & set(statuses(trace))
    assert trace.failures == ()


async def test_nothing_is_mended_where_nothing_is_corrected(server: OpenAIServer):
    trace = await run(server, writer(f"{TRUE} {FALSE}", TRUE), corrections=0)
    assert statuses(trace) == ["supported", "unsupported"]
    assert trace.failures == ()


@pytest.mark.parametrize("fault", [Fault("status", 401), Fault("hang", seconds=30)])
async def test_a_verifier_that_fails_leaves_what_words_say_and_says_so(
    server: OpenAIServer, fault: Fault
):
    server.fault_for = lambda body: fault if "messages" in body else None
    trace = await run(server, writer(f"{TRUE} {FALSE}", TRUE), max_seconds=6.0)
    assert not {"supported", "unsupported"} & set(statuses(trace))
    (unverified,) = named(trace, "unverified")
    assert unverified.fault == "infrastructure"
    assert trace.outcome == "complete"
    assert trace.answer is not None


async def test_a_verdict_without_its_quote_changes_nothing():
    def invents(sentence: str) -> dict[str, str]:
        return {"verdict": "supported", "quote": f"indeed {sentence}"}

    with OpenAIServer(verdicts(invents)) as server:
        trace = await run(server, writer(f"{TRUE} {FALSE}", TRUE))
    assert "supported" not in statuses(trace)
    assert not named(trace, "unverified"), "it answered"


async def test_the_summarizers_own_model_reads_where_no_other_is_named():
    with OpenAIServer(ResearchBrain(("tides", "Moon"))) as server:
        graph = create_research_graph(
            "fake", search=Documents({"https://e.example/t": "The tides follow the Moon."}),
            settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        )  # fmt: skip
        trace = (await graph.ainvoke({"question": "What causes tides?"}))["trace"]
        read = [b for b in server.requests if "You check sentences" in str(b.get("messages"))]
    assert len(read) == sum(u.calls for u in trace.usage if u.role == "verifier") == 1
    assert trace.models["summarizer"] == "fake"


async def test_a_stream_of_messages_has_the_draft_and_then_the_report_whole():
    """A chat model writes, reads and mends: the second text is no stream of its own."""
    draft, mended = (body.format(n=1001) for body in (f"{TRUE} {FALSE}", TRUE))
    brain = ResearchBrain(("The mill", "The Orne"))
    read = verdicts(honest)

    def writes(messages: list[Message], body: Body) -> Any:
        text = str(messages[-1]["content"])
        if "You check sentences" in str(messages[0]["content"]):
            return read(messages, body)
        refused = "That was refused" in text
        if refused or "Now write the <suggested_answer>" in text:
            said = mended if refused else draft
            return REPORT.format(findings=said, references=f"[1001]. {PAGE}")
        return brain(messages, body)

    with OpenAIServer(writes) as server:
        graph = create_research_graph(
            "fake", search=Documents(PAGES),
            settings=ResearchSettings(base_url=server.base_url, rendering="turns"),
        )  # fmt: skip
        question: Any = {"question": "Who built the mill on the Orne?"}
        chunks = [
            (str(chunk.text), meta["langgraph_node"])
            async for chunk, meta in cast("Any", graph.astream(question, stream_mode="messages"))
        ]
        trace = (await graph.ainvoke(question))["trace"]
    assert named(trace, "revised")
    streamed = "".join(text for text, node in chunks if node == "summarize")
    assert QUOTE in streamed
    assert not [text for text, node in chunks if node == "mend"]
    (report,) = [text for text, node in chunks if node == "verify"]
    assert "1911" in report
    assert QUOTE not in report


@pytest.mark.parametrize("size", [2, 20])
async def test_truth_is_higher_with_the_verifier(size: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.agreement.mending.SEEDS", range(2, 8))
    before, _ = await accuracy(size, verifier=False)
    after, mended = await accuracy(size, verifier=True)
    assert after > before
    assert mended > 0
