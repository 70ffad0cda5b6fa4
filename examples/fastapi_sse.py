"""A web service that streams a run's events; a client that goes away stops its run.

    uvicorn --app-dir examples fastapi_sse:app
    curl -N "http://127.0.0.1:8000/research?question=How%20does%20pickle%20store%20objects%3F"

Needs fastapi and uvicorn. Run as a program, it asks itself once.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import FastAPI
from fastapi.sse import EventSourceResponse, ServerSentEvent

from oresearch_graph import create_research_graph, stream_events

app = FastAPI()
graph = create_research_graph()


@app.get("/research", response_class=EventSourceResponse)
async def research(question: str) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(stream_events(graph, question)) as events:
        async for event in events:
            yield ServerSentEvent(event=event.type, raw_data=event.model_dump_json())


if __name__ == "__main__":
    from fastapi.testclient import TestClient

    with TestClient(app).stream(
        "GET", "/research", params={"question": "How does pickle store objects?"}
    ) as answer:
        for line in answer.iter_lines():
            print(line)
