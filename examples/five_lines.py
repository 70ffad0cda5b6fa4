"""The shortest way in. Without a model's name the extractive policy answers, from Python's docs."""

import asyncio

from oresearch_graph import create_research_graph


async def main() -> None:
    graph = create_research_graph()  # or create_research_graph("openai:gpt-5-mini")
    result = await graph.ainvoke({"question": "How does pickle store objects?"})
    print(result["report"])


if __name__ == "__main__":
    asyncio.run(main())
