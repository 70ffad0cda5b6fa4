"""Secrets of a run end to end: what is written, shown, kept or sent on holds none of them.

Each case is one way in which a secret came out of such systems. It tells where to look as text by
place; what is looked for are the secrets in every usual spelling.
"""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import os
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from pydantic import SecretStr

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.policies.probe import PROBES
from oresearch_graph.settings import resolve_settings
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.tools.mcp import mcp_tools
from oresearch_graph.tools.recorded import Recorder
from oresearch_graph.tools.tavily import TavilyReader, TavilySearch
from oresearch_graph.trace import write_traces
from oresearch_graph.view.page import traces_page
from tests.loopback_site import Answer, Site, running_site
from tests.openai_server import Body, Fault, Habits, OpenAIServer
from tests.research_brain import ResearchBrain
from tests.verdicts import judged

pytestmark = pytest.mark.hostile

KEY = "Zq8vLw3R/tY6u+Kp1NxB4"
"""Of no provider's shape: only knowing it helps."""
SHAPED = "sk-proj-T3BlbkFJq8vLw3RtY6uKp1N"
"""Nobody's that this process knows: only its shape helps."""
PASSWORD = "Grün/Tor+9 Zaun%7"
IN_URL = quote(PASSWORD, safe="")
QUESTION: Any = {"question": "What is a flume good for?"}
SUBTASKS = ("What a flume is", "What a flume is good for")
FLUME = "A flume is a channel. What a flume is: this is what the sources say. It is good for flow."

Places = dict[str, str]


def spellings(secret: str) -> set[str]:
    """As it may be read from a text, or decoded out of one."""
    encoded = base64.b64encode(secret.encode()).decode()
    return {
        secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret),
        json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1],
        encoded, encoded.rstrip("="), secret[: len(secret) * 2 // 3], secret[len(secret) // 3 :],
    }  # fmt: skip


def leaks(places: Places, secrets: tuple[str, ...]) -> list[str]:
    return [
        f"{place}: …{text[max(0, text.index(each) - 60) : text.index(each) + 80]}…"
        for place, text in places.items()
        for secret in secrets
        for each in spellings(secret)
        if each in text
    ]


class World(NamedTuple):
    """What a case may use. The first request of the model's server is answered, later ones by
    `fault` where it is set."""

    folder: Path
    server: OpenAIServer
    site: Site
    monkeypatch: pytest.MonkeyPatch

    def fails(self, status: int, body: object, *, first: bool = False) -> None:
        """The server answers researchers so; with `first` everybody."""

        def fault(asked: Body) -> Fault | None:
            researching = "<subtask>" in json.dumps(asked["messages"])
            return Fault("status", status, "0", body) if first or researching else None  # type: ignore[arg-type]

        self.server.fault_for = fault


class Documents:
    """A backend whose texts the case writes."""

    name = "documents"

    def __init__(self, text: str = FLUME, *, title: str = "Flume", url: str = "", fault: str = ""):
        self.url, self.title, self.text = url or "https://example.org/flume", title, text
        self.fault = fault

    async def search(self, queries: Any, k: int) -> list[Hits]:
        hit = Hit(url=self.url, title=self.title, snippet=self.text)
        return [Hits(query=query, hits=(hit,)) for query in queries]

    async def read(self, urls: Any, focus: str) -> list[Page]:
        if self.fault:
            return [Page(url=url, fault=self.fault) for url in urls]
        return [Page(url=url, title=self.title, text=self.text) for url in urls]


@contextmanager
def logged() -> Iterator[io.StringIO]:
    """Everything that is logged while it is open, tracebacks as well."""
    stream, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(stream), root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


