"""No text of a policy is anybody else's fault: its tools answer it, its rollout is scored, and the
judge's prompt has the lines that we wrote."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import tool

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.judging.ground_truth import Judged
from oresearch_graph.judging.point_verdicts import point_request
from oresearch_graph.judging.prompt import judge_messages
from oresearch_graph.rows.ground_truth import Criterion, GroundTruth, KeyPoint, Rubric
from oresearch_graph.threads import Thread
from oresearch_graph.tools.choose import Documents
from oresearch_graph.tools.corpus.local import LocalCorpus
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.providers.retriever import RetrieverSearch, ToolSearch
from oresearch_graph.tools.providers.searxng import SearxngSearch
from oresearch_graph.tools.providers.tavily import TavilyReader, TavilySearch
from oresearch_graph.tools.recorded import Recorder, Replay
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.page_cache import CachedReader, PageCache
from oresearch_graph.tools.web.reader import WebReader
from oresearch_graph.tools.web_search import WebSearch
from oresearch_graph.trace import CitationReport, Claim, Step
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.calls import read_call
from oresearch_graph.trace.plain_text import storable
from oresearch_graph.trace.record import STATUSES
from rl.rollouts.log import RolloutLog
from rl.rollouts.reward import RewardJudge
from rl.rollouts.worker import RolloutWorker
from rl.settings import RLSettings, ToolSettings
from rl.tools.documents import IndexClient
from rl.tools.index_service import IndexService, serving
from rl.tools.training_tools import TrainingTools, training_tools
from tests.helpers.loopback_site import Answer, Asked, Site, running_site
from tests.helpers.policy_texts import policy_texts
from tests.helpers.rewards import row
from tests.helpers.rl_engine import SAMPLING, ScriptedEngine, ScriptedLedgerPolicy, small_tokens
from tests.helpers.traces import SOURCES

FEW, MANY = 150, 10_000
COUNTS = [FEW, pytest.param(MANY, marks=pytest.mark.hostile)]
RULES = SourceRules(exclude_domains=("excluded.example",))
AT_ONCE: Final = 16


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        docs = Path(name) / "docs"
        docs.mkdir()
        (docs / "tides.md").write_text("# Tides\n\nThe Moon causes tides. They reach 16 metres.")
        (docs / "orla.txt").write_text("The Orla tower is not the Moon. It is 81 metres high.")
        yield docs


@pytest.fixture(scope="module")
def corpus(folder: Path) -> LocalCorpus:
    made = LocalCorpus(folder, cache=folder.parent / "cache", refresh_seconds=1e9)
    made.update()
    return made


def picky(asked: Asked) -> Answer:
    """A search service that takes plain words, and no more of them than fit; it sends who writes
    `!!` elsewhere, as SearXNG does."""
    text = asked.path + asked.body.decode("utf-8", "replace")
    if "%21%21" in text:
        return Answer(status=302, headers={"Location": "https://elsewhere.example/"})
    if len(text) > 900:
        return Answer(b"{}", 414, "application/json")
    if "%25" in text or "\\" in text:
        return Answer(b'{"detail": {"error": "ill-formed"}}', 400, "application/json")
    found = {"results": [{"url": "https://a.example/1", "title": "One", "content": "It is so."}]}
    return Answer(json.dumps(found).encode(), 200, "application/json")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with running_site() as running:
        running.pages |= {"/search": picky, "/extract": picky}
        yield running


Opened = Callable[[ExitStack, LocalCorpus, Site], Documents]


def of_corpus(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    return RuledSearch(corpus, RULES), RuledReader(corpus, RULES)


def of_service(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    client = IndexClient(stack.enter_context(serving(IndexService(corpus, threads=2))))
    return RuledSearch(client, RULES), RuledReader(client, RULES)


def of_record(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    file = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "record.jsonl"
    asyncio.run(Recorder(corpus, corpus, file).search(["tides"], 6))
    replay = Replay(file, whole=False)
    return replay, replay


def of_searxng(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    async def nowhere(host: str, port: int) -> list[str]:
        if host.isascii():
            return ["127.0.0.1"]
        raise socket.gaierror("there is no such host")

    web = WebReader(AddressGuard(allow_private=True, resolver=nowhere))
    reader = CachedReader(RuledReader(web, RULES), PageCache(60.0))
    return RuledSearch(SearxngSearch(site.url), RULES), reader


def of_tavily(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    search = TavilySearch("key", base_url=site.url, rules=RULES)
    return search, RuledReader(TavilyReader("key", base_url=site.url), RULES)


class Everything(BaseRetriever):
    """Finds the same for whatever it is asked."""

    def _get_relevant_documents(self, query: str, *, run_manager: Any) -> list[Document]:
        return [Document("The Moon causes tides.", metadata={"source": query})]


def of_retriever(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    found = RetrieverSearch(Everything())
    return found, found


def of_tool(stack: ExitStack, corpus: LocalCorpus, site: Site) -> Documents:
    @tool
    def echo(query: str) -> str:
        """Says what it is asked."""
        return query

    found = ToolSearch(echo)
    return found, found


async def asked_of(tools: TrainingTools, text: str) -> None:
    """The text as a call of each tool, as the graph reads and carries it out."""
    search = read_call(Step(kind="web_search", text=text))
    if search.fault is None:
        await WebSearch(tools.search).call(search.items, search.num, focus=text)
    crawl = read_call(Step(kind="crawl_page", text=text))
    if crawl.fault is None:
        await CrawlPage(tools.reader).call(crawl.items, focus=text)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "opened", [of_corpus, of_service, of_record, of_searxng, of_tavily, of_retriever, of_tool]
)
def test_no_text_of_a_policy_is_a_fault_of_its_tools(
    count: int, opened: Opened, corpus: LocalCorpus, site: Site
):
    async def all_of(documents: Documents) -> TrainingTools:
        tools = training_tools(RLSettings(tools=ToolSettings(tries=1)), documents)
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(text: str) -> None:
            async with slots:
                await asked_of(tools, text)

        await asyncio.gather(*map(one, policy_texts(count)))
        backend = getattr(documents[0], "backend", None)
        if isinstance(backend, IndexClient):
            await backend.aclose()
        return tools

    with ExitStack() as stack:
        tools = asyncio.run(all_of(opened(stack, corpus, site)))
    assert (tools.counts.given_up, tools.counts.failed_tries) == (0, {})
    assert min(tools.counts.searches, tools.counts.pages) > count // 10


POINTS = (KeyPoint(text="The Moon causes tides.", needs=(("Moon",), ("tides",))),)
TRUTH = GroundTruth(key_points=POINTS)
RUBRIC = GroundTruth(
    key_points=POINTS, rubric=Rubric(criteria=(Criterion(text="Says what tides are."),))
)
_FENCE: Final = re.compile(r"</?(?:question|points|reference|report|citations)-[0-9a-f]{16}>")
_LINE: Final = re.compile(rf"- (?:{'|'.join(STATUSES)}): .*")


def check_prompts(question: str, report: str, citations: CitationReport) -> None:
    """Both of the judge's prompts have the fences that we set, and a list of the checker's with a
    line for each claim."""
    request = point_request(question, report, POINTS, citations)
    for messages in (request.messages, judge_messages(question, report, RUBRIC, citations)):
        prompt = str(messages[-1].content)
        lines = prompt.split("\n")
        fences = [line for line in lines if _FENCE.fullmatch(line)]
        assert len(fences) == len(_FENCE.findall(prompt)) == 8
        assert [f"</{fence[1:]}" for fence in fences[::2]] == fences[1::2]
        first, last = lines.index(fences[-2]), lines.index(fences[-1])
        head, *claims = "\n".join(lines[first + 1 : last]).splitlines()
        assert head.startswith(("Of ", "No sentence"))
        assert all(_LINE.fullmatch(line) for line in claims)
        speaks_against = sum(c.warns or c.status == "dangling" for c in citations.claims)
        assert len(claims) == min(20, speaks_against)


@pytest.mark.parametrize("count", [2 * FEW, pytest.param(MANY, marks=pytest.mark.hostile)])
def test_no_text_of_a_policy_forges_a_line_of_the_judges_prompt(count: int):
    for number, text in enumerate(policy_texts(count, seed=1)):
        report = f"## Introduction\n{text}\n\n## Findings\n{text} [1001]. So {text} [7].\n"
        citations = verify_report(parse_answer(report), SOURCES)
        status = STATUSES[number % len(STATUSES)]
        claim = Claim(start=0, end=len(text), text=text, sources=(1001,), status=status)
        claims = (*citations.claims, claim)
        check_prompts(text, report, citations.model_copy(update={"claims": claims}))


class CheckingJudge:
    """Checks the prompt that a model would be sent."""

    def __init__(self) -> None:
        self.judged = 0

    async def judge(
        self, question: str, report: str, truth: GroundTruth, *, citations: Any = None
    ) -> Judged:
        check_prompts(question, report, citations or CitationReport())
        self.judged += 1
        return Judged(quality=0.5, by="checking")


class Texts:
    """A script that plays every role with the texts, some where they belong and some instead."""

    def __init__(self, count: int) -> None:
        self._texts = policy_texts(count, seed=2)
        self.left, self.turns = count, 0

    def __call__(self, thread: Thread) -> str:
        texts = [self._next() for _ in range(3)]
        self.turns += 1
        if thread.role == "planner":
            plan = f"<subtask_list>\n1. {texts[0]}\n2. {texts[1]} tides\n</subtask_list>"
            return texts[2] if self.turns % 7 == 0 else plan
        if thread.role == "summarizer":
            body = f"## Introduction\n{texts[0]}\n\n## Findings\n{texts[1]} [1001].\n\n{texts[2]}"
            return f"<suggested_answer>{body}\n\n## References\n[1001]. x\n</suggested_answer>"
        if thread.forced:
            return f"{texts[0]} [1001].</subtask_answer>"
        tag = ("web_search", "crawl_page", "web_search", "subtask_answer")[self.turns % 4]
        return f"<think>{texts[0]}</think>\n\n<{tag}>{texts[1]}</{tag}>{texts[2][:20]}"

    def _next(self) -> str:
        self.left -= 1
        return storable(next(self._texts, "the end"))  # as ids are decoded


@pytest.mark.parametrize("execution", ["parallel", "sequential"])
@pytest.mark.parametrize("count", [600, pytest.param(MANY, marks=pytest.mark.hostile)])
async def test_no_text_of_a_policy_drops_its_rollout(
    count: int, execution: str, corpus: LocalCorpus
):
    tokens, log, script, judge = small_tokens(), RolloutLog(), Texts(count), CheckingJudge()
    settings = RLSettings(research={"execution": execution, "max_steps": 8, "max_tool_calls": 7})
    worker = RolloutWorker(
        settings, tokens, log, judge=RewardJudge(settings.reward, judge),
        documents=(RuledSearch(corpus, RULES), RuledReader(corpus, RULES)),
        policy=ScriptedLedgerPolicy,
    )  # fmt: skip
    number = 0
    while script.left > 0:
        number += 1
        asked = {
            **row(TRUTH), "uid": f"q{number}", "raw_prompt": [{"role": "user", "content": "Why?"}],
        }  # fmt: skip
        assert await worker.rollout(asked, ScriptedEngine(tokens, script), SAMPLING) is not None
    records = log.drain()
    assert [record.fate for record in records] == ["kept"] * number
    faults = {name for record in records for name in record.failures}
    assert {name.split(".")[0] for name in faults} <= {"policy", "web"}
    assert judge.judged > number // 2
