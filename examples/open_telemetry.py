"""A span of OpenTelemetry for every node, model call, search and page, by LangSmith's own bridge.
Nothing goes to LangSmith: spans go where your tracer provider sends them, here to memory."""

import asyncio

from langchain_core.tracers import LangChainTracer
from langsmith import Client
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from oresearch_graph import create_research_graph


async def main() -> None:
    memory, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    trace.set_tracer_provider(provider)
    client = Client(tracing_mode="otel")
    graph = create_research_graph(search="python")
    await graph.ainvoke(
        {"question": "How does pickle store objects?"},
        {"callbacks": [LangChainTracer(client=client)]},
    )
    client.flush()
    spans = memory.get_finished_spans()
    names = {span.context.span_id: span.name for span in spans}
    for span in spans:
        if span.name in {"web_search", "crawl_page"}:
            seconds = ((span.end_time or 0) - (span.start_time or 0)) / 1e9
            parent = names.get(span.parent.span_id) if span.parent else None
            print(f"{span.name}, in {parent}: {seconds:.3f} s")


if __name__ == "__main__":
    asyncio.run(main())
