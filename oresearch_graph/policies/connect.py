"""A chat model from its name: `openai:gpt-5-mini`, `anthropic:…`, or any name at a base URL.

Every way this can fail is a ConfigurationError of one line that ends in the fix.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from pydantic import ValidationError

from oresearch_graph.errors import ConfigurationError

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
) -> BaseChatModel:
    """The chat model of that name, without retries of its own."""
    provider, model = split_name(name, base_url)
    options: dict[str, Any] = {"timeout": timeout, "max_retries": 0}
    if temperature is not None:
        options["temperature"] = temperature
    if max_output_tokens is not None:
        options["max_tokens"] = max_output_tokens
    options |= extra or {}
    if provider == "openai":
        return _openai(model, base_url, options)
    if base_url is not None:
        options["base_url"] = base_url
    return _other(name, provider, model, options)


def split_name(name: str, base_url: str | None) -> tuple[str | None, str]:
    """Provider and model; with a base URL the provider is openai unless the name says another."""
    if not name.strip():
        raise ConfigurationError("the model's name is empty; write one such as openai:gpt-5-mini")
    prefix, colon, rest = name.partition(":")
    if colon and prefix in _PROVIDERS and rest:
        return prefix, rest
    if base_url is not None:
        _check_url(base_url)
        return "openai", name
    if name.startswith(("gpt-", "o1", "o3", "o4")):
        return "openai", name
    return None, name


def _check_url(base_url: str) -> None:
    parts = urlsplit(base_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(
            f"{base_url!r} is no base URL; write one such as http://127.0.0.1:8000/v1"
        )


def _openai(model: str, base_url: str | None, options: dict[str, Any]) -> BaseChatModel:
    url = base_url or os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    if url:
        _check_url(url)
    key = options.pop("api_key", None) or os.environ.get("OPENAI_API_KEY")
    if not key and url and is_loopback(url):
        key = "none-needed"
    if not key:
        raise ConfigurationError(
            f"no key for {url or 'OpenAI'}: set OPENAI_API_KEY"
            + (" (any text, if the server wants none)" if url else "")
        )
    import openai  # these two take a second to import

    from oresearch_graph.policies.openai_compatible import CompatibleChatOpenAI

    try:
        return CompatibleChatOpenAI(
            model=model,
            base_url=url,
            api_key=key,
            stream_usage=True,
            # Not langchain-openai's client, which all models of the process share: its open
            # connections belong to the event loop that used it first.
            http_async_client=openai.DefaultAsyncHttpxClient(),
            **options,
        )
    except (ValueError, TypeError, openai.OpenAIError) as error:
        raise ConfigurationError(f"openai:{model}: {_line(error)}") from error


def _other(name: str, provider: str | None, model: str, options: dict[str, Any]) -> BaseChatModel:
    import openai
    from langchain.chat_models import init_chat_model

    try:
        made = init_chat_model(model, model_provider=provider, **options)
    except ImportError as error:
        raise ConfigurationError(f"{name}: {_line(error)}") from error
    except (ValueError, TypeError, openai.OpenAIError) as error:
        if provider is None:
            raise ConfigurationError(
                f"{name!r} names no known provider; write provider:model, such as "
                "openai:gpt-5-mini, or give a base URL"
            ) from error
        raise ConfigurationError(f"{name}: {_line(error)}; check its key and settings") from error
    if not isinstance(made, BaseChatModel):
        raise ConfigurationError(f"{name!r} names no single model; write provider:model")
    return made


def is_loopback(url: str) -> bool:
    """True for a server on this machine, which wants no key."""
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(str(fault["msg"]) for fault in error.errors(include_url=False))
    return " ".join(str(error).split())
