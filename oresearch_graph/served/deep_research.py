"""The graph that is served to other agents, over MCP and A2A: a question in, a report with its
sources out, and none of what the research graph's state holds beside it."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired

from langgraph.channels import EphemeralValue
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.runtime import Runtime
from pydantic import Field
from typing_extensions import TypedDict

from oresearch_graph.graph.build import ResearchGraph
from oresearch_graph.graph.cited_report import QUESTION, CitedReport, CitedSource
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.trace import Outcome

_Messages = Annotated[
    list[dict[str, Any]],
    Field(description="Chat messages whose last one asks, in place of a question."),
]


class DeepResearchInput(TypedDict):
    """A question. A2A clients send messages."""

    question: Annotated[str, Field(description=QUESTION)]
    messages: NotRequired[_Messages]


class DeepResearchOutput(TypedDict, total=False):
    """A `CitedReport` of this turn alone; and, where messages asked, the messages with the report
    as the last."""

    outcome: Annotated[Outcome, EphemeralValue]
    report: Annotated[str | None, EphemeralValue]
    sources: Annotated[list[CitedSource], EphemeralValue]
    failure: Annotated[str, EphemeralValue]
    messages: _Messages


class _State(DeepResearchInput, DeepResearchOutput):
    pass


def deep_research_graph(research: ResearchGraph) -> CompiledStateGraph[Any, Any, Any, Any]:
    """`research` as it is served to other agents, with the same context."""

    async def answer(state: _State, runtime: Runtime[ResearchSettings]) -> dict[str, Any]:
        asked: Any = {name: state[name] for name in ("question", "messages") if name in state}
        result = await research.ainvoke(asked, context=runtime.context)
        update = CitedReport.of(result).model_dump(exclude_none=True)
        if "messages" in state:
            update["messages"] = [*state["messages"], result["messages"][-1]]
        return update

    graph = StateGraph(
        _State,
        context_schema=ResearchSettings,
        input_schema=DeepResearchInput,
        output_schema=DeepResearchOutput,
    )
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    compiled = graph.compile(name="deep_research")
    compiled.context_schema = research.context_schema
    return compiled
