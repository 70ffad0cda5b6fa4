"""What middleware makes of a tool's answer, and which sources are shown then."""

from __future__ import annotations

from typing import Any

from langchain.agents.middleware import wrap_tool_call

from oresearch_graph.evidence.ledger import SourceLedger, read_observation
from oresearch_graph.graph.observations import Display
from oresearch_graph.tools.backend import Hit, Hits
from tests.helpers.middleware_runs import BRAIN, steps_of, traced
from tests.helpers.openai_server import OpenAIServer


def test_a_source_that_is_no_longer_shown_is_none(server: OpenAIServer):
    @wrap_tool_call
    def first_only(request: Any, handler: Any) -> Any:
        message = handler(request)
        first, gap, rest = str(message.text).partition("\n\n[")
        second, *_ = rest.partition("\n\n[")
        return message.model_copy(update={"content": f"{first}{gap}{second}"})

    trace = traced(server, first_only)
    assert trace.outcome == "complete"
    shown = "".join(step.text for step in trace.steps if step.kind == "observation")
    assert trace.sources
    assert all(f"[{source.id}]" in shown for source in trace.sources)
    assert len(trace.sources) == 2
    assert trace.changed_by == ("first_only",)


def searching(request: Any, query: str) -> Any:
    return request.override(tool_call={**request.tool_call, "args": {"queries": [query]}})


def test_answers_that_are_joined_have_numbers_of_their_own(server: OpenAIServer):
    @wrap_tool_call
    async def joining(request: Any, handler: Any) -> Any:
        if request.tool_call["name"] != "web_search":
            return await handler(request)
        answers = [await handler(searching(request, query)) for query in ("27.3", "Fundy", "Sun")]
        text = "\n\n".join(str(answers[i].text) for i in (0, 2))
        return answers[0].model_copy(update={"content": text})

    trace = traced(server, joining)
    assert trace.outcome == "complete"
    (first, *_) = [step.text for step in trace.branches[1] if step.kind == "observation"]
    shown = {source.id: source.url for source in read_observation(first)}
    assert sorted(shown.values()) == ["https://example.org/moon", "https://example.org/sun"]
    mine = {source.id: source.url for source in trace.sources or () if source.branch == 1}
    assert mine == shown, "what is not shown is no source"


def test_a_call_that_is_repeated_shows_the_last_answer_as_if_it_were_the_first():
    @wrap_tool_call
    async def twice(request: Any, handler: Any) -> Any:
        await handler(request)
        return await handler(request)

    @wrap_tool_call
    async def elsewhere(request: Any, handler: Any) -> Any:
        if request.tool_call["name"] == "web_search":
            await handler(searching(request, "Fundy"))
        return await handler(request)

    traces = []
    for middleware in ([], [twice], [elsewhere]):
        with OpenAIServer(BRAIN) as server:
            traces.append(traced(server, *middleware))
    assert steps_of(traces[0]) == steps_of(traces[1]) == steps_of(traces[2])
    assert traces[0].sources == traces[1].sources == traces[2].sources
    assert [trace.changed_by for trace in traces] == [(), (), ("elsewhere",)]


def test_what_was_shown_before_stays_a_source():
    ledger = SourceLedger(1)
    ledger.show("https://a.example", "A is here.", title="A")
    display = Display(ledger, "A", 1_000)
    hits = [Hits(query="A", hits=(Hit(url="https://a.example", title="A", snippet="A is here."),))]
    other = [Hits(query="B", hits=(Hit(url="https://b.example", title="B", snippet="B is here."),))]
    showings = [display.preview(lambda: display.hits(hits))]
    showings.append(display.preview(lambda: display.hits(other), showings))
    text, ids = display.settle(showings, f"Only this:\n\n{showings[1].text}")
    assert ids == [1002]
    assert [source.url for source in display.ledger.sources] == [
        "https://a.example", "https://b.example",
    ]  # fmt: skip
    assert display.ledger.sources[0].text == "A is here."
    assert text.startswith("Only this:")
