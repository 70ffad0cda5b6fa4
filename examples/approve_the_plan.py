"""A person approves the plan: the run stops, is kept by a checkpointer, and goes on."""

import asyncio
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph


async def main() -> None:
    graph = create_research_graph(
        search="python",
        settings=ResearchSettings(approve_plan=True),
        checkpointer=InMemorySaver(),
    )
    thread: RunnableConfig = {"configurable": {"thread_id": "one"}}
    await graph.ainvoke({"question": "How does the import system find modules?"}, thread)
    state = await graph.aget_state(thread)
    plan = state.interrupts[0].value
    print(plan["subtasks"], plan["overlaps"], plan["at_most"])
    answer = {"action": "edit", "subtasks": plan["subtasks"][:2]}
    decision: Command[Any] = Command(resume=answer)
    result = await graph.ainvoke(decision, thread)
    print(result["report"])


if __name__ == "__main__":
    asyncio.run(main())
