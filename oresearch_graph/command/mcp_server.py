"""`oresearch mcp`: deep research as the one tool of an MCP server on standard input and output.
Needs the extra `mcp`."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Final, TextIO, get_args

from oresearch_graph.command.configuration import settings_of
from oresearch_graph.command.models import with_model
from oresearch_graph.command.progress import progress_line
from oresearch_graph.command.terminal import harmless
from oresearch_graph.errors import ConfigurationError, ToolError, missing_extra
from oresearch_graph.graph.build import ResearchGraph, create_research_graph
from oresearch_graph.graph.cited_report import DESCRIPTION, QUESTION, CitedReport
from oresearch_graph.graph.event_stream import Finished, stream_events
from oresearch_graph.limits import Effort

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server
    from mcp.types import CallToolResult

TOOL: Final = "deep_research"
_ARGUMENTS: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "description": QUESTION},
        "effort": {
            "type": "string",
            "enum": list(get_args(Effort)),
            "description": "How much to search and read. Left out: as this server is set.",
        },
    },
    "required": ["question"],
    "additionalProperties": False,
}


def serve() -> int:
    """Serve until the client closes standard input. Raises ConfigurationError without the extra, or
    for settings that cannot work."""
    try:
        import mcp  # noqa: F401 - what follows needs it
    except ImportError as error:
        raise ConfigurationError(f"oresearch mcp needs {missing_extra('mcp')}") from error
    # Whatever else this process and its children print goes to standard error.
    protocol = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # The thread that waits for standard input would outlive a KeyboardInterrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    asyncio.run(_serve(protocol))
    return 0


async def _serve(protocol: TextIO) -> None:
    import anyio
    from mcp.server.stdio import stdio_server

    settings, _ = await with_model(settings_of({"approve_plan": False}))
    server = _server(create_research_graph(settings=settings))
    async with stdio_server(stdout=anyio.wrap_file(protocol)) as (incoming, outgoing):
        await server.run(incoming, outgoing, server.create_initialization_options())


def _server(graph: ResearchGraph) -> Server[Any]:
    from importlib.metadata import version

    from mcp import types
    from mcp.server.lowlevel import Server

    server: Server[Any] = Server("oresearch", version("oresearch-graph"))
    tool = types.Tool(
        name=TOOL,
        title="Deep research",
        description=DESCRIPTION,
        inputSchema=_ARGUMENTS,
        outputSchema=CitedReport.model_json_schema(),
        annotations=types.ToolAnnotations(readOnlyHint=True, openWorldHint=True),
    )

    # mcp's decorators have no types.
    @server.list_tools()  # type: ignore[no-untyped-call, untyped-decorator]
    async def list_tools() -> list[types.Tool]:
        return [tool]

    @server.call_tool()  # type: ignore[untyped-decorator]
    async def call_tool(name: str, arguments: dict[str, Any]) -> CallToolResult:
        if name != TOOL:
            raise ToolError(f"there is no such tool: call {TOOL}")
        report = await _researched(server, graph, arguments)
        answer = types.TextContent(type="text", text=report.report or report.failure or "")
        return types.CallToolResult(
            content=[answer],
            structuredContent=report.model_dump(mode="json"),
            isError=report.report is None,
        )

    return server


async def _researched(
    server: Server[Any], graph: ResearchGraph, arguments: dict[str, Any]
) -> CitedReport:
    """The report; what is done meanwhile is told to a client that asks for progress."""
    request = server.request_context
    token = request.meta.progressToken if request.meta else None
    context = {"effort": arguments["effort"]} if "effort" in arguments else None
    count = 0
    async with aclosing(stream_events(graph, arguments["question"], context=context)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return CitedReport(**event.model_dump(include=set(CitedReport.model_fields)))
            line = progress_line(event)
            if token is not None and line is not None:
                count += 1
                await request.session.send_progress_notification(
                    token, count, message=harmless(line), related_request_id=str(request.request_id)
                )
    raise ToolError("the run ended without a result: ask again")