async def places_of(
    world: World, *, model: Any = "fake", search: Any = None, tools: Any = (), reader: Any = None,
    own_server: bool = True, **settings: Any,
) -> Places:  # fmt: skip
    """One run, and every place where something of it can be read afterwards."""
    PROBES.forget()
    base = {"base_url": world.server.base_url} if own_server and isinstance(model, str) else {}
    file, places, events = world.folder / "state.sqlite", Places(), list[str]()
    values: Mapping[str, Any] = {}
    thread: Any = {"configurable": {"thread_id": "one"}}
    with logged() as log:
        async with AsyncSqliteSaver.from_conn_string(str(file)) as saver:
            try:
                given = ResearchSettings(model_timeout=5, subtask_timeout=8, **base, **settings)
                places["settings"] = f"{given!r} {given}"
                graph = create_research_graph(
                    model, tools, search=search or Documents(), reader=reader, settings=given,
                    checkpointer=saver,
                )  # fmt: skip
                modes: Any = ["custom", "updates", "values", "messages", "tasks"]
                async for event in graph.astream(
                    QUESTION, thread, stream_mode=modes, subgraphs=True
                ):
                    events.append(repr(event))
            except Exception as error:  # noqa: BLE001 - what an embedder would print
                places["traceback"] = "".join(traceback.format_exception(error))
            with suppress(UnboundLocalError):
                values = (await graph.aget_state(thread)).values
    places |= {
        "events": "\n".join(events),
        "logs": log.getvalue(),
        "checkpoints": "".join(
            each.read_bytes().decode("latin-1") for each in world.folder.glob("state.sqlite*")
        ),
        "requests": json.dumps([world.server.requests], ensure_ascii=False),
        "failures": repr(values.get("failures")) + json.dumps(str(values.get("failures"))),
        "report": str(values.get("report")) + str(values.get("messages")),
    }
    if (trace := values.get("trace")) is not None:
        write_traces(world.folder / "trace.jsonl", [trace])
        places["trace"] = (world.folder / "trace.jsonl").read_text("utf-8")
        places["page"] = traces_page([trace])
    assert "traceback" in places or trace is not None
    return places


