"""A run as a stream of its events, which owns the run: who stops listening stops it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any, Final, Literal

from langchain_core.runnables import RunnableConfig
from langgraph.types import Command
from pydantic import Field

from oresearch_graph.graph.build import ResearchGraph
from oresearch_graph.graph.cited_report import CitedReport
from oresearch_graph.graph.events import Event, event_from
from oresearch_graph.settings import ResearchSettings

_STOPPING: Final = 2.0
"""Seconds that a stopped run has to close what it opened before its listener goes on."""


class Finished(CitedReport):
    """The run is over: the last of `stream_events`, and of that alone."""

    type: Literal["oresearch.finished"] = "oresearch.finished"
    state: dict[str, Any] = Field(exclude=True, repr=False)
    """What `ainvoke` gives; not in the event as JSON."""


async def stream_events(
    graph: ResearchGraph,
    question: str | Mapping[str, Any] | Command[Any] | None,
    *,
    context: ResearchSettings | Mapping[str, Any] | None = None,
    config: RunnableConfig | None = None,
) -> AsyncGenerator[Event | Finished, None]:
    """Run the graph: the typed events of its researchers and its own, and `Finished` at the end.

    Closing the generator, or cancelling who waits for it, cancels the run. `question` may be
    whatever else `graph.ainvoke` takes. A run that stops for a person ends without `Finished`: ask
    `graph.aget_state`. Raises what the run raises.
    """
    events: asyncio.Queue[Event | Finished | None] = asyncio.Queue()
    asked: Any = {"question": question} if isinstance(question, str) else question
    settings: Any = context

    async def run() -> None:
        state: dict[str, Any] = {}
        waits = False
        parts: AsyncIterator[Any] = graph.astream(
            asked, config, context=settings, stream_mode=["custom", "values", "updates"],
            subgraphs=True, output_keys=graph.output_channels,
        )  # fmt: skip
        async for space, mode, value in parts:
            if mode == "custom":
                if (event := event_from(value)) is not None:
                    events.put_nowait(event)
            elif mode == "updates":
                waits = waits or "__interrupt__" in value
            elif not space:
                state = value
        if not waits:
            events.put_nowait(Finished(**dict(CitedReport.of(state)), state=state))

    task = asyncio.create_task(run())
    task.add_done_callback(lambda _: events.put_nowait(None))
    try:
        while (event := await events.get()) is not None:
            yield event
        await task
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=_STOPPING)
