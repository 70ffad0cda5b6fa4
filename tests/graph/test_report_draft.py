"""The report is told while it is written: whoever adds the pieces up, of events or of chat
messages, ends with the report."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langgraph.checkpoint.memory import InMemorySaver

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.graph import report_draft
from oresearch_graph.graph.events import Report, ReportText, event_from
from oresearch_graph.graph.report_draft import ReportDraft
from oresearch_graph.trace import Source
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script
from tests.helpers.server_habits import Fault, Habits

QUESTION: Any = {"question": "What causes tides?"}
TIDES = ("tides and the Moon", "tides and the Sun")
SOURCES = [
    Source.of(id=number, url=f"https://a.example/{address}", text="x")
    for number, address in ((1001, "a"), (1002, "b"), (2001, "a"))
]


def told(pieces: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """What a draft tells of the pieces: number and text of each draft."""
    texts = defaultdict[int, str](str)

    def hear(event: Any) -> None:
        texts[event.draft] += event.text

    monkeypatch.setattr(report_draft, "emit", hear)
    monkeypatch.setattr(report_draft, "push_message", lambda *_, **__: None)
    monkeypatch.setattr(report_draft, "get_stream_writer", lambda: None)
    draft = ReportDraft("run", SOURCES)
    for piece in pieces:
        draft(piece)
    return list(texts.items())


@pytest.mark.parametrize(
    ("written", "drafts"),
    [
        ("<suggested_answer>\n## A\n\nIt is [1002].\n</suggested_answer>", ["## A\n\nIt is [1]."]),
        ("x <suggested_answer>B [1002][1001], [2001].</suggested_answer> y", ["B [1][2], [2]."]),
        ("<suggested_answer>B [1001] [2001].</suggested_answer>", ["B [1]."]),
        ("<suggested_answer>B [1001, 1002] 【2001】.</suggested_answer>", ["B [1][2]."]),
        ("<suggested_answer>B [7] [a](b) [x] <i> 2 < 3.</suggested_answer>",
         ["B [7] [a](b) [x] &lt;i> 2 < 3."]),
        ("<suggested_answer>![x](https://e.example/) [go](javascript:alert(1))</suggested_answer>",
         ["&#33;[x](https://e.example/) [go](#javascript:alert(1))"]),
        ("<suggested_answer>A.\n\n## References\n[1001] x</suggested_answer>", ["A."]),
        ("<suggested_answer>A.\n\n**参考文献**\n[1001] x</suggested_answer>", ["A."]),
        ("<suggested_answer>A [1002].</x><suggested_answer>B [1001].</suggested_answer>",
         ["A [1].&lt;/x>", "B [1]."]),
        (f"<suggested_answer>A line too long for a heading{', very' * 9}.<suggested",
         [f"A line too long for a heading{', very' * 9}."]),
        ("no report", []),
    ],
)  # fmt: skip
def test_a_draft_is_the_report_without_tags_and_under_its_numbers(
    written: str, drafts: list[str], monkeypatch: pytest.MonkeyPatch
):
    whole = told([written], monkeypatch)
    assert [text for _, text in whole] == drafts
    assert [number for number, _ in whole] == list(range(1, len(drafts) + 1))
    assert told(list(written), monkeypatch) == whole, "however it is cut"


_PARTS = (
    "<suggested_answer>", "</suggested_answer>", "<sugg", "[1001]", "[1002][2001]", " [10", "02]",
    "[", "]", "word ", "\n", "\n\n## References\n", "## Findings\n", "# ", "【1001】", " ", "[1]",
    "![x](https://e.example/a)", "<b>", "[go](javascript:alert(1))", "!",
    "a long sentence that says something about the tides and about the Moon. ", "<", "References",
)  # fmt: skip


@given(parts=st.lists(st.sampled_from(_PARTS), max_size=30), data=st.data())
@example(parts=["<suggested_answer>", "word ", "[1001]", " ", "\n"], data=None)
def test_a_draft_does_not_depend_on_its_pieces(parts: list[str], data: Any):
    written = "<suggested_answer>" + "".join(parts) + "</suggested_answer>"
    cuts = range(0, len(written), 3)
    if data is not None:
        cuts = data.draw(st.lists(st.integers(0, len(written)), max_size=12).map(sorted))
    places = [0, *cuts, len(written)]
    pieces = [written[a:b] for a, b in pairwise(places)]
    with pytest.MonkeyPatch.context() as monkeypatch:
        assert told(pieces, monkeypatch) == told([written], monkeypatch)


class Client:
    """What a client of each kind ends with."""

    def __init__(self) -> None:
        self.events, self._draft = "", 0
        self.messages = defaultdict[str, str](str)
        self.values: dict[str, Any] = {}
        self.whole = False

    def hear(self, mode: str, value: Any) -> None:
        if mode == "values":
            self.values = value
        elif mode == "messages":
            message, _ = value
            if isinstance(message, AIMessage | AIMessageChunk):
                self.messages[message.id or ""] += message.text
        elif isinstance(event := event_from(value), ReportText):
            self.events = event.text if event.draft > self._draft else self.events + event.text
            self._draft = event.draft
        elif isinstance(event, Report):
            self.events, self.whole = event.text, True

    @property
    def chat(self) -> str:
        return list(self.messages.values())[-1]


async def streamed(graph: Any, question: Any = QUESTION, config: Any = None) -> Client:
    client = Client()
    modes = ["custom", "messages", "values"]
    async for mode, value in graph.astream(question, config, stream_mode=modes):
        client.hear(mode, value)
    return client


def ends_with_the_report(client: Client) -> bool:
    report = client.values["report"]
    return report is not None and client.events == report == client.chat


def served(server: OpenAIServer, **settings: Any) -> Any:
    explicit = {"rendering": "turns", "verifier": "off", **settings}
    return create_research_graph(
        "fake", search=Documents(PAGES),
        settings=ResearchSettings(base_url=server.base_url, **explicit),
    )  # fmt: skip


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("rendering", ["turns", "prefill", "tools"])
async def test_every_client_ends_with_the_report(rendering: str, execution: str):
    habits = Habits(on_final_assistant="continue" if rendering == "prefill" else "restart")
    with OpenAIServer(ResearchBrain(TIDES, calls=1), habits) as server:
        client = await streamed(served(server, rendering=rendering, execution=execution))
    assert client.values["trace"].outcome == "complete"
    assert ends_with_the_report(client)
    protocol = [text for text in client.messages.values() if "<s" in text or "<think" in text]
    assert protocol == [], "protocol text is no chat message"


async def test_a_structure_is_no_chat_message():
    def brain(messages: Any, body: Any) -> Any:
        if "Fill in the structure" in str(messages[0]["content"]):
            return '{"cause": "the Moon"}'
        return ResearchBrain(TIDES, calls=1)(messages, body)

    schema = {"title": "Cause", "type": "object", "properties": {"cause": {"type": "string"}},
              "required": ["cause"], "additionalProperties": False}  # fmt: skip
    with OpenAIServer(brain) as server:
        settings = ResearchSettings(base_url=server.base_url, rendering="turns", verifier="off")
        graph = create_research_graph(
            "fake", search=Documents(PAGES), settings=settings, response_format=schema
        )
        client = await streamed(graph)
    assert client.values["structured_response"] == {"cause": "the Moon"}
    assert ends_with_the_report(client)


def test_a_client_that_streams_without_a_loop_ends_with_it_too():
    client = Client()
    graph = create_research_graph(ScriptedPolicy(research_script()), search=Documents(PAGES))
    for mode, value in graph.stream(QUESTION, stream_mode=["custom", "messages", "values"]):
        client.hear(mode, value)
    assert ends_with_the_report(client)
    assert not client.whole


async def test_a_report_that_is_written_anew_is_told_anew():
    def script(thread: Any) -> str:
        if thread.role == "summarizer" and not thread.corrections:
            return "<suggested_answer>No headings here [1001].</suggested_answer>"
        return research_script()(thread)

    graph = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES))
    client = await streamed(graph)
    assert ends_with_the_report(client)
    assert any("No headings" in text for text in client.messages.values()), "as a draft"


async def test_a_stream_that_breaks_begins_anew():
    with OpenAIServer(ResearchBrain(TIDES, calls=1)) as server:
        reports = 0

        def fault_for(body: Any) -> Fault | None:
            nonlocal reports
            if "Write the report" in str(body["messages"][-1]) or body.get("stream"):
                reports += "summar" in str(body["messages"][0]).lower()
            return Fault("cut") if body.get("stream") and reports == 1 else None

        server.fault_for = fault_for
        client = await streamed(served(server))
    assert ends_with_the_report(client)


async def test_what_checking_changes_is_told_whole():
    def script(thread: Any) -> str:
        text = research_script()(thread)
        if thread.role == "summarizer":
            text = text.replace("## Conclusion\n", "## Conclusion\n<b>Bold</b> [9999]. ")
        return text

    graph = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES))
    client = await streamed(graph)
    assert client.whole
    assert ends_with_the_report(client)


async def test_who_comes_later_hears_the_whole():
    graph = create_research_graph(
        ScriptedPolicy(research_script()), search=Documents(PAGES),
        checkpointer=InMemorySaver(), interrupt_after=["summarize"],
    )  # fmt: skip
    config: Any = {"configurable": {"thread_id": "1"}}
    await streamed(graph, QUESTION, config)
    later = await streamed(graph, None, config)
    assert later.whole
    assert ends_with_the_report(later)


async def test_a_run_without_a_report_says_so_in_the_chat():
    client = await streamed(create_research_graph(search=Documents({})))
    assert client.values["report"] is None
    assert client.chat.startswith("There is no report")
    assert client.events == ""


def test_runs_at_once_do_not_mix():
    graph = create_research_graph(ScriptedPolicy(research_script()), search=Documents(PAGES))

    async def several() -> list[Client]:
        return await asyncio.gather(*(streamed(graph) for _ in range(3)))

    assert all(map(ends_with_the_report, asyncio.run(several())))
