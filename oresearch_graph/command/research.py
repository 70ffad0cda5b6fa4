"""`oresearch run`: from options to settings, then one question through the graph, with progress,
and its files saved. Every fault is one line with the fix."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, get_args

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command
from pydantic import ValidationError
from rich.console import Console

from oresearch_graph.command.approval import ask_about_plan, require_terminal
from oresearch_graph.command.indexing import prepare_corpus
from oresearch_graph.command.outcome import (
    STATUS,
    as_json,
    print_next,
    print_report,
    print_summary,
    stopped_trace,
)
from oresearch_graph.command.places import Places, places_for, require_writable, save
from oresearch_graph.command.progress import Progress, progress_on
from oresearch_graph.command.terminal import lines
from oresearch_graph.errors import ConfigurationError, OresearchError
from oresearch_graph.graph.build import ResearchGraph, create_research_graph
from oresearch_graph.graph.events import event_from
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.servers import served_model
from oresearch_graph.policies.extractive.policy import ExtractivePolicy
from oresearch_graph.policies.models import Policies, chat_policies
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings, resolve_settings, setting_fault
from oresearch_graph.tools.choose import describe_search, search_name
from oresearch_graph.tools.daemon_threads import DaemonThreads
from oresearch_graph.trace import Trace

DEFAULT_MODEL: Final = "openai:gpt-5-mini"
"""Used when OPENAI_API_KEY is set and no model is named."""
_THREAD: Final[RunnableConfig] = {"configurable": {"thread_id": "run"}}
_INTERRUPTED: Final = 130


def settings_of(options: dict[str, Any], assignments: Sequence[str]) -> ResearchSettings:
    """Options and `--set name=value` pairs over the environment's settings over defaults.

    None is an option not given. Raises ConfigurationError.
    """
    values = {name: value for name, value in options.items() if value is not None}
    try:
        explicit = ResearchSettings.model_validate(values | _assigned(assignments))
    except ValidationError as error:
        raise ConfigurationError(f"{setting_fault(error)}; see oresearch run --help") from None
    return resolve_settings(explicit)


def _assigned(pairs: Sequence[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals:
            excerpt = brief(repr(pair), 60)
            raise ConfigurationError(f"--set {excerpt} is no setting: write --set name=value")
        if name not in ResearchSettings.model_fields:
            near = get_close_matches(name, ResearchSettings.model_fields, n=1, cutoff=0.7)
            fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(_names())
            raise ConfigurationError(f"there is no setting {name!r}: {fix}")
        values[name] = _value(name, value)
    return values


def _names() -> list[str]:
    return list(ResearchSettings.model_fields)


def _value(name: str, text: str) -> Any:  # noqa: ANN401 - of the setting's type
    """JSON where it reads as JSON, else the text; `800` stays text where a text is wanted."""
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    annotation = ResearchSettings.model_fields[name].annotation
    if (
        str in (annotation, *get_args(annotation))
        and value is not None
        and not isinstance(value, str)
    ):
        return text
    if annotation == tuple[str, ...] and isinstance(value, str):
        return tuple(part.strip() for part in value.split(","))
    return value


async def _with_model(settings: ResearchSettings) -> ResearchSettings:
    """The settings with the name of a server's one model, where they give its address alone."""
    if not settings.base_url or settings.model or settings.researcher_models:
        return settings
    return settings.model_copy(update={"model": await served_model(settings.base_url)})


def policies_for(settings: ResearchSettings) -> tuple[Policies, str]:
    """The policies, and the reason where the settings name no model. A base URL has one."""
    if not settings.model and not settings.base_url and os.environ.get("OPENAI_API_KEY"):
        settings = settings.model_copy(update={"model": DEFAULT_MODEL})
        why = f"OPENAI_API_KEY is set and no --model: {DEFAULT_MODEL}. "
        return chat_policies(settings, parameters=settings.parameters), why
    models = (settings.model, settings.planner_model, settings.summarizer_model)
    if any(models) or settings.researcher_models:
        return chat_policies(settings, parameters=settings.parameters), ""
    return Policies.single(ExtractivePolicy()), ""


