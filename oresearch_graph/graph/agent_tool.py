"""research_tool: the research graph as one tool of another agent."""

from __future__ import annotations

from typing import Any

from langchain_core.tools import StructuredTool, ToolException
from pydantic import BaseModel, Field

from oresearch_graph.graph.build import ResearchGraph, create_research_graph
from oresearch_graph.graph.cited_report import final_trace
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Trace


class ResearchQuestion(BaseModel):
    """Arguments of the research tool."""

    question: str = Field(description="An open-ended question, complete in itself.")


def research_tool(
    graph: ResearchGraph | None = None,
    *,
    name: str = "research",
    description: str = "Researches an open-ended question and returns a cited report.",
    settings: ResearchSettings | None = None,
    **arguments: Any,  # noqa: ANN401 - those of create_research_graph
) -> StructuredTool:
    """A tool that answers a question with the report; its artifact is the Trace.

    `graph` is used as it is; without one, `create_research_graph(settings=settings, **arguments)`.
    A run that ends without a report raises ToolException, which agents see as the tool's error.
    Agents that are invoked synchronously may use it as well.
    """
    runner = graph or create_research_graph(settings=settings, **arguments)

    def report_of(result: dict[str, Any]) -> tuple[str, Trace]:
        trace = final_trace(result, "give the agent a checkpointer, or leave approve_plan off")
        if result["report"] is None:
            raise ToolException(trace.why_no_report)
        return str(result["report"]), trace

    def research(question: str) -> tuple[str, Trace]:
        return report_of(runner.invoke({"question": question}, context=settings))

    async def aresearch(question: str) -> tuple[str, Trace]:
        return report_of(await runner.ainvoke({"question": question}, context=settings))

    return StructuredTool.from_function(
        func=research,
        coroutine=aresearch,
        name=name,
        description=description,
        args_schema=ResearchQuestion,
        response_format="content_and_artifact",
        handle_tool_error=True,
    )
