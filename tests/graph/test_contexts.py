"""Runs on servers with short contexts, in each server's own words: all end in a report, and where
the server tells its context no request is refused."""

from __future__ import annotations

import json
from typing import Any, Final, Literal, NamedTuple

import pytest

from oresearch_graph import Trace, create_research_graph
from oresearch_graph.policies.serving import Serving, adapted
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hit
from tests.graph.test_overflow import WORDS
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import Documents
from tests.helpers.server_habits import Body, Fault, Habits, Message, ToolCalls
from tests.helpers.small_model import forget_probes, small_model

QUESTION: Final = "What causes tides, and how large are they?"
THOUGHT: Final = "I look up what the Moon has to do with it, and how large the tides are. " * 3
ANSWER: Final = "the sources say that the Moon causes tides which reach 16 metres in Fundy. " * 4


class Kind(NamedTuple):
    """A server as it tells its context and refuses what is longer."""

    pages: dict[str, Any]
    bounds_count: bool
    """It refuses prompt and bound together; else the prompt alone."""
    on_final_assistant: Literal["continue", "echo", "restart", "refuse"]


def models(**entry: object) -> dict[str, Any]:
    return {"object": "list", "data": [{"id": "fake", "object": "model", **entry}]}


def kinds(context: int) -> dict[str, Kind]:
    slots = {"default_generation_settings": {"n_ctx": context}, "total_slots": 8}
    loaded = {"publisher": "p", "loaded_context_length": context}
    listed = {"/v1/models": models(owned_by="organization_owner")}
    running = {"models": [{"name": "fake", "model": "fake", "context_length": context}]}
    return {
        "llama.cpp": Kind(
            {"/v1/models": models(owned_by="llamacpp"), "/props": slots}, False, "echo"
        ),
        "vLLM": Kind(
            {"/v1/models": models(owned_by="vllm", max_model_len=context)}, True, "continue"
        ),
        "LM Studio": Kind(
            {**listed, "/api/v0/models": models(**loaded)}, False, "restart"
        ),
        "TGI": Kind(
            {"/v1/models": models(owned_by="tgi"), "/info": {"max_total_tokens": context}},
            True, "continue",
        ),
        "Ollama": Kind(
            {"/v1/models": models(owned_by="library"), "/api/ps": running}, False, "restart"
        ),
    }  # fmt: skip


class Verbose(ResearchBrain):
    """Thinks and answers at length."""

    def __call__(self, messages: list[Message], body: Body) -> str | ToolCalls:
        reply = super().__call__(messages, body)
        if isinstance(reply, ToolCalls):
            return ToolCalls(reply.calls, reply.text.replace("I look it up.", THOUGHT))
        reply = reply.replace("I look it up.", THOUGHT)
        return reply.replace("this is what the sources say", ANSWER.strip(" ."))


class LongPages(Documents):
    """Whose search results are whole pages."""

    def _hits(self, query: str) -> list[Hit]:
        return [Hit(url=url, title=url, snippet=text) for url, text in self.pages.items()]


PAGES: Final = {
    f"https://example.org/{number}": f"Page {number}: the Moon causes tides in bay {number}. " * 400
    for number in range(12)
}


def short_server(name: str, context: int, *, tells: bool, calls: int = 4) -> OpenAIServer:
    """3.5 characters are a token."""
    kind = kinds(context)[name]
    subtasks = tuple(f"What causes tides in bay {number}" for number in range(3))
    server = OpenAIServer(
        Verbose(subtasks, calls=calls),
        Habits(on_final_assistant=kind.on_final_assistant),
        context=context, pages=kind.pages if tells else {"/v1/models": models()}, characters=3.5,
    )  # fmt: skip
    status, words = WORDS[name]

    def refusal(body: Body) -> Fault | None:
        bound = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        prompt = server.tokens(body)
        if prompt + (bound if kind.bounds_count else 0) <= context:
            return None
        text = json.dumps(words).replace("5210", str(prompt + bound)).replace("4096", str(context))
        server.refused.append(body)
        return Fault("status", status, body=json.loads(text))

    server.fault_for = refusal
    return server