def commanded(world: World, *arguments: str, **env: str) -> Places:
    """`oresearch` in a process of its own: what it prints and writes."""
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    done = subprocess.run(
        [sys.executable, "-c", "from oresearch_graph.cli import main; main()", *arguments],
        cwd=world.folder, env=kept | {"ORESEARCH_HOME": str(world.folder / "home")} | env,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    places = {"stdout": done.stdout, "stderr": done.stderr}
    for path in world.folder.rglob("*"):
        if path.is_file():
            places[path.name] = path.read_bytes().decode("utf-8", "replace")
    assert done.returncode or places["stdout"]
    return places


Run = Callable[[World], Awaitable[Places]]


class Case(NamedTuple):
    name: str
    run: Run
    secrets: tuple[str, ...] = (KEY,)
    told: str = ""
    """What must be readable all the same, in some place."""


def keyed(world: World) -> None:
    world.monkeypatch.setenv("OPENAI_API_KEY", KEY)


def echo(status: int, body: object, *, first: bool = False) -> Run:
    """The provider's error holds the key that it was sent."""

    async def run(world: World) -> Places:
        keyed(world)
        world.fails(status, body, first=first)
        return await places_of(world)

    return run


def echoed_by_documents(**more: str) -> Run:
    """What strangers wrote holds our key."""

    async def run(world: World) -> Places:
        keyed(world)
        return await places_of(world, search=Documents(**more))

    return run


async def parameter_key(world: World) -> Places:
    world.fails(401, {"error": {"message": f"no such key: {KEY}"}})
    parameters = {role: {"api_key": KEY} for role in ("planner", "researcher", "summarizer")}
    return await places_of(world, parameters=parameters)


async def parameter_headers(world: World) -> Places:
    world.fails(403, {"error": {"message": f"header {KEY} may not"}})
    parameters = {"researcher": {"default_headers": {"X-Api-Key": KEY}}}
    return await places_of(world, parameters=parameters)


async def given_model(world: World) -> Places:
    world.fails(401, {"error": {"message": f"no such key: {KEY}"}})
    model = ChatOpenAI(
        model="fake", base_url=world.server.base_url, api_key=SecretStr(KEY), max_retries=0
    )
    return await places_of(world, model=model)


def with_userinfo(address: str, user: str = "anna") -> str:
    return address.replace("http://", f"http://{user}:{IN_URL}@")


async def base_url_userinfo(world: World) -> Places:
    world.fails(500, {"error": {"message": f"proxy says no to {PASSWORD}"}})
    return await places_of(world, own_server=False, base_url=with_userinfo(world.server.base_url))


async def base_url_userinfo_works(world: World) -> Places:
    return await places_of(world, own_server=False, base_url=with_userinfo(world.server.base_url))


async def base_url_unreachable(world: World) -> Places:
    return await places_of(world, own_server=False, base_url=f"http://anna:{IN_URL}@127.0.0.1:9/v1")


async def name_with_address(world: World) -> Places:
    name = f"fake@{with_userinfo(world.server.base_url)}"
    return await places_of(
        world, own_server=False, model=None, researcher_models=(name,), planner_model=name,
        summarizer_model=name,
    )  # fmt: skip


async def name_with_address_fails(world: World) -> Places:
    world.fails(404, {"error": "no model"})
    return await name_with_address(world)


async def base_url_malformed(world: World) -> Places:
    return await places_of(
        world, own_server=False, base_url=f"htp://anna:{IN_URL}@127.0.0.1:99999/v1"
    )


def searxng(answer: Answer | None) -> Run:
    async def run(world: World) -> Places:
        if answer is not None:
            world.site.pages["/search"] = lambda _: answer
        address = with_userinfo(world.site.url)
        places = await places_of(world, search=f"searxng:{address}")
        sent = f"anna:{PASSWORD}".encode()
        assert world.site.asked[0].headers["Authorization"] == (
            f"Basic {base64.b64encode(sent).decode()}"
        )
        return places

    return run


async def searxng_unreachable(world: World) -> Places:
    return await places_of(world, search=f"searxng:http://anna:{IN_URL}@127.0.0.1:9")


async def searxng_malformed(world: World) -> Places:
    return await places_of(world, search=f"searxng:http:/anna:{IN_URL}@host")


def tavily(status: int, body: object) -> Run:
    async def run(world: World) -> Places:
        world.monkeypatch.setenv("TAVILY_API_KEY", KEY)
        world.monkeypatch.setenv("TAVILY_BASE_URL", world.site.url)
        data = json.dumps(body).encode()
        world.site.pages["/search"] = lambda _: Answer(data, status, "application/json")
        return await places_of(world, search="tavily")

    return run


async def tavily_of_an_embedder(world: World) -> Places:
    data = json.dumps({"detail": {"error": f"key {KEY} is over its limit"}}).encode()
    for path in ("/search", "/extract"):
        world.site.pages[path] = lambda _: Answer(data, 432, "application/json")
    search = TavilySearch(KEY, base_url=world.site.url)
    return await places_of(world, search=search, reader=TavilyReader(KEY, base_url=world.site.url))


class KeyedRetriever(BaseRetriever):
    """Such as a vendor's: its key in a field, and in what it raises."""

    service_api_key: SecretStr

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun
    ) -> list[Document]:
        raise ValueError(f"GET https://search.example/?q={query}&k={KEY}: 401\nmore " + "x" * 3_000)


async def retriever(world: World) -> Places:
    return await places_of(world, search=KeyedRetriever(service_api_key=SecretStr(KEY)))


def tool_raising(error: type[Exception], text: str) -> Any:
    async def gauge(place: str) -> str:
        """The level of the water at a place."""
        raise error(text)

    return StructuredTool.from_function(coroutine=gauge, metadata={"api_key": KEY})


async def search_tool(world: World) -> Places:
    return await places_of(world, search=tool_raising(RuntimeError, f"token was {KEY}!"))


class Gauging(ResearchBrain):
    """Calls the embedder's tool once, then goes on."""

    def _next_call(self, talk: Any) -> tuple[str, str]:
        if talk.calls == 0:
            return "gauge", json.dumps({"place": "Thun"})
        return super()._next_call(talk)


def extra_tool(error: type[Exception], text: str) -> Run:
    async def run(world: World) -> Places:
        world.server.brain = Gauging(SUBTASKS)
        return await places_of(world, tools=[tool_raising(error, text)])

    return run


async def tool_answers_with_key(world: World) -> Places:
    keyed(world)
    world.server.brain = Gauging(SUBTASKS)

    async def gauge(place: str) -> dict[str, str]:
        """The level of the water at a place."""
        return {"level": "3 m", "called_with": KEY}

    return await places_of(world, tools=[StructuredTool.from_function(coroutine=gauge)])


