"""Tools that embedders bring: their names, what LangGraph injects into them, what they hand over;
and what LangChain's callbacks hear of every call."""

from __future__ import annotations

import re
from collections import Counter
from typing import Annotated, Any
from uuid import UUID

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.tools import InjectedToolCallId, StructuredTool, tool
from langchain_core.vectorstores import InMemoryVectorStore
from langgraph.prebuilt import InjectedState, InjectedStore, ToolRuntime
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from oresearch_graph import create_research_graph
from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.graph.extra_tools import extra_tools
from oresearch_graph.tools.backend import Hits
from tests.helpers.scripted import PAGES, Documents, ScriptedPolicy, research_script

QUESTION: Any = {"question": "What causes tides?"}
FACT = "The Moon causes tides."


def calling(name: str, arguments: str = '{"query": "Why?"}') -> ScriptedPolicy:
    """Researchers that call this tool where they would search."""

    def script(thread: Any) -> str:
        text = research_script()(thread)
        return re.sub("<web_search>.*</web_search>", f"<{name}>{arguments}</{name}>", text)

    return ScriptedPolicy(script)


def observed(made: Any, arguments: str = '{"query": "Why?"}', **options: Any) -> Any:
    """The trace of a run whose researchers call the tool, awaited or invoked."""
    (name,) = extra_tools([made])
    policy = calling(name, arguments)
    graph = create_research_graph(policy, [made], search=Documents(PAGES), **options)
    return graph.invoke(QUESTION)["trace"]


@tool
def by_runtime(query: str, runtime: ToolRuntime) -> str:
    """Looks it up."""
    store: Any = runtime.store
    return f"{FACT} {runtime.state['subtask']} {store.get(('facts',), 'moon').value}"


@tool
def by_annotation(
    query: str,
    state: Annotated[dict[str, Any], InjectedState],
    branch: Annotated[int, InjectedState("branch")],
    store: Annotated[Any, InjectedStore()],
    call: Annotated[str, InjectedToolCallId],
) -> str:
    """Looks it up."""
    value = store.get(("facts",), "moon").value
    return f"{FACT} {state['question']} {branch} {value} {bool(call)}"


@pytest.mark.parametrize("made", [by_runtime, by_annotation], ids=lambda made: made.name)
def test_what_langgraph_injects_is_injected(made: Any):
    store = InMemoryStore()
    store.put(("facts",), "moon", {"mass": "7.3e22 kg"})
    trace = observed(made, store=store)
    texts = [source.text for source in trace.sources]
    assert len(texts) == 2
    assert all("7.3e22 kg" in text for text in texts)
    assert any("What causes tides?" in text for text in texts)


def test_a_model_cannot_forge_what_is_injected():
    store = InMemoryStore()
    store.put(("facts",), "moon", {"mass": "7.3e22 kg"})
    forged = '{"query": "Why?", "store": "mine", "branch": 99, "state": {"question": "mine"}}'
    trace = observed(by_annotation, forged, store=store)
    assert all("7.3e22 kg" in source.text for source in trace.sources)
    assert all("99" not in source.text.split("tides?")[-1][:5] for source in trace.sources)


def test_a_tool_without_the_store_it_needs_fails_alone():
    trace = observed(by_annotation)
    (message, *_) = {failure.message for failure in trace.failures if failure.role == "researcher"}
    assert "store" in message


@pytest.mark.parametrize(
    ("name", "tag"),
    [("get-weather", "get_weather"), ("a.b/c", "a_b_c"), ("3d", "tool_3d"), ("plain", "plain")],
)
def test_a_name_that_no_tag_can_have_is_mapped(name: str, tag: str):
    made = StructuredTool.from_function(lambda query: FACT, name=name, description="D.")
    trace = observed(made)
    assert {step.tag for step in trace.steps if step.kind == "tool_call"} == {tag}
    assert made.name == name, "the embedder's own is left as it is"


@pytest.mark.parametrize(
    "names", [("web_search",), ("web search",), ("observation",), ("get-it", "get_it")]
)
def test_a_name_that_is_taken_is_refused_at_construction(names: tuple[str, ...]):
    made = [StructuredTool.from_function(len, name=name, description="D.") for name in names]
    with pytest.raises(ConfigurationError, match=r"cannot be called .*: the tag <.*; rename it"):
        create_research_graph(ScriptedPolicy(research_script()), made)


