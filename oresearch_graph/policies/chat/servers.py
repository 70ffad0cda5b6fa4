"""What stands at a model's address: which server, the names of its models, context and slots.

Servers are told apart by what they answer on their own paths, never by their port.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, cast
from urllib.parse import urlsplit

import httpx
from langchain_core.language_models import BaseChatModel

from oresearch_graph.errors import ConfigurationError, PolicyError
from oresearch_graph.keys import shown_address
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.model_faults import fault_of
from oresearch_graph.redaction import brief


class ServerKind(NamedTuple):
    """A server that people run models with, as its documentation describes it."""

    name: str
    beginning: str
    """How a reply is begun for the model: the request field, or what the server does by itself."""
    constraint: str
    """How a grammar is sent."""
    source: str
    recorded: bool = False
    """True: the answers were recorded from a running server; False: taken from `source`."""


_FINAL: Final = "continue_final_message"
_PREFIX: Final = "prefix: true in the message"

KINDS: Final = (
    ServerKind(
        "llama.cpp", "a final assistant message; returned with the reply", "grammar (GBNF)",
        "tools/server README; pull request 13174", recorded=True,
    ),
    ServerKind(
        "vLLM", _FINAL, "structured_outputs (GBNF)", "vLLM 0.27.1 on CPU", recorded=True,
    ),
    ServerKind("SGLang", _FINAL, "regex, ebnf", "OpenAI APIs; pull request 4226"),
    ServerKind("Ollama", "a final assistant message", "format (JSON schema)", "issue 6778"),
    ServerKind("LM Studio", "found by the probe", "response_format", "REST API v0"),
    ServerKind("TGI", _FINAL, "response_format (regex)", "pull request 2733"),
    ServerKind("DeepSeek", f"{_PREFIX}, at /beta", "none", "Chat Prefix Completion"),
    ServerKind("Mistral", _PREFIX, "response_format", "chat completion API"),
    ServerKind("OpenAI", "none", "strict tools", "API reference"),
)  # fmt: skip
AT_HOME: Final = frozenset(("llama.cpp", "Ollama", "LM Studio"))
"""Servers that people run on a machine of their own, however slow."""
BATCHING: Final = frozenset(("vLLM", "SGLang", "TGI", "DeepSeek", "Mistral", "OpenAI"))
"""Servers of large models, which may well write less than 40 tokens/s for each of many requests."""
BY_PREFIX: Final = frozenset(("DeepSeek", "Mistral"))
"""Servers that continue the final assistant message where it has `prefix: true`."""
KNOWS_MAX_TOKENS: Final = frozenset(("Ollama", "DeepSeek", "Mistral", "unknown"))
"""Servers that may ignore `max_completion_tokens`, which ChatOpenAI sends, without a word: ollama
issue 7125, llama-cpp-python issue 1907; the references of DeepSeek and Mistral have `max_tokens`
alone."""
_OWNERS: Final = {
    "llamacpp": "llama.cpp", "vllm": "vLLM", "sglang": "SGLang", "library": "Ollama",
    "organization_owner": "LM Studio", "deepseek": "DeepSeek", "mistralai": "Mistral",
}  # fmt: skip
"""What `owned_by` of the list of models says."""
_HOSTS: Final = {"deepseek.com": "DeepSeek", "mistral.ai": "Mistral", "openai.com": "OpenAI"}

Answer = tuple[Any, Mapping[str, str]]
"""The JSON of an answer, and its headers."""
Get = Callable[[str], Awaitable[Answer | None]]
"""What a path of the server answers: `models` below the base URL, others from the root. None: no
JSON with status 200."""


class Server(NamedTuple):
    """A model's server as it described itself."""

    kind: str = "unknown"
    """A name of KINDS, or unknown."""
    models: tuple[str, ...] = ()
    context: int | None = None
    """Tokens that one request may hold, prompt and reply together."""
    slots: int | None = None
    """Requests that it works on at one time."""

    @property
    def summary(self) -> str:
        """A few words for people."""
        name = "a server that does not say what it is" if self.kind == "unknown" else self.kind
        facts = [name]
        if self.context:
            facts.append(f"{self.context:,} tokens of context")
        if self.slots:
            facts.append(f"{self.slots} slot{'s' * (self.slots > 1)}")
        return ", ".join(facts)


async def served_model(base_url: str) -> str:
    """The name of the one model that a server has.

    Raises ConfigurationError where it has several, or does not tell.
    """
    faults: list[Exception] = []
    server = await server_at(base_url, faults)
    if len(server.models) == 1:
        return server.models[0]
    if not server.models:
        untold = f"{shown_address(base_url)} does not tell which model it has"
        if faults:
            fault = fault_of(faults[0], untold)
            untold = str(fault if isinstance(fault, PolicyError) else fault.final(untold, 1))
        raise ConfigurationError(f"{untold}; if it lists none, add --model NAME")
    names = ", ".join(server.models[:8]) + (", …" if len(server.models) > 8 else "")
    raise ConfigurationError(
        f"{shown_address(base_url)} has {len(server.models)} models: add --model with one of "
        f"{names}"
    )


