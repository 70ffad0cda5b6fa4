"""Progress while it runs: typed events of the graph and of each researcher."""

import asyncio

from oresearch_graph import create_research_graph, event_from


async def main() -> None:
    graph = create_research_graph(search="python")
    async for _namespace, value in graph.astream(
        {"question": "How do generators and coroutines differ in Python?"},
        stream_mode="custom",
        subgraphs=True,
    ):
        event = event_from(value)
        if event is not None:
            print(event.type, event.model_dump(exclude={"type"}))


if __name__ == "__main__":
    asyncio.run(main())