async def recorder(world: World) -> Places:
    keyed(world)
    documents = Documents(f"{FLUME} We were called with {KEY}.")
    file = world.folder / "record.jsonl"
    recording = Recorder(documents, documents, file)
    places = await places_of(world, search=recording, reader=recording)
    return places | {"record": file.read_text("utf-8")}


async def mcp_server_dies(world: World) -> Places:
    code = f"import sys; sys.exit('no access with {KEY}')"
    broken = {"transport": "stdio", "command": sys.executable, "args": ["-c", code],
              "env": {"DOCS_API_KEY": KEY}}  # fmt: skip
    with logged() as log:
        try:
            await mcp_tools({"docs": broken}, seconds=20)
        except Exception as error:  # noqa: BLE001 - what an embedder would print
            return {"traceback": "".join(traceback.format_exception(error)), "l": log.getvalue()}
    raise AssertionError("it cannot be used")


async def mcp_in_clear(world: World) -> Places:
    connection = {"transport": "streamable_http", "url": "http://docs.example/mcp",
                  "headers": {"Authorization": f"Bearer {KEY}"}}  # fmt: skip
    try:
        await mcp_tools({"docs": connection}, seconds=5)
    except Exception as error:  # noqa: BLE001 - what an embedder would print
        return {"traceback": "".join(traceback.format_exception(error))}
    raise AssertionError("the key would have been sent in clear")


def settings_refused(**given: Any) -> Run:
    async def run(world: World) -> Places:
        graph: Any = create_research_graph()
        try:
            await graph.ainvoke(QUESTION, context=given)
        except Exception as error:  # noqa: BLE001 - what an embedder would print
            return {"traceback": "".join(traceback.format_exception(error))}
        raise AssertionError("such settings cannot be")

    return run


def environment_refused(name: str, value: str) -> Run:
    async def run(world: World) -> Places:
        world.monkeypatch.setenv(name, value)
        try:
            settings = resolve_settings(ResearchSettings(model="fake", search="tavily"))
            create_research_graph("openai:gpt-5-mini", settings=settings)
            graph = create_research_graph("openai:gpt-5-mini", search=Documents())
            await graph.ainvoke(QUESTION)
        except Exception as error:  # noqa: BLE001 - what an embedder would print
            return {"traceback": "".join(traceback.format_exception(error))}
        raise AssertionError("such a key cannot be sent")

    return run


def in_clear(**settings: Any) -> Run:
    """A key that would cross a network unencrypted: refused before any connection."""

    async def run(world: World) -> Places:
        keyed(world)
        world.monkeypatch.setenv("TAVILY_API_KEY", KEY)
        world.monkeypatch.setenv("TAVILY_BASE_URL", "http://search.example")
        model = settings.get("model")
        places = await places_of(
            world, own_server=False, model=model, search=settings.get("search"),
            **{k: v for k, v in settings.items() if k not in ("model", "search")},
        )  # fmt: skip
        assert "allow_plain_http" in places["traceback"]
        return places

    return run


async def judge(world: World) -> Places:
    from oresearch_graph.model_judge import ModelJudge

    keyed(world)
    world.fails(401, {"error": {"message": f"{KEY} is no key", "code": KEY}}, first=True)
    asked = ModelJudge("fake", base_url=with_userinfo(world.server.base_url), tries=1)
    try:
        await judged(asked)
    except Exception as error:  # noqa: BLE001 - what an embedder would print
        return {"traceback": "".join(traceback.format_exception(error)), "name": asked.name}
    finally:
        await asked.aclose()
    raise AssertionError("nobody can judge")


async def key_with_line_end(world: World) -> Places:
    world.monkeypatch.setenv("OPENAI_API_KEY", f'"{KEY}"\r\n')
    return await places_of(world)


