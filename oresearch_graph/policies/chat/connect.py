"""A chat model from its name: `openai:gpt-5-mini`, `anthropic:…`, any name at a base URL, or
`local:FILE.gguf`.

Every way this can fail is a ConfigurationError of one line that ends in the fix.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.keys import (
    NO_KEY,
    Address,
    environment_key,
    is_loopback,
    is_real,
    require_privacy,
    revealed,
    shown_address,
    usable_key,
)
from oresearch_graph.known_secrets import is_secret_name, remember_within
from oresearch_graph.policies.chat.connections import (
    OPENAI,
    async_connections,
    call_timeout,
    connections,
)
from oresearch_graph.policies.local_model import CONTEXT, local_server
from oresearch_graph.redaction import brief

_PROVIDERS: Final = frozenset(
    (
        "anthropic", "azure_ai", "azure_openai", "bedrock", "bedrock_converse", "cohere",
        "deepseek", "fireworks", "google_genai", "google_vertexai", "groq", "huggingface", "ibm",
        "litellm", "mistralai", "nvidia", "ollama", "openai", "openrouter", "perplexity",
        "together", "upstage", "xai",
    )
)  # fmt: skip
"""Prefixes that init_chat_model takes. Elsewhere a colon is part of the name, as in qwen3:8b."""


def connect(
    name: str,
    *,
    base_url: str | None = None,
    timeout: float,
    temperature: float | None = None,
    max_output_tokens: int | None = None,
    extra: Mapping[str, Any] | None = None,
    allow_plain_http: bool | None = None,
) -> BaseChatModel:
    """The chat model of that name, without retries of its own.

    `allow_plain_http`: a key may go over an unencrypted network; None: as its variable says.
    """
    provider, model = split_name(name, base_url)
    options: dict[str, Any] = {"timeout": timeout, "max_retries": 0}
    if temperature is not None:
        options["temperature"] = temperature
    if max_output_tokens is not None:
        options["max_tokens"] = max_output_tokens
    options |= _parameters(extra or {})
    if provider == "local":
        return _local(model, options)
    if provider == "openai":
        return _openai(model, base_url, options, allow_plain_http)
    if base_url is not None:
        options["base_url"] = base_url
    _check_key(provider, base_url, options, allow_plain_http)
    return _other(name, provider, model, options)


def split_name(name: str, base_url: str | None) -> tuple[str | None, str]:
    """Provider and model; with a base URL the provider is openai unless the name says another."""
    if not name.strip():
        raise ConfigurationError("the model's name is empty; write one such as openai:gpt-5-mini")
    prefix, colon, rest = name.partition(":")
    if prefix == "local" and (base_url is None or rest.lower().endswith(".gguf")):
        return prefix, rest
    if colon and prefix in _PROVIDERS and rest:
        return prefix, rest
    if base_url is not None:
        _address(base_url)
        return "openai", name
    if name.startswith(("gpt-", "o1", "o3", "o4")):
        return "openai", name
    return None, name


def _local(model: str, options: dict[str, Any]) -> BaseChatModel:
    """A model of a file; among its parameters `context`, in tokens, and `chat_template` are the
    server's."""
    server = local_server(
        model, options.pop("context", CONTEXT), options.pop("chat_template", None)
    )
    options |= {"api_key": server.key, "served_by": server}
    return _openai(server.name, server.base_url, options, None)


def _address(base_url: str) -> Address:
    address = Address.of(base_url)
    if address is None:
        raise ConfigurationError(
            f"{shown_address(base_url)} is no base URL; write one such as http://127.0.0.1:8000/v1"
        )
    return address


def _parameters(extra: Mapping[str, Any]) -> dict[str, Any]:
    """More parameters of the constructor, their keys checked; they are withheld from then on."""
    remember_within(extra)
    return {
        name: usable_key(value, f"the parameter {name}")
        if isinstance(value, str) and is_secret_name(name)
        else value
        for name, value in revealed(extra).items()
    }


def _openai(
    model: str, base_url: str | None, options: dict[str, Any], allow_plain_http: bool | None
) -> BaseChatModel:
    url = base_url or os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    address = _address(url) if url else None
    keys = [options.pop(name, None) for name in ("api_key", "openai_api_key")]
    key = next(filter(None, keys), None) or environment_key("OPENAI_API_KEY")
    if not key and address and (is_loopback(address.url) or address.gives_key):
        key = NO_KEY
    if not key:
        raise ConfigurationError(
            f"no key for {address.url if address else 'OpenAI'}: set OPENAI_API_KEY"
            + (" (any text, if the server wants none)" if address else "")
        )
    if address and (address.gives_key or callable(key) or is_real(key)):
        # A server that wants no key is given a word such as EMPTY, which may go anywhere.
        require_privacy(address.url, f"the key of {model}", allowed=allow_plain_http)
    if address and address.gives_key:
        pair = f"{address.user}:{address.password}".encode()
        basic = {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        options["default_headers"] = {**basic, **(options.get("default_headers") or {})}
    import openai  # these two take a second to import

    from oresearch_graph.policies.chat.openai_compatible import CompatibleChatOpenAI

    url = address.url if address else None
    # Not langchain-openai's clients, which all models of the process share: their open
    # connections belong to the event loop that used them first.
    clients = {
        "http_async_client": async_connections(url or OPENAI),
        "http_client": connections(url or OPENAI),
        "http_socket_options": (),  # theirs; else langchain-openai warns of proxies
    }
    options["timeout"] = call_timeout(options["timeout"])
    try:
        return CompatibleChatOpenAI(
            model=model,
            base_url=url,
            api_key=key,
            stream_usage=True,
            **clients,
            **options,
        )
    except (ValueError, TypeError, openai.OpenAIError) as error:
        # Without its cause: pydantic's own text repeats what was given.
        raise ConfigurationError(f"openai:{model}: {_line(error)}") from None


def _check_key(
    provider: str | None, base_url: str | None, options: dict[str, Any],
    allow_plain_http: bool | None,
) -> None:  # fmt: skip
    """Another provider's key, where its variable or a parameter holds one; as it should be read."""
    variable = f"{(provider or '').upper()}_API_KEY"
    raw, key = os.environ.get(variable, ""), environment_key(variable)
    if key != raw and "api_key" not in options:
        options["api_key"] = key
    if base_url is not None:
        address = _address(base_url)
        if address.gives_key or options.get("api_key") or key:
            require_privacy(address.url, f"the key of {provider}", allowed=allow_plain_http)


def _other(name: str, provider: str | None, model: str, options: dict[str, Any]) -> BaseChatModel:
    import openai
    from langchain.chat_models import init_chat_model

    try:
        chat_model = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{name}: {_line(error)}") from error
    except (ValueError, TypeError, openai.OpenAIError) as error:
        if provider is None:
            raise ConfigurationError(
                f"{name!r} names no known provider; write provider:model, such as "
                "openai:gpt-5-mini, or give a base URL"
            ) from None
        raise ConfigurationError(f"{name}: {_line(error)}; check its key and settings") from None
    if not isinstance(chat_model, BaseChatModel):
        raise ConfigurationError(f"{name!r} names no single model; write provider:model")
    return chat_model


def _line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(str(fault["msg"]) for fault in error.errors(include_url=False))
    return brief(error)
