"""The research graph as a node of another graph, whose context is a class of its own."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, TypedDict

from langchain_core.messages import AnyMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.runtime import Runtime

from oresearch_graph import ResearchSettings, create_research_graph


@dataclass
class Tenant:
    """What the parent's nodes know of the caller."""

    name: str


class Chat(TypedDict):
    """The parent shares `messages` with the research graph; `greeting` is its own."""

    messages: Annotated[list[AnyMessage], add_messages]
    greeting: str


def greet(state: Chat, runtime: Runtime[Tenant]) -> dict[str, str]:
    return {"greeting": f"For {runtime.context.name}"}


async def main() -> None:
    research = create_research_graph(search="python", settings=ResearchSettings(effort="quick"))
    parent = StateGraph(Chat, context_schema=Tenant)
    parent.add_node("greet", greet)
    parent.add_node("research", research)
    parent.add_edge(START, "greet")
    parent.add_edge("greet", "research")
    parent.add_edge("research", END)
    asked = {"messages": [("user", "How does sqlite3 handle transactions?")], "greeting": ""}
    state = await parent.compile().ainvoke(asked, context=Tenant("Ada"))  # type: ignore[call-overload]  # messages as pairs
    print(state["greeting"])
    print(state["messages"][-1].text)


if __name__ == "__main__":
    asyncio.run(main())