def command(*arguments: str, fails: bool = True, **env: str) -> Run:
    async def run(world: World) -> Places:
        docs = world.folder / "docs"
        docs.mkdir()
        (docs / "flume.md").write_text(FLUME)
        if fails:
            world.fails(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
        address = world.server.base_url
        places = {"{server}": address, "fake@{userinfo}": f"fake@{with_userinfo(address)}"}
        told = [places.get(each, each) for each in arguments]
        return commanded(world, "run", "What is a flume?", "--corpus", "docs", "--trace",
                         "t.jsonl", "--out", "r.md", *told, **env)  # fmt: skip

    return run


BASIC = base64.b64encode(f"anna:{KEY}".encode()).decode()
CASES = [
    Case("a 401 repeats the key", echo(401, {"error": {"message": f"Wrong {KEY}"}}), told="401"),
    Case("so does a 500, tried again", echo(500, {"error": {"message": f"Wrong key {KEY}"}})),
    Case("so does a 429", echo(429, {"error": f"{KEY} is over its quota"})),
    Case("so does a 400 with a list", echo(400, {"errors": [{"seen": KEY}]})),
    Case("to everybody", echo(401, {"error": {"message": KEY}}, first=True)),
    Case("in its headers", echo(403, {"headers": {"Authorization": f"Bearer {KEY}"}})),
    Case("in an address", echo(404, {"error": f"/v1?k={quote(KEY, safe='')}&z=1"})),
    Case("in HTML", echo(502, {"error": f"<b>{html.escape(KEY)}</b>"})),
    Case("in base64", echo(401, {"error": f"Proxy-Authorization was Basic {BASIC}"})),
    Case("broken off", echo(401, {"error": f"no key begins with {KEY[:14]}..., you know"})),
    Case("behind 30,000 letters", echo(401, {"error": "x" * 30_000 + KEY})),
    Case("where it is cut", echo(401, {"error": "x" * 230 + KEY + "y" * 500})),
    Case("a key of somebody else", echo(401, {"error": f"{SHAPED} of your org"}), (SHAPED,)),
    Case("a key in the parameters", parameter_key),
    Case("headers in the parameters", parameter_headers),
    Case("the key of a given model", given_model),
    Case("userinfo of a server that fails", base_url_userinfo, (PASSWORD,), told="HTTP 500"),
    Case("userinfo of a server that works", base_url_userinfo_works, (PASSWORD,)),
    Case("userinfo of a server that is away", base_url_unreachable, (PASSWORD,), told="127.0.0.1"),
    Case("userinfo in a model's name", name_with_address, (PASSWORD,)),
    Case("and its server fails", name_with_address_fails, (PASSWORD,)),
    Case("userinfo of what is no address", base_url_malformed, (PASSWORD,)),
    Case("SearXNG refuses JSON", searxng(Answer(b"no", 403)), (PASSWORD,), told="formats"),
    Case("SearXNG is out of order", searxng(Answer(b"no", 500)), (PASSWORD,), told="HTTP status"),
    Case("SearXNG wants another password", searxng(Answer(b"no", 401)), (PASSWORD,)),
    Case("what answers is no SearXNG", searxng(Answer(b"<html>")), (PASSWORD,)),
    Case("SearXNG sends elsewhere", searxng(Answer(b"", 302, headers={"Location": "/x"})),
         (PASSWORD,)),
    Case("SearXNG is away", searxng_unreachable, (PASSWORD,)),
    Case("SearXNG's address is wrong", searxng_malformed, (PASSWORD,)),
    Case("Tavily refuses the request", tavily(400, {"detail": {"error": f"{KEY} asks oddly"}})),
    Case("Tavily refuses the plan", tavily(403, {"detail": {"error": f"{KEY} may not"}})),
    Case("Tavily refuses the key", tavily(401, {"detail": {"error": f"{KEY} is no key"}})),
    Case("Tavily is out of order", tavily(500, {"detail": f"{KEY} broke it"})),
    Case("Tavily finds the key", tavily(200, {"results": [
        {"url": f"https://e.org/?k={KEY}", "title": KEY, "content": f"{FLUME} {KEY}"}]})),
    Case("the key of an embedder's Tavily", tavily_of_an_embedder),
    Case("a retriever raises", retriever),
    Case("a search tool raises", search_tool),
    Case("an extra tool raises", extra_tool(ValueError, f"POST ?api_key={SHAPED} {KEY}"),
         (KEY, SHAPED)),
    Case("an extra tool is broken", extra_tool(ZeroDivisionError, f"with {KEY}")),
    Case("an extra tool names an address",
         extra_tool(OSError, f"postgresql://anna:{IN_URL}@db/x is down"), (PASSWORD, IN_URL)),
    Case("an extra tool answers with the key", tool_answers_with_key),
    Case("a page repeats the key", echoed_by_documents(text=f"{FLUME} You sent {KEY}.")),
    Case("a page repeats it encoded",
         echoed_by_documents(text=f"{FLUME} {quote(KEY, safe='')} {json.dumps(KEY)} {BASIC}")),
    Case("a title and an address repeat it",
         echoed_by_documents(title=f"Hello {KEY}", url=f"https://e.org/?k={quote(KEY, safe='')}")),
    Case("a page's fault repeats it", echoed_by_documents(fault=f"refused: {KEY}")),
    Case("a record of the tools", recorder),
    Case("an MCP server dies", mcp_server_dies),
    Case("an MCP key in clear", mcp_in_clear, told="https"),
    Case("a role that is none", settings_refused(parameters={"writer": {"api_key": KEY}})),
    Case("parameters that are none", settings_refused(parameters={"researcher": KEY})),
    Case("a search that is none", settings_refused(search=f"searx:http://a:{IN_URL}@h"),
         (PASSWORD, IN_URL)),
    Case("a SearXNG of no scheme", settings_refused(search=f"searxng:a:{IN_URL}@h/x"),
         (PASSWORD, IN_URL)),
    Case("broken JSON in a variable", environment_refused("ORESEARCH_PARAMETERS", f'{{"a": {KEY}')),
    Case("a two-line key", environment_refused("OPENAI_API_KEY", f"{KEY}\n{KEY}"), told="_API_"),
    Case("a key of odd letters", environment_refused("OPENAI_API_KEY", f"{KEY}é"), told="_API_"),
    Case("a key that ends in a line end", key_with_line_end),
    Case("plain http: base_url", in_clear(model="fake", base_url="http://models.example/v1")),
    Case("plain http: a model's name", in_clear(researcher_models=("f@http://models.example/v1",),
                                                planner_model="f@http://models.example/v1",
                                                summarizer_model="f@http://models.example/v1")),
    Case("plain http: another provider",
         in_clear(model="openai:fake", base_url="http://models.example/v1")),
    Case("plain http: Tavily", in_clear(search="tavily")),
    Case("plain http: SearXNG", in_clear(search=f"searxng:http://anna:{IN_URL}@find.example"),
         (PASSWORD, IN_URL)),
    Case("a judge's server repeats the key", judge, (KEY, PASSWORD)),
    Case("the command, refused", command("--model", "fake", "--base-url", "{server}",
                                         OPENAI_API_KEY=KEY)),
    Case("the command, as JSON", command("--model", "fake", "--base-url", "{server}", "--json",
                                         OPENAI_API_KEY=KEY)),
    Case("the command, quiet", command("--model", "fake@{userinfo}", "--quiet",
                                       OPENAI_API_KEY=KEY), (KEY, PASSWORD, IN_URL)),
    Case("the command and a SearXNG", command("--search", f"searxng:http://a:{IN_URL}@127.0.0.1:9"),
         (PASSWORD, IN_URL), told="127.0.0.1:9"),
    Case("the command and parameters",
         command("--set", f'parameters={{"x": {{"api_key": "{KEY}"}}}}')),
    Case("the command and a wrong pair", command("--set", f"api_key={SHAPED}"), (SHAPED,)),
    Case("the command and a wrong key", command("--model", "openai:gpt-5-mini",
                                                OPENAI_API_KEY=f"{KEY} {KEY}"), told="OPENAI_API"),
]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_BASE_URL")) or name.startswith("ORESEARCH_"):
            monkeypatch.delenv(name)
    with OpenAIServer(ResearchBrain(SUBTASKS), Habits()) as server, running_site() as site:
        yield World(tmp_path, server, site, monkeypatch)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_no_secret_comes_out(case: Case, world: World) -> None:
    places = await case.run(world)
    assert leaks(places, case.secrets) == []
    assert any(case.told in text for text in places.values())
    assert all("[redacted][redacted]" not in text for text in places.values())