async def introduction(policies: Policies, why: str, settings: ResearchSettings) -> str:
    """The line. Raises PolicyError for a server that does not answer."""
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
    is_default = settings.search.strip() == "auto" and search_name(settings) == "python"
    hint = " Set TAVILY_API_KEY for the web, or --corpus DIR." if is_default else ""
    return f"{why}{'; '.join(reasons)} over {documents}.{hint}"


@dataclass(frozen=True)
class Research:
    """What one `oresearch run` was asked for."""

    question: str
    settings: ResearchSettings
    out: Path | None
    trace: Path | None
    as_json: bool = False
    quiet: bool = False


def research(request: Research) -> int:
    """Run it and return the exit status. Raises OresearchError with one clear line."""
    console = Console(stderr=True)
    if not request.question.strip():
        raise ConfigurationError('the question is empty: oresearch run "your question"')
    if request.settings.approve_plan:
        require_terminal(console)
    places = places_for(request.question, request.out, request.trace)
    require_writable(places)
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(DaemonThreads())
        settings = runner.run(_with_model(request.settings))
        request = replace(request, settings=settings)
        policies, why = policies_for(settings)
        try:
            message = runner.run(introduction(policies, why, request.settings))
            _say(request, console, message)
            prepare_corpus(request.settings, console, quiet=request.quiet)
            return _run(runner, request, policies, places, console)
        except KeyboardInterrupt:
            return _INTERRUPTED
        finally:
            runner.run(policies.aclose())


def _run(
    runner: asyncio.Runner, request: Research, policies: Policies, places: Places, console: Console
) -> int:
    graph = create_research_graph(policies, settings=request.settings, checkpointer=InMemorySaver())

    def keep(cause: str) -> None:
        trace = runner.run(stopped_trace(graph, _THREAD, policies.names, cause))
        if trace is not None:
            faults = save(places, trace, None)
            messages = faults or [f"stopped; what was done is in {places.trace}"]
            console.print(lines("\n".join(messages)), soft_wrap=True)

    try:
        state = _answer(runner, graph, request, console)
    except (KeyboardInterrupt, EOFError):
        keep("")
        return _INTERRUPTED
    except OresearchError as error:
        keep(str(error))
        raise
    return _finish(request, state["trace"], state["report"], places, console)


def _answer(
    runner: asyncio.Runner, graph: ResearchGraph, request: Research, console: Console
) -> dict[str, Any]:
    """The final state, after as many questions to the person as the graph asks.

    The person is asked between two runs of the event loop: there Ctrl-C ends a prompt at once.
    """
    send: Any = {"question": request.question}
    with progress_on(console, quiet=request.quiet) as progress:
        while True:
            runner.run(_show(graph, send, progress))
            snapshot = runner.run(graph.aget_state(_THREAD))
            if not snapshot.interrupts:
                return snapshot.values
            progress.pause()
            try:
                decision = ask_about_plan(console, snapshot.interrupts[0].value)
            except (KeyboardInterrupt, EOFError):
                console.print()  # the prompt's line has no end yet
                raise
            progress.resume()
            send = Command(resume=decision.model_dump())


async def _show(graph: ResearchGraph, send: Any, progress: Progress) -> None:  # noqa: ANN401
    modes: list[Any] = ["custom", "updates"]
    async for space, mode, value in graph.astream(send, _THREAD, stream_mode=modes, subgraphs=True):
        if mode == "custom":
            event = event_from(value)
            if event is not None:
                progress.show(event)
        elif not space and "summarize" in value:
            progress.checking()


def _finish(
    request: Research, trace: Trace, report: str | None, places: Places, console: Console
) -> int:
    """Save first, then tell; a file that could not be written does not cost the report."""
    faults = save(places, trace, report)
    if request.as_json:
        print(as_json(trace, report, places))  # noqa: T201 - the output asked for
    elif report is not None:
        print_report(report)
    elif request.quiet:
        reasons = "; ".join(" ".join(failure.message.split()) for failure in trace.failures)
        console.print(lines(f"oresearch: there is no report: {reasons}"), soft_wrap=True)
    if not request.quiet:
        print_summary(console, trace, report, places)
        if trace.extractive:
            print_next(console, request.question)
    for fault in faults:
        console.print(lines(f"oresearch: {fault}"), soft_wrap=True)
    return 1 if faults else STATUS[trace.outcome]


def _say(request: Research, console: Console, text: str) -> None:
    if not request.quiet:
        console.print(lines(text), soft_wrap=True)