async def server_at(base_url: str, faults: list[Exception] | None = None) -> Server:
    """The server at an address, asked without a model's name. `faults` gets why it did not
    answer."""
    model = connect("unnamed", base_url=base_url, timeout=_SECONDS)
    try:
        return await server_of(model, "unnamed", faults)
    finally:
        await cast("Any", model).root_async_client.close()


async def server_of(
    model: BaseChatModel, name: str, faults: list[Exception] | None = None
) -> Server:
    """The server of an OpenAI-compatible model, asked through the model's own client: its keys,
    headers and proxies. A server that answers none of it is unknown; nothing is raised."""
    client = getattr(model, "root_async_client", None)
    if client is None:
        return Server()
    base_url = str(client.base_url).rstrip("/")

    async def get(path: str) -> Answer | None:
        address = path if path == "models" else base_url.removesuffix("/v1") + path
        try:
            async with asyncio.timeout(_SECONDS):
                response = await client.with_options(max_retries=0).get(
                    address, cast_to=httpx.Response
                )
            return response.json(), response.headers
        except Exception as error:  # noqa: BLE001 - whatever it is, the server did not tell
            if faults is not None:
                faults.append(error)
            return None

    return await identify(base_url, name, get)


async def identify(base_url: str | None, model: str, get: Get) -> Server:
    """The server at `base_url`; what it does not say stays unknown."""
    host = urlsplit(base_url or "https://api.openai.com").hostname or ""
    known = next((kind for end, kind in _HOSTS.items() if f".{host}".endswith(f".{end}")), None)
    if known is not None:
        return Server(known)
    body, headers = await get("models") or (None, {})
    entries = _entries(body)
    names = tuple(brief(entry.get("id") or "", 200) for entry in entries)
    entry = next((e for e in entries if e.get("id") == model), entries[0] if entries else {})
    kind = _OWNERS.get(str(entry.get("owned_by")).lower())
    if headers.get("server", "").startswith("llama.cpp"):
        kind = "llama.cpp"
    context = _count(entry.get("max_model_len"))
    if not entries or (kind and context):
        return Server(kind or "unknown", names, context)
    own = dict(zip(_PATHS, await asyncio.gather(*map(get, _PATHS)), strict=True))
    pages = {path: answer[0] for path, answer in own.items() if answer is not None}
    return _described(Server(kind or _kind_by_paths(pages), names, context), model, pages)


_SECONDS: Final = 3.0
"""For one of these answers: a person may be waiting."""
_PATHS: Final = ("/props", "/api/ps", "/api/v0/models", "/info")


def _kind_by_paths(pages: Mapping[str, Any]) -> str:
    if isinstance(_at(pages, "/props", "default_generation_settings"), dict):
        return "llama.cpp"
    if isinstance(_at(pages, "/api/ps", "models"), list):
        return "Ollama"
    if any("loaded_context_length" in e or "publisher" in e for e in _loaded(pages)):
        return "LM Studio"
    return "TGI" if _count(_at(pages, "/info", "max_total_tokens")) else "unknown"


def _described(server: Server, model: str, pages: Mapping[str, Any]) -> Server:
    """With the context and slots that the server's own paths tell."""
    match server.kind:
        case "llama.cpp":
            context = _at(pages, "/props", "default_generation_settings", "n_ctx")
            slots = _count(_at(pages, "/props", "total_slots"))
            return server._replace(context=_count(context), slots=slots)
        case "Ollama":
            running = _at(pages, "/api/ps", "models")
            length = _of_model(running, ("name", "model"), model, "context_length")
            return server._replace(context=length)
        case "LM Studio":
            length = _of_model(_loaded(pages), ("id",), model, "loaded_context_length")
            return server._replace(context=length)
        case "TGI":
            return server._replace(context=_count(_at(pages, "/info", "max_total_tokens")))
        case _:
            return server


def _entries(body: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever a server sends
    data = body.get("data") if isinstance(body, dict) else None
    return [entry for entry in data if isinstance(entry, dict)] if isinstance(data, list) else []


def _loaded(pages: Mapping[str, Any]) -> list[dict[str, Any]]:
    return _entries(pages.get("/api/v0/models"))


def _of_model(entries: Any, names: tuple[str, ...], model: str, field: str) -> int | None:  # noqa: ANN401
    listed = entries if isinstance(entries, list) else []
    own = [e for e in listed if isinstance(e, dict) and model in {e.get(name) for name in names}]
    return _count(own[0].get(field)) if own else None


def _at(value: Any, *path: str) -> Any:  # noqa: ANN401
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _count(value: object) -> int | None:
    """A number of tokens or slots; anything else is not told."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