async def research(server: OpenAIServer, **settings: Any) -> Trace:
    forget_probes()
    documents = LongPages(PAGES)
    graph = create_research_graph(
        "fake", search=documents, reader=documents,
        settings=ResearchSettings(base_url=server.base_url, **settings),
    )  # fmt: skip
    state = await graph.ainvoke({"question": QUESTION})
    assert state["report"]
    trace: Trace = state["trace"]
    return trace


@pytest.mark.parametrize(
    ("name", "context", "effort"),
    [
        *((name, context, "quick") for name in kinds(0) for context in (2_048, 4_096, 8_192)),
        *(("vLLM", context, "standard") for context in (2_048, 4_096, 8_192, 32_768)),
        ("llama.cpp", 32_768, "standard"),
        ("LM Studio", 4_096, "standard"),
    ],
)
async def test_a_context_that_is_told_is_never_exceeded(
    name: str, context: int, effort: Any
) -> None:
    with short_server(name, context, tells=True) as server:
        trace = await research(server, effort=effort)
    assert not server.refused
    assert trace.outcome in {"complete", "partial"}
    assert trace.outcome == "complete" or context < 4_096
    answers = [step for step in trace.steps if step.kind == "subtask_answer"]
    assert len(answers) == len(trace.subtasks) == 3


@pytest.mark.parametrize("name", list(kinds(0)))
async def test_a_context_is_learnt_from_a_refusal(name: str) -> None:
    with short_server(name, 4_096, tells=False) as server:
        trace = await research(server, effort="standard")
    assert trace.outcome in {"complete", "partial"}
    branches = len(trace.subtasks)
    # Branches that work at one time learn at one time; Ollama's words tell no context.
    assert len(server.refused) <= (2 * branches if name == "Ollama" else branches + 1)


@pytest.mark.parametrize("effort", ["quick", "standard"])
@pytest.mark.parametrize("context", [2_048, 4_096])
async def test_a_slow_server_with_one_slot_never_sees_more_than_its_context(
    context: int, effort: Any
) -> None:
    with short_server("llama.cpp", context, tells=True) as server:
        server.brain, server.slots, server.pace = small_model, 1, 9.0
        server.pages["/props"]["total_slots"] = 1
        trace = await research(server, effort=effort)
    assert trace.outcome == "complete"
    assert not server.refused
    assert trace.protocol.constrained


async def test_calls_of_one_turn_share_what_the_context_leaves() -> None:
    class Several(Verbose):
        def __call__(self, messages: list[Message], body: Body) -> str | ToolCalls:
            reply = super().__call__(messages, body)
            if not isinstance(reply, ToolCalls):
                return reply
            calls = tuple(
                ("web_search", {"queries": [f"tides {n}", f"Moon {n}"]}) for n in (1, 2, 3)
            )
            return ToolCalls(calls, reply.text)

    with short_server("vLLM", 4_096, tells=True) as server:
        server.brain = Several(("What causes tides", "How large tides are"), calls=3)
        trace = await research(server, effort="quick", rendering="tools")
    assert trace.outcome == "complete"
    assert not server.refused


def test_explicit_figures_hold_in_a_short_context() -> None:
    short = Serving(context=4_096)
    explicit = ResearchSettings(observation_tokens=3_000, bounds={"turn": 3_000})
    limits = adapted(explicit, short).limits
    assert (limits.observation_tokens, limits.bounds.turn) == (3_000, 3_000)
    assert limits.bounds.report == 1_024
    assert adapted(explicit, short).continuations == 1
    assert adapted(ResearchSettings(continuations=3), short).continuations == 3
    again = adapted(adapted(ResearchSettings(), short), short)
    assert again.limits == adapted(ResearchSettings(), short).limits
    roomy = ResearchSettings()
    assert adapted(roomy, Serving(context=131_072)) is roomy
