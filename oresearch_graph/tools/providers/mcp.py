"""Tools of MCP servers as LangChain tools: to register as extra tools, or one of them as `search`.
Needs the extra `mcp`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

import httpx
from langchain_core.tools import BaseTool

from oresearch_graph.errors import ConfigurationError, ToolError, missing_extra
from oresearch_graph.keys import require_private_connections
from oresearch_graph.network.clients import CONNECT_SECONDS, client_options
from oresearch_graph.redaction import quieted
from oresearch_graph.tools.providers.service_calls import service_error

_BY_HTTP: Final = frozenset(("http", "sse", "streamable-http", "streamable_http"))
_TIMEOUT: Final = httpx.Timeout(30.0, read=300.0, connect=CONNECT_SECONDS)
"""What MCP's own clients have, but for the connection."""


async def mcp_tools(
    servers: Mapping[str, Mapping[str, Any]], *, seconds: float = 30.0
) -> list[BaseTool]:
    """The tools of MCP servers, given as langchain-mcp-adapters' connections by name
    (`{"docs": {"transport": "stdio", "command": "…", "args": […]}}`).

    Raises ConfigurationError without the extra, or for a key that would cross a network in clear;
    ToolError when a server does not answer.
    """
    require_private_connections(servers)
    client_class, mcp_error = _adapters()
    connections = await asyncio.to_thread(_connections, servers)
    try:
        async with asyncio.timeout(seconds):
            client = client_class(connections)
            return list(await client.get_tools())
    except TimeoutError as error:
        raise ToolError(
            f"MCP servers ({', '.join(servers)}) did not list their tools within {seconds:g} s: "
            "check their commands and addresses"
        ) from error
    except (mcp_error, ExceptionGroup, OSError, ValueError, RuntimeError) as error:
        first = _first(error)
        status = getattr(getattr(first, "response", None), "status_code", None)
        fix = (
            "the key in their headers is refused: correct it"
            if status in (401, 403)
            else "check their commands and addresses"
        )
        raise service_error(f"MCP servers ({', '.join(servers)})", first, fix) from quieted(first)


def _connections(servers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """As given; those by HTTP have clients of ours, where they bring none."""
    return {
        name: {"httpx_client_factory": _factory(str(connection["url"])), **connection}
        if connection.get("transport") in _BY_HTTP and connection.get("url")
        else dict(connection)
        for name, connection in servers.items()
    }


def _factory(url: str) -> Callable[..., httpx.AsyncClient]:
    """What makes the clients of a connection. Raises ConfigurationError as they would."""
    client_options(url)

    def client(
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | None = None,
        auth: httpx.Auth | None = None,
    ) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            headers=headers, auth=auth, timeout=timeout or _TIMEOUT, **client_options(url)
        )

    return client


def _adapters() -> tuple[type[Any], type[Exception]]:
    """The client of the optional dependency, and what a server's refusal raises."""
    try:
        from langchain_mcp_adapters.client import MultiServerMCPClient
        from mcp import McpError
    except ImportError as error:
        raise ConfigurationError(f"MCP tools need {missing_extra('mcp')}") from error
    return MultiServerMCPClient, McpError


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
