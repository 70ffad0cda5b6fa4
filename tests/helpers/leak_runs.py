"""The runs that secrets have come out of, each one a way in which such systems leaked."""

from __future__ import annotations

import base64
import json
import sys
import traceback
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.tools import StructuredTool
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from oresearch_graph import ResearchSettings, create_research_graph
from oresearch_graph.environment import resolve_settings
from oresearch_graph.tools.providers.mcp import mcp_tools
from oresearch_graph.tools.providers.tavily import TavilyReader, TavilySearch
from oresearch_graph.tools.recorded import Recorder
from tests.helpers.leak_places import (
    FLUME,
    IN_URL,
    KEY,
    PASSWORD,
    QUESTION,
    SUBTASKS,
    Documents,
    Places,
    Run,
    World,
    commanded,
    logged,
    places_of,
)
from tests.helpers.loopback_site import Answer
from tests.helpers.research_brain import ResearchBrain
from tests.helpers.verdicts import judged


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
    from oresearch_graph.judging.model_judge import ModelJudge

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
