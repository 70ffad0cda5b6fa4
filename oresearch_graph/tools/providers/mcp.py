"""Tools of MCP servers as LangChain tools: to register as extra tools, or one of them as `search`.
Needs the extra `mcp`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.tools import BaseTool

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.keys import require_private_connections
from oresearch_graph.redaction import brief, quieted


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
    try:
        async with asyncio.timeout(seconds):
            client = client_class(cast("dict[str, Any]", dict(servers)))
            return list(await client.get_tools())
    except TimeoutError as error:
        raise ToolError(
            f"MCP servers ({', '.join(servers)}) did not list their tools within {seconds:g} s: "
            "check their commands and addresses"
        ) from error
    except (mcp_error, ExceptionGroup, OSError, ValueError, RuntimeError) as error:
        cause = brief(_first(error)) or type(error).__name__
        raise ToolError(
            f"MCP servers ({', '.join(servers)}) cannot be used ({cause}): check their commands "
            "and addresses"
        ) from quieted(_first(error))


def _adapters() -> tuple[type[Any], type[Exception]]:
    """The client of the optional dependency, and what a server's refusal raises."""
    try:
        from langchain_mcp_adapters.client import MultiServerMCPClient
        from mcp import McpError
    except ImportError as error:
        raise ConfigurationError(
            "MCP tools need an extra that is not installed: pip install 'oresearch-graph[mcp]'"
        ) from error
    return MultiServerMCPClient, McpError


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
