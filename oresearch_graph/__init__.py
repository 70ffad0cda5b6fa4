"""oresearch: a question in, a cited report and a Trace out.

    from oresearch_graph import create_research_graph

    graph = create_research_graph("openai:gpt-5-mini")
    result = await graph.ainvoke({"question": "How do solid-state batteries age?"})
    print(result["report"])

Names are loaded when first used: reading traces needs neither langgraph nor a model's package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from oresearch_graph.errors import OresearchError
    from oresearch_graph.evidence.report_check import check_report
    from oresearch_graph.graph.agent_tool import research_tool
    from oresearch_graph.graph.build import create_research_graph
    from oresearch_graph.graph.event_stream import stream_events
    from oresearch_graph.graph.events import event_from
    from oresearch_graph.policies.chat.policy import ChatPolicy
    from oresearch_graph.policies.extractive.policy import ExtractivePolicy
    from oresearch_graph.policies.models import Policies
    from oresearch_graph.settings import ResearchSettings
    from oresearch_graph.tools.providers.mcp import mcp_tools
    from oresearch_graph.trace import (
        Step,
        Trace,
        Violation,
        parse_trace,
        read_traces,
        render_trace,
        violations,
        write_traces,
    )
    from oresearch_graph.view.report_file import write_report

_HOMES = {
    "ChatPolicy": "policies.chat.policy",
    "ExtractivePolicy": "policies.extractive.policy",
    "OresearchError": "errors",
    "Policies": "policies.models",
    "ResearchSettings": "settings",
    "Step": "trace",
    "Trace": "trace",
    "Violation": "trace",
    "check_report": "evidence.report_check",
    "create_research_graph": "graph.build",
    "event_from": "graph.events",
    "mcp_tools": "tools.providers.mcp",
    "parse_trace": "trace",
    "read_traces": "trace",
    "render_trace": "trace",
    "research_tool": "graph.agent_tool",
    "stream_events": "graph.event_stream",
    "violations": "trace",
    "write_report": "view.report_file",
    "write_traces": "trace",
}

__all__ = [
    "ChatPolicy",
    "ExtractivePolicy",
    "OresearchError",
    "Policies",
    "ResearchSettings",
    "Step",
    "Trace",
    "Violation",
    "check_report",
    "create_research_graph",
    "event_from",
    "mcp_tools",
    "parse_trace",
    "read_traces",
    "render_trace",
    "research_tool",
    "stream_events",
    "violations",
    "write_report",
    "write_traces",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever the name stands for
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
