"""`oresearch run`: one question through the graph, with progress, and its files saved."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from rich.console import Console
from rich.text import Text

from oresearch_graph.command.approval import ask_about_plan, require_terminal
from oresearch_graph.command.outcome import (
    STATUS,
    as_json,
    places_for,
    print_next,
    print_report,
    print_summary,
    save,
)
from oresearch_graph.command.progress import LiveProgress, PlainProgress, progress_on
from oresearch_graph.command.stopped import stopped_trace
from oresearch_graph.errors import ConfigurationError
from oresearch_graph.events import event_from
from oresearch_graph.graph import ResearchGraph, create_research_graph
from oresearch_graph.policies.chat import ChatPolicy
from oresearch_graph.policies.extractive import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import describe_search

_THREAD: RunnableConfig = {"configurable": {"thread_id": "run"}}
_INTERRUPTED = 130


@dataclass(frozen=True)
class Research:
    """What one `oresearch run` was asked for."""

    question: str
    settings: ResearchSettings
    out: Path | None
    trace: Path | None
    as_json: bool = False
    quiet: bool = False


def research(asked: Research) -> int:
    """Run it and return the exit status. Raises OresearchError with one clear line."""
    if not asked.question.strip():
        raise ConfigurationError('the question is empty: oresearch run "your question"')
    if asked.settings.approve_plan:
        require_terminal()
    try:
        return asyncio.run(_research(asked))
    except KeyboardInterrupt:
        return _INTERRUPTED


async def _research(asked: Research) -> int:
    console = Console(stderr=True)
    policies = _policies(asked.settings)
    graph = create_research_graph(policies, settings=asked.settings, checkpointer=InMemorySaver())
    introduction = await _introduction(policies, asked.settings)
    if not asked.quiet:
        console.print(Text(introduction), soft_wrap=True)
    places = places_for(asked.question, asked.out, asked.trace)
    try:
        result = await _stream(graph, asked, console)
    except asyncio.CancelledError:
        trace = await stopped_trace(graph, _THREAD, policies.names)
        if trace is not None:
            save(places, trace, None)
            console.print(Text(f"stopped; what was done is in {places.trace}"))
        raise
    finally:
        await policies.aclose()
    trace, report = result["trace"], result["report"]
    save(places, trace, report)
    if asked.as_json:
        print(as_json(trace, report, places))  # noqa: T201 - the output asked for
    elif report is not None:
        print_report(report)
    elif asked.quiet:
        why = "; ".join(failure.message for failure in trace.failures)
        console.print(Text(f"oresearch: there is no report: {why}"), soft_wrap=True)
    if not asked.quiet:
        print_summary(console, trace, report, places)
        if trace.extractive:
            print_next(console, asked.question)
    return STATUS[trace.outcome]


async def _stream(graph: ResearchGraph, asked: Research, console: Console) -> dict[str, Any]:
    """The final state, after as many questions to the person as the graph asks."""
    send: Any = {"question": asked.question}
    with progress_on(console, quiet=asked.quiet) as progress:
        while True:
            await _show(graph, send, progress)
            snapshot = await graph.aget_state(_THREAD)
            if not snapshot.interrupts:
                return snapshot.values
            progress.pause()
            decision = ask_about_plan(console, snapshot.interrupts[0].value)
            send = Command(resume=decision.model_dump())


async def _show(graph: ResearchGraph, send: Any, progress: PlainProgress | LiveProgress) -> None:  # noqa: ANN401
    async for _, value in graph.astream(send, _THREAD, stream_mode="custom", subgraphs=True):
        event = event_from(value)
        if event is not None:
            progress.show(event)


def _policies(settings: ResearchSettings) -> Policies:
    named = (settings.model, settings.planner_model, settings.summarizer_model)
    if not any(named) and not settings.researcher_models:
        if settings.base_url:
            raise ConfigurationError("--base-url needs a model's name: add --model NAME")
        return Policies.single(ExtractivePolicy())
    return chat_policies(settings, parameters=settings.parameters)


async def _introduction(policies: Policies, settings: ResearchSettings) -> str:
    """One line: who writes, and from which documents. A server that does not answer raises here."""
    documents = describe_search(settings)
    chats = {
        policy.name: policy
        for policy in (policies.planner, *policies.researchers, policies.summarizer)
        if isinstance(policy, ChatPolicy)
    }
    if not chats:
        return (
            f"No language model: the extractive policy quotes passages of {documents}. Set "
            "OPENAI_API_KEY or --model for a model."
        )
    reasons = [f"{name} ({await policy.settle()})" for name, policy in chats.items()]
    return f"{'; '.join(reasons)} over {documents}."
