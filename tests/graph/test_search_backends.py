"""Tavily, SearXNG, retrievers, search tools and MCP, against real loopback servers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.tools.providers import service_calls
from oresearch_graph.tools.providers.mcp import mcp_tools
from oresearch_graph.tools.providers.retriever import RetrieverSearch, ToolSearch, results_in
from oresearch_graph.tools.providers.searxng import SearxngSearch
from oresearch_graph.tools.providers.tavily import TavilyReader, TavilySearch
from oresearch_graph.tools.source_rules import SourceRules
from tests.helpers.loopback_site import Answer, Asked, Site, running_site


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_calls, "_waits", lambda _: 0.0)


def answers(site: Site, path: str, *turns: tuple[int, Any], **headers: str) -> None:
    """The path gives each turn once, the last one ever after."""
    left = list(turns)

    def answer(_: Asked) -> Answer:
        status, body = left.pop(0) if len(left) > 1 else left[0]
        return Answer(json.dumps(body).encode(), status, "application/json", headers)

    site.pages[path] = answer


FOUND = {
    "results": [
        {
            "url": "https://a.org/1",
            "title": "One",
            "content": "text",
            "published_date": "2024-05-06",
        },
        {"url": "https://a.org/2", "title": "Two", "content": "more"},
        {"title": "no address"},
    ]
}


async def test_tavily_sends_rules_and_reads_hits(site: Site) -> None:
    answers(site, "/search", (200, FOUND))
    rules = SourceRules(include_domains=("a.org",), published_after=date(2024, 1, 2))
    search = TavilySearch("tvly-key", base_url=site.url + "/", rules=rules)
    found = await search.search(["first", "x" * 900], 2)
    assert [hit.url for hit in found[0].hits] == ["https://a.org/1", "https://a.org/2"]
    assert found[0].hits[0].published == "2024-05-06"
    bodies = sorted((json.loads(asked.body) for asked in site.asked), key=lambda b: len(b["query"]))
    assert bodies[0]["include_domains"] == ["a.org"]
    assert bodies[0]["start_date"] == "2024-01-02"
    assert bodies[0]["max_results"] == 2
    assert len(bodies[1]["query"]) == 400
    assert site.asked[0].headers["Authorization"] == "Bearer tvly-key"


async def test_tavily_retries_what_may_pass_and_not_what_stays(site: Site) -> None:
    answers(site, "/search", (429, {}), (500, {}), (200, FOUND))
    search = TavilySearch("k", base_url=site.url)
    assert len((await search.search(["q"], 5))[0].hits) == 2
    answers(site, "/search", (401, {"detail": {"error": "bad key"}}))
    site.asked.clear()
    with pytest.raises(ToolError, match="correct TAVILY_API_KEY"):
        await search.search(["q"], 5)
    assert len(site.asked) == 1
    answers(site, "/search", (503, {}))
    with pytest.raises(ToolError, match="HTTP status 503"):
        await search.search(["q"], 5)


async def test_a_query_that_fails_alone_has_its_fault(site: Site) -> None:
    def answer(asked: Asked) -> Answer:
        good = json.loads(asked.body)["query"] == "good"
        body = FOUND if good else {"detail": {"error": "odd query"}}
        return Answer(json.dumps(body).encode(), 200 if good else 400, "application/json")

    site.pages["/search"] = answer
    good, bad = await TavilySearch("k", base_url=site.url).search(["good", "bad"], 3)
    assert (len(good.hits), good.fault) == (2, None)
    assert "odd query" in str(bad.fault)


async def test_a_query_that_no_service_takes_is_the_askers_fault(site: Site) -> None:
    answers(site, "/search", (400, {"detail": {"error": "odd query"}}))
    for search in (TavilySearch("k", base_url=site.url), SearxngSearch(site.url)):
        site.asked.clear()
        [refused] = await search.search(["odd"], 3)
        assert (refused.hits, refused.refused) == ((), True)
        assert "reword it" in str(refused.fault) or "odd query" in str(refused.fault)
        assert len(site.asked) == 1, "it is not asked again"


async def test_a_refused_query_does_not_hide_that_the_service_is_down(site: Site) -> None:
    def answer(asked: Asked) -> Answer:
        return Answer(b"{}", 400 if b"odd" in asked.body else 503, "application/json")

    site.pages["/search"] = answer
    with pytest.raises(ToolError, match="HTTP status 503"):
        await TavilySearch("k", base_url=site.url).search(["odd", "good"], 3)


async def test_searxng_sends_a_bang_elsewhere_and_gets_no_long_query(site: Site) -> None:
    elsewhere = Answer(status=302, headers={"Location": "https://elsewhere.example/"})
    site.pages["/search"] = lambda _: elsewhere
    [bang] = await SearxngSearch(site.url).search(["!!wiki tides"], 3)
    assert bang.refused
    with pytest.raises(ToolError, match="HTTP status 302"):
        await SearxngSearch(site.url).search(["tides"], 3)
    answers(site, "/search", (200, {"results": [{"url": "https://a.org/1"}]}))
    await SearxngSearch(site.url).search(["x" * 9_000], 3)
    assert parse_qs(urlsplit(site.asked[-1].path).query)["q"] == ["x" * 400]


async def test_an_address_that_tavily_does_not_take_is_a_fault_of_its_page(site: Site) -> None:
    answers(site, "/extract", (422, {}))
    [page] = await TavilyReader("k", base_url=site.url).read(["http://[x"], "")
    assert "did not take the request" in str(page.fault)


async def test_tavily_extract(site: Site) -> None:
    body = {
        "results": [{"url": "https://a.org/1", "raw_content": "The text.\r\n", "title": "T"}],
        "failed_results": [{"url": "https://a.org/2", "error": "blocked"}],
    }
    answers(site, "/extract", (200, body))
    urls = ["https://a.org/2", "https://a.org/1", "https://a.org/3"]
    pages = await TavilyReader("k", base_url=site.url).read(urls, "focus")
    assert [page.url for page in pages] == urls
    assert pages[1].text == "The text."
    assert [bool(page.fault) for page in pages] == [True, False, True]


async def test_searxng(site: Site) -> None:
    body = {"results": [{"url": "https://a.org/1", "title": "t", "content": "c",
                         "publishedDate": "2023-02-01T00:00:00"}] * 9}  # fmt: skip
    answers(site, "/sub/search", (429, {}), (200, body), **{"Retry-After": "0"})
    found = await SearxngSearch(site.url + "/sub/").search(["AT&T = ? 潮汐"], 4)
    assert len(found[0].hits) == 4
    assert found[0].hits[0].published == "2023-02-01"
    query = parse_qs(urlsplit(site.asked[-1].path).query)
    assert query == {"q": ["AT&T = ? 潮汐"], "format": ["json"]}


async def test_searxng_faults_name_the_fix(site: Site) -> None:
    search = SearxngSearch(site.url)
    answers(site, "/search", (403, {}))
    with pytest.raises(ToolError, match=r"settings\.yml"):
        await search.search(["q"], 3)
    site.add("/search", "<html>hello</html>")
    with pytest.raises(ToolError, match="did not answer as SearXNG does"):
        await search.search(["q"], 3)
    with pytest.raises(ToolError, match="check that it runs"):
        await SearxngSearch("http://127.0.0.1:1").search(["q"], 3)
    with pytest.raises(ConfigurationError, match="no SearXNG address"):
        SearxngSearch("localhost:8080")


async def test_searxng_whose_engines_are_all_blocked_is_out_of_order(site: Site) -> None:
    blocked = [["google", "CAPTCHA"], ["bing", "timeout"], "odd", []]
    answers(site, "/search", (200, {"results": [], "unresponsive_engines": blocked}))
    with pytest.raises(ToolError, match=r"engines do not answer \(google CAPTCHA, bing timeout\)"):
        await SearxngSearch(site.url).search(["q"], 3)


async def test_searxng_with_results_or_with_nothing_blocked_is_not(site: Site) -> None:
    hit = {"url": "https://a.org/1", "title": "t", "content": "c"}
    body = {"results": [hit], "unresponsive_engines": [["google", "CAPTCHA"]]}
    answers(site, "/search", (200, body), (200, {"results": [], "unresponsive_engines": []}))
    search = SearxngSearch(site.url)
    assert len((await search.search(["q"], 3))[0].hits) == 1
    assert (await search.search(["q"], 3))[0].hits == ()


class Retriever(BaseRetriever):
    documents: list[Document]

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        if query == "down":
            raise ConnectionError("no route")
        return self.documents


async def test_a_retrievers_documents_can_be_searched_and_read() -> None:
    documents = [
        Document("Part one.", metadata={"source": "notes/my file.md", "title": "Notes"}),
        Document("Part two.", metadata={"source": "notes/my file.md"}),
        Document("Alone.", metadata={}),
    ]
    search = RetrieverSearch(Retriever(documents=documents))
    hits = (await search.search(["q"], 3))[0].hits
    assert hits[0].url == "document:notes/my%20file.md"
    assert hits[2].url.startswith("document:")
    pages = await search.read([hits[0].url, hits[2].url, "https://else.org/"], "")
    assert [page.text for page in pages] == ["Part one.\n\nPart two.", "Alone.", ""]
    assert "not among the documents" in str(pages[2].fault)
    with pytest.raises(ToolError, match="no route"):
        await search.search(["down"], 3)


@pytest.mark.parametrize(
    "answer",
    [
        [{"url": "https://a.org/x", "title": "T", "content": "words"}],
        {"query": "q", "results": [{"link": "https://a.org/x", "name": "T", "snippet": "words"}]},
        json.dumps([{"href": "https://a.org/x", "title": "T", "body": "words"}]),
        [{"type": "text", "text": json.dumps({"results": [{"url": "https://a.org/x", "title": "T",
                                                           "content": "words"}]})}],
        "T\nwords (https://a.org/x).",
        [Document("words", metadata={"source": "https://a.org/x", "title": "T"})],
    ],
)  # fmt: skip
async def test_any_shape_of_search_tool_answer(answer: object) -> None:
    found = list(results_in(answer))
    assert len(found) == 1
    assert "words" in found[0][0]

    @tool
    def find(query: str) -> object:
        """Find."""
        return answer

    search = ToolSearch(find)
    hit = (await search.search(["q"], 3))[0].hits[0]
    assert (hit.url, hit.title) == ("https://a.org/x", "T")
    assert "words" in (await search.read([hit.url], ""))[0].text


async def test_a_tools_plain_answer_is_a_document_of_its_own() -> None:
    @tool
    def ask_wiki(question: str) -> str:
        """Ask."""
        return "" if question == "nothing" else "The kraken sleeps."

    search = ToolSearch(ask_wiki)
    first, none = await search.search(["kraken?", "nothing"], 3)
    assert first.hits[0].url.startswith("document:ask-wiki/")
    assert none.hits == ()


def test_a_tool_without_a_text_argument_cannot_search() -> None:
    @tool
    def add(a: int) -> int:
        """Add."""
        return a

    with pytest.raises(ConfigurationError, match="takes no text argument"):
        ToolSearch(add)


MCP_SERVER = """
from mcp.server.fastmcp import FastMCP
server = FastMCP("library")
@server.tool()
def find_books(query: str) -> list[dict[str, str]]:
    "Find books."
    return [{"url": "https://books.org/" + query, "title": "Book", "content": "On " + query}]
server.run()
"""


async def test_the_tools_of_an_mcp_server_search(tmp_path: Path) -> None:
    script = tmp_path / "server.py"
    script.write_text(MCP_SERVER)
    connection = {"transport": "stdio", "command": sys.executable, "args": [str(script)]}
    tools = await mcp_tools({"library": connection})
    assert [each.name for each in tools] == ["find_books"]
    hit = (await ToolSearch(tools[0]).search(["tides"], 3))[0].hits[0]
    assert (hit.url, hit.snippet) == ("https://books.org/tides", "On tides")


async def test_mcp_faults_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"transport": "stdio", "command": "/no/such/program", "args": []}
    with pytest.raises(ToolError, match="check their commands"):
        await mcp_tools({"library": broken})
    monkeypatch.setitem(sys.modules, "langchain_mcp_adapters.client", None)
    with pytest.raises(ConfigurationError, match=r"pip install '\.\[mcp\]'"):
        await mcp_tools({})
