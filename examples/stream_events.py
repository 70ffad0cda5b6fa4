"""Progress while it runs: typed events of the graph and of each researcher, and the report."""

import asyncio

from oresearch_graph import create_research_graph, stream_events


async def main() -> None:
    graph = create_research_graph(search="python")
    async for event in stream_events(
        graph, "How do generators and coroutines differ in Python?", context={"effort": "quick"}
    ):
        print(event.type, event.model_dump(exclude={"type"}))


if __name__ == "__main__":
    asyncio.run(main())
