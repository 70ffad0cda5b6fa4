"""A model object for each role, with a key of its own: here three of one server, as any LangChain
chat models would be."""

import asyncio
import os

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from oresearch_graph import ChatPolicy, Policies, create_research_graph


def model(name: str, key: str) -> ChatPolicy:
    return ChatPolicy(ChatOpenAI(model=name, api_key=SecretStr(os.environ.get(key, "none"))))


async def main() -> None:
    policies = Policies(
        planner=model("planner", "PLANNER_KEY"),
        researchers=(model("small", "RESEARCH_KEY"), model("other", "RESEARCH_KEY")),
        summarizer=model("writer", "WRITER_KEY"),
    )
    graph = create_research_graph(policies, search="python")
    result = await graph.ainvoke({"question": "How does asyncio cancel tasks?"})
    for role, name in result["trace"].models.items():
        print(f"{role}: {name}")
    for usage in result["usage"]:
        print(usage.role, usage.branch, usage.model, usage.calls, "calls", usage.tokens, "tokens")
    print(result["report"])


if __name__ == "__main__":
    asyncio.run(main())
