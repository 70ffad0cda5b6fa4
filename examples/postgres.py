"""Runs kept in PostgreSQL (`pip install langgraph-checkpoint-postgres 'psycopg[binary]'`): a plan
waits there for a person, and another process goes on. DATABASE_URL says where."""

import asyncio
import os
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.types import Command

from oresearch_graph import ResearchSettings, create_research_graph

THREAD: RunnableConfig = {"configurable": {"thread_id": "one"}}


async def main() -> None:
    async with AsyncPostgresSaver.from_conn_string(os.environ["DATABASE_URL"]) as saver:
        await saver.setup()
        settings = ResearchSettings(approve_plan=True)
        graph = create_research_graph(search="python", settings=settings, checkpointer=saver)
        await graph.ainvoke({"question": "How does pickle store objects?"}, THREAD)

    # As another process would: the database alone knows of the run.
    async with AsyncPostgresSaver.from_conn_string(os.environ["DATABASE_URL"]) as saver:
        graph = create_research_graph(search="python", checkpointer=saver)
        plan = (await graph.aget_state(THREAD)).interrupts[0].value
        print(plan["subtasks"])
        approved: Command[Any] = Command(resume={"action": "approve"})
        result = await graph.ainvoke(approved, THREAD)
        print(result["report"])


if __name__ == "__main__":
    asyncio.run(main())
