"""The two tools, the choice of backend, and recording."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.text.words import token_count
from oresearch_graph.tools.backend import Hit, Hits, Page, ToolResult
from oresearch_graph.tools.choose import choose_backend, describe_search, prepare, search_backend
from oresearch_graph.tools.corpus.local import LocalCorpus
from oresearch_graph.tools.crawl_page import CrawlPage, fit_pages
from oresearch_graph.tools.recorded import Recorder, Replay
from oresearch_graph.tools.web_search import WebSearch
from tests.helpers.loopback_site import running_site


class Library:
    """A backend and reader that counts, and can be slow."""

    name = "library"

    def __init__(self, seconds: float = 0.0) -> None:
        self.queries: list[tuple[str, int]] = []
        self.urls: list[str] = []
        self._seconds = seconds

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        await asyncio.sleep(self._seconds)
        self.queries += [(query, k) for query in queries]
        number = len(self.queries)
        hits = tuple(Hit(url=f"https://a.org/{number}/{i}", title="潮") for i in range(k + 2))
        return [Hits(query=query, hits=hits) for query in queries]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        await asyncio.sleep(self._seconds)
        self.urls += urls
        return [
            Page(
                url=url, fault="HTTP status 404" if "gone" in url else None, text="tide\u2028 " * 3
            )
            for url in urls
        ]


async def test_web_search_asks_each_query_once_and_keeps_order() -> None:
    library = Library()
    result = await WebSearch(library, k=3).call(["b", " a  x ", "b", "", "a x"], focus="f")
    assert library.queries == [("b", 3), ("a x", 3)]
    assert [(hits.query, len(hits.hits)) for hits in result.hits] == [("b", 3), ("a x", 3)]


@pytest.mark.parametrize(("num", "asked"), [(None, 6), (0, 1), (-4, 1), (9, 9), (10_000, 50)])
async def test_the_number_of_results_is_held_within_bounds(num: int | None, asked: int) -> None:
    library = Library()
    await WebSearch(library).call(["q"], num)
    assert library.queries == [("q", asked)]


async def test_too_many_queries_and_addresses_are_told() -> None:
    library = Library()
    found = (await WebSearch(library).call([f"q{i}" for i in range(12)])).hits
    assert [bool(hits.fault) for hits in found] == [False] * 10 + [True]
    assert "nor was 1 more" in str(found[-1].fault)
    pages = (await CrawlPage(library).call([f"https://a.org/{i}" for i in range(12)])).pages
    assert [bool(page.fault) for page in pages] == [False] * 10 + [True]
    assert len(library.urls) == 10
    many = (await WebSearch(library).call([f"r{i}" for i in range(3_000)])).hits
    assert len(many) == 11
    assert "nor were 2,989 more" in str(many[-1].fault)


async def test_nothing_asked_is_nothing_found() -> None:
    library = Library()
    assert (await WebSearch(library).call([""])).hits == ()
    assert (await CrawlPage(library).call([" "])).pages == ()
    await WebSearch(library).call(["", " "], focus="the subtask")
    assert library.queries == [("the subtask", 6)]


async def test_a_search_that_takes_too_long_is_a_tool_error() -> None:
    with pytest.raises(ToolError, match=r"search \(library\) gave no answer within 0\.01 s"):
        await WebSearch(Library(1.0), seconds=0.01).call(["q"])


class OddReader:
    """Each page goes wrong in its own way; the last one does not."""

    name = "odd"

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        (url,) = urls
        if "slow" in url:
            await asyncio.sleep(5)
        if "defect" in url:
            raise KeyError("charset")
        if "service" in url:
            raise ToolError("the service said no: try later")
        return [Page(url=url, text="well")]


async def test_what_goes_wrong_with_one_page_costs_no_other() -> None:
    urls = [f"https://a.org/{name}" for name in ("slow", "defect", "service", "good")]
    pages = (await CrawlPage(OddReader(), seconds=0.05).call(urls)).pages
    assert [page.fault for page in pages] == [
        "gave no answer within 0.05 s",
        "cannot be read (KeyError)",
        "the service said no: try later",
        None,
    ]
    with pytest.raises(ToolError, match="the service said no"):
        await CrawlPage(OddReader()).call(["https://a.org/service"])


async def test_crawl_page_reads_each_address_once_and_keeps_faults() -> None:
    library = Library()
    urls = ["https://a.org/gone", "https://a.org/x", "https://a.org/gone"]
    pages = (await CrawlPage(library).call(urls)).pages
    assert library.urls == urls[:2]
    assert [page.fault for page in pages] == ["HTTP status 404", None]


FILLER = "\n\n".join(f"Paragraph {i} is about the ordinary matters of a day." for i in range(300))


def test_a_long_page_is_cut_to_its_relevant_passages_in_page_order() -> None:
    text = f"{FILLER}\n\nSpring tides come at new moon.\n\n{FILLER}\n\nNeap tides are lower."
    (page,) = fit_pages([Page(url="u", text=text)], "spring and neap tides", 300)
    assert page.text.index("Spring tides") < page.text.index("Neap tides")
    assert "[…]" in page.text
    assert token_count(page.text) < 330


def test_short_pages_leave_their_share_to_long_ones() -> None:
    pages = [Page(url="a", text=FILLER), Page(url="b", text="Short."), Page(url="c", fault="gone")]
    long, short, _ = fit_pages(pages, "ordinary matters", 1_000)
    assert short.text == "Short."
    assert token_count(long.text) > 800


@given(st.lists(st.text(max_size=400), max_size=5), st.text(max_size=30), st.integers(100, 500))
def test_pages_never_exceed_the_budget_by_more_than_the_gap_marks(
    texts: list[str], focus: str, tokens: int
) -> None:
    pages = fit_pages([Page(url=str(i), text=text) for i, text in enumerate(texts)], focus, tokens)
    marks = sum(page.text.count("[…]") for page in pages)
    assert sum(token_count(page.text) for page in pages) <= tokens + 2 * marks + len(pages)


async def test_both_are_langchain_tools() -> None:
    search = WebSearch(Library()).as_langchain_tool()
    crawl = CrawlPage(Library()).as_langchain_tool()
    call = {
        "type": "tool_call",
        "id": "1",
        "name": search.name,
        "args": {"queries": ["q"], "num": 2},
    }
    message = await search.ainvoke(call)
    assert "https://a.org/1/0" in message.content
    assert isinstance(message.artifact, ToolResult)
    text = await crawl.ainvoke({"urls": ["https://a.org/gone", "https://a.org/x"]})
    assert "HTTP status 404" in text
    assert "tide" in text


async def test_a_run_is_recorded_and_replayed_byte_for_byte(tmp_path: Path) -> None:
    library = Library()
    recorder = Recorder(library, library, tmp_path / "run.jsonl")
    searched = [await recorder.search(["a", "b", "a"], 2), await recorder.search(["a"], 3)]
    assert await recorder.search(["b"], 2) == searched[0][1:2]
    read = await recorder.read(["https://a.org/x", "https://a.org/gone"], "one")
    assert library.queries == [("a", 2), ("b", 2), ("a", 3)]

    replay = Replay(tmp_path / "run.jsonl")
    assert replay.name == "library"
    assert await replay.search(["a", "b", "a"], 2) == searched[0]
    assert await replay.search(["a"], 3) == searched[1]
    assert await replay.read(["https://a.org/x", "https://a.org/gone"], "one") == read
    assert await replay.read(["https://a.org/x"], "another focus") == read[:1]
    with pytest.raises(ToolError, match="does not hold the query 'c' with 2 results"):
        await replay.search(["c"], 2)
    with pytest.raises(ToolError, match="does not hold the page"):
        await replay.read(["https://b.org/"], "one")


def test_a_file_that_is_no_record(tmp_path: Path) -> None:
    for text in ("", "{}\n", '{"oresearch_record": 1, "search": "a", "reader": "b"}\nnonsense\n'):
        (tmp_path / "x.jsonl").write_text(text)
        with pytest.raises(ConfigurationError, match="record the run again"):
            Replay(tmp_path / "x.jsonl")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Replay(tmp_path / "none.jsonl")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORESEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TAVILY_API_KEY", raising=False)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "tides.md").write_text("# Tides\n\nThe moon pulls.")
    return tmp_path


def test_auto_takes_the_corpus_then_tavily_then_python(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_corpus = ResearchSettings(corpus=str(home / "docs"))
    assert choose_backend(ResearchSettings())[0].name == "python"
    assert "embedded" in describe_search(ResearchSettings())
    assert choose_backend(with_corpus)[0].name == "corpus"
    monkeypatch.setenv("TAVILY_API_KEY", "k")
    assert [part.name for part in choose_backend(ResearchSettings())] == ["tavily", "web"]
    extracting = ResearchSettings(search="tavily-extract")
    assert [part.name for part in choose_backend(extracting)] == ["tavily", "tavily-extract"]
    assert choose_backend(with_corpus)[0].name == "corpus"
    searxng = ResearchSettings(search="searxng:http://127.0.0.1:8888", allow_private_addresses=True)
    assert [part.name for part in choose_backend(searxng)] == ["searxng", "web+private"]
    assert "http://127.0.0.1:8888" in describe_search(searxng)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"search": "tavily"}, "set TAVILY_API_KEY"),
        ({"search": "corpus"}, "set corpus"),
        ({"search": "corpus", "corpus": "/no/such/folder"}, "does not exist"),
        ({"search": "bing"}, "use auto, tavily, corpus, python or searxng:URL"),
        ({"search": "searxng:nowhere"}, "no SearXNG address"),
        ({"include_domains": ("a.org/path",)}, r"include_domains cannot be .*write it like"),
    ],
)
def test_what_cannot_work_is_one_line_with_the_fix(
    home: Path, settings: dict[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        choose_backend(ResearchSettings.model_validate(settings))
    assert "\n" not in str(caught.value)


async def test_a_chosen_corpus_is_prepared_searched_and_read(home: Path) -> None:
    rules = {"exclude_domains": ("b.org",)}
    settings = ResearchSettings(corpus=str(home / "docs"), **rules)
    search, reader = await asyncio.to_thread(choose_backend, settings)
    report = await prepare(search)
    assert report is not None
    assert report.documents == 1
    hit = (await WebSearch(search).call(["moon"])).hits[0].hits[0]
    page = (await CrawlPage(reader).call([hit.url])).pages[0]
    assert page.text == "# Tides\n\nThe moon pulls."
    assert isinstance(await asyncio.to_thread(LocalCorpus, home / "docs"), LocalCorpus)


async def test_an_embedders_backend_keeps_its_own_reader_behind_one_cache() -> None:
    library = Library()
    _, reader = search_backend(library, ResearchSettings())
    url = "https://a.org/x"
    await asyncio.gather(*(reader.read([url], str(i)) for i in range(3)))
    assert library.urls == [url]
    with pytest.raises(ConfigurationError, match="int cannot search"):
        search_backend(3, ResearchSettings())  # type: ignore[arg-type]
    assert await prepare(library) is None


async def test_two_branches_that_open_one_page_fetch_it_once(home: Path) -> None:
    settings = ResearchSettings(
        search="searxng:http://127.0.0.1:8888", allow_private_addresses=True
    )
    _, reader = choose_backend(settings)
    with running_site() as site:
        url = site.add("/page", "<p>The moon pulls the oceans twice each day.</p>")
        crawl = CrawlPage(reader)
        both = await asyncio.gather(crawl.call([url], focus="a"), crawl.call([url], focus="b"))
        assert both[0] == both[1]
        assert site.paths() == ["/page"]
