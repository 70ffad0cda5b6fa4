"""`oresearch doctor`: which model server is there, what it can, and what a run will do with it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from rich.console import Console

from oresearch_graph.command.terminal import lines
from oresearch_graph.errors import OresearchError
from oresearch_graph.keys import Address, environment_key
from oresearch_graph.network.clients import described_network
from oresearch_graph.policies.chat.constraint import takes_grammar
from oresearch_graph.policies.chat.model_faults import fault_of
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.rendering_tools import WEB_SEARCH
from oresearch_graph.policies.chat.servers import KINDS, Server, served_model, server_at
from oresearch_graph.policies.serving import Serving, adapted, forecast
from oresearch_graph.redaction import brief
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.choose import describe_search

PORTS: Final = {11434: "Ollama", 1234: "LM Studio", 8080: "llama.cpp", 8000: "vLLM"}
"""Where local servers listen unless told otherwise, and which one does there."""
_TIMEOUT: Final = 120.0
"""Seconds for one answer of a server: a model may have to be loaded first."""
_COUNT: Final = "Count from 1 to 30, separated by commas. Write nothing else."
_ASK: Final = "Search for: how tall is the Quill bridge?"


class Trial(NamedTuple):
    """What a model's server did when it was tried."""

    stops: bool
    """A stop string ended the text."""
    calls: str
    """What came of asking for a call of a tool, in words."""
    usage: tuple[str, ...]
    """Which counts of tokens it gives."""
    pace: float | None
    """Tokens of a reply in a second, the reading of a short prompt included."""


def diagnose(base_url: str | None, model: str | None, settings: ResearchSettings) -> int:
    """Print the findings; the exit status: 0 a model answers, 1 none does."""
    console = Console()
    with asyncio.Runner() as runner:
        if base_url is None and model is None:
            return runner.run(_search_ports(console, settings))
        name = model or runner.run(served_model(str(base_url)))
        for label, text in runner.run(_findings(base_url, name, settings)):
            _say(console, label, text)
    return 0


def print_servers() -> int:
    """The table of servers that are known, and where each line comes from."""
    console = Console()
    for kind in KINDS:
        origin = "recorded" if kind.recorded else "not recorded"
        text = f"begins: {kind.beginning}; constraint: {kind.constraint}; {origin} ({kind.source})"
        _say(console, kind.name, text)
    return 0


async def _search_ports(console: Console, settings: ResearchSettings) -> int:
    addresses = [f"http://127.0.0.1:{port}/v1" for port in PORTS]
    servers = await asyncio.gather(*map(server_at, addresses))
    up = [(a, s) for a, s in zip(addresses, servers, strict=True) if s.models]
    for address, server in up:
        _say(console, "server", f"{server.summary} at {address}")
        _say(console, "models", ", ".join(server.models))
        _say(console, "next", f"oresearch doctor --base-url {address}")
    if not up:
        ports = ", ".join(f"{port} ({name})" for port, name in PORTS.items())
        _say(console, "server", f"none on this machine's usual ports: {ports}")
    for label, text in _surroundings(settings):
        _say(console, label, text)
    return 0 if up else 1


async def _findings(
    base_url: str | None, name: str, settings: ResearchSettings
) -> list[tuple[str, str]]:
    policy = ChatPolicy(name, base_url=base_url, timeout=_TIMEOUT, rendering=settings.rendering)
    try:
        reason = await policy.settle()
        server, serving = await policy.server(), await policy.serving()
        trial = await _tried(policy.model, policy.name)
    finally:
        await policy.aclose()
    address = Address.of(base_url) if base_url else None
    pace = serving.pace or trial.pace
    return [
        ("server", server.summary + (f" at {address.url}" if address else "")),
        ("model", policy.name),
        ("rendering", reason),
        ("stop", "stop strings end the text" if trial.stops else "stop strings are ignored"),
        ("tools", trial.calls),
        ("usage", ", ".join(trial.usage) or "none: token budgets cannot hold"),
        ("pace", f"{pace:.0f} tokens/s" if pace else "not known: no tokens counted"),
        ("run", _plan(adapted(settings, serving), server, serving)),
        *_surroundings(settings),
    ]


def _plan(settings: ResearchSettings, server: Server, serving: Serving) -> str:
    """What a run will do with such a server."""
    limits = settings.limits
    parts = [f"{settings.effort} effort, at most {limits.seconds / 60:.0f} min"]
    if seconds := forecast(limits, serving):
        parts.append(f"about {max(1, round(seconds / 60))} min for {limits.subtasks} subtasks")
    parts.append("a prompt for each role" if settings.by_role else "the training prompt")
    kind = next((kind for kind in KINDS if kind.name == server.kind), None)
    if settings.constrained and kind and takes_grammar(server.kind):
        parts.append(f"held to the protocol's grammar by {kind.constraint}")
    if settings.branches_at_once:
        parts.append(f"{settings.branches_at_once} subtask at a time")
    return ", ".join(parts)


def _surroundings(settings: ResearchSettings) -> Iterator[tuple[str, str]]:
    names = ("OPENAI_API_KEY", "TAVILY_API_KEY")
    missing = [name for name in names if not environment_key(name)]
    yield "keys", f"not set: {', '.join(missing)}" if missing else "set"
    yield "search", describe_search(settings)
    if network := described_network():
        yield "network", network


async def _tried(model: BaseChatModel, name: str) -> Trial:
    began = time.monotonic()
    usage = (await _reply(model, name, max_tokens=32)).usage_metadata
    seconds = time.monotonic() - began
    stopped = await _reply(model, name, max_tokens=16, stop=[","])
    counts: tuple[str, ...] = ("prompt", "reply") if usage else ()
    if usage and usage.get("input_token_details", {}).get("cache_read") is not None:
        counts = (*counts, "cached")
    return Trial(
        stops="," not in str(stopped.text),
        calls=await _calls(model, name),
        usage=counts,
        pace=usage["output_tokens"] / seconds if usage else None,
    )


async def _reply(model: BaseChatModel, name: str, **arguments: Any) -> AIMessage:  # noqa: ANN401
    try:
        return await model.ainvoke([HumanMessage(_COUNT)], **arguments)
    except Exception as error:  # noqa: BLE001 - the boundary to the provider's client
        fault = fault_of(error, name)
        raise fault if isinstance(fault, OresearchError) else fault.final(name, 1) from None


async def _calls(model: BaseChatModel, name: str) -> str:
    """A refusal is told with its cause: servers refuse what they do not know in many ways."""
    try:
        bound = model.bind_tools([WEB_SEARCH], tool_choice="required")
        message = await bound.ainvoke([HumanMessage(_ASK)], max_tokens=200)
    except Exception as error:  # noqa: BLE001 - the boundary to the provider's client
        return f"no native tool calls: {fault_of(error, name)}"
    return "native tool calls" if message.tool_calls else "no native tool call was made"


def _say(console: Console, label: str, text: str) -> None:
    console.print(lines(f"{label:<11} {brief(text, 400)}"), soft_wrap=True)