PAGE = Document(FACT, metadata={"source": "https://a.example/moon", "title": "The Moon"})
OTHER = Document("The Sun helps.", metadata={"title": "The Sun"})


@pytest.mark.parametrize("says_all", [True, False])
def test_documents_of_an_artifact_are_sources(says_all: bool):
    @tool(response_format="content_and_artifact")
    def documents(query: str) -> tuple[str, list[Document]]:
        """Finds documents."""
        return (f"{FACT}\n\nThe Sun helps." if says_all else "Two were found."), [PAGE, OTHER]

    trace = observed(documents)
    by_address = {source.url: source for source in trace.sources}
    assert by_address["https://a.example/moon"].title == "The Moon"
    assert by_address["https://a.example/moon"].text == FACT
    assert any(url.startswith("document:documents/") for url in by_address)
    assert ("tool:documents?query=Why%3F" in by_address) == (not says_all)


def test_an_answer_that_would_steer_the_graph_is_a_failed_call():
    @tool
    def steers(query: str, runtime: ToolRuntime) -> Command[Any]:
        """Steers."""
        return Command(goto="end")

    trace = observed(steers)
    messages = {failure.message for failure in trace.failures if failure.name == "tool_error"}
    assert messages == {
        "the tool steers gives no answer and would steer the graph instead: let it return what it "
        "knows"
    }


def test_a_vector_store_searches():
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([PAGE, OTHER])
    graph = create_research_graph(ScriptedPolicy(research_script()), search=store)
    trace = graph.invoke(QUESTION)["trace"]
    assert {source.title for source in trace.sources} == {"The Moon", "The Sun"}


@pytest.mark.parametrize("search", [{"a": 1}, len, 7])
def test_what_cannot_search_is_refused_at_construction(search: Any):
    with pytest.raises(ConfigurationError, match="cannot search: give a SearchBackend"):
        create_research_graph(ScriptedPolicy(research_script()), search=search)


class Heard(AsyncCallbackHandler):
    """Tool runs as a tracer sees them."""

    def __init__(self) -> None:
        self.started: dict[UUID, tuple[str, Any, bool]] = {}
        self.ended: Counter[str] = Counter()
        self.failed: dict[str, BaseException] = {}
        self.outputs: list[Any] = []

    async def on_tool_start(
        self, serialized: Any, input_str: str, *, run_id: UUID, parent_run_id: Any = None,
        inputs: Any = None, **_: Any,
    ) -> None:  # fmt: skip
        self.started[run_id] = (serialized["name"], inputs, parent_run_id is not None)

    async def on_tool_end(self, output: Any, *, run_id: UUID, **_: Any) -> None:
        self.ended[self.started[run_id][0]] += 1
        self.outputs.append(output)

    async def on_tool_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        self.failed[self.started[run_id][0]] = error


@pytest.mark.parametrize("invoked", [True, False])
async def test_every_search_and_page_is_a_tool_run(invoked: bool):
    heard = Heard()

    def script(thread: Any) -> str:
        text = research_script(turns=2)(thread)
        return re.sub(
            "<web_search>tides Moon Sun 2.*</web_search>",
            f"<crawl_page>{next(iter(PAGES))}</crawl_page>", text,
        )  # fmt: skip

    graph = create_research_graph(ScriptedPolicy(script), search=Documents(PAGES))
    config: Any = {"callbacks": [heard]}
    result = graph.invoke(QUESTION, config) if invoked else await graph.ainvoke(QUESTION, config)
    calls = [step.kind for step in result["trace"].steps if step.is_call]
    assert heard.ended == Counter(calls) == Counter(web_search=2, crawl_page=2)
    inputs = [inputs for name, inputs, _ in heard.started.values() if name == "crawl_page"]
    assert inputs == [{"urls": [next(iter(PAGES))]}] * 2
    assert all(has_parent for *_, has_parent in heard.started.values())
    assert all("hits" in output and "pages" in output for output in heard.outputs)


async def test_a_search_that_fails_is_a_tool_run_that_fails():
    class Broken(Documents):
        async def search(self, queries: Any, k: int) -> list[Hits]:
            raise ToolError("the search service does not answer; try again later")

    heard = Heard()
    graph = create_research_graph(ScriptedPolicy(research_script()), search=Broken(PAGES))
    await graph.ainvoke(QUESTION, {"callbacks": [heard]})
    assert isinstance(heard.failed["web_search"], ToolError)
    assert not heard.ended
