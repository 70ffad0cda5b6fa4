"""The documents of a training run: which ones, opened once in a process or served by the index
service, whose client is here: a search backend and page reader over HTTP."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Self, TypeVar
from weakref import WeakKeyDictionary

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hits, Page, PageReader, SearchBackend
from oresearch_graph.tools.choose import Documents, choose_backend
from oresearch_graph.tools.corpus.local import IndexedCorpus, LocalCorpus
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from oresearch_graph.tools.providers.service_calls import Busy, retry_after, with_retries
from oresearch_graph.tools.recorded import Replay
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules
from rl.settings import RLSettings, ToolSettings
from rl.tools.index_service import Health, PagesRequest, SearchRequest

T = TypeVar("T")
_CONNECTIONS: Final = 8
"""Of one worker. httpx looks through all of them, for each of them, at every request: with 32 a
request cost 3.9 ms of CPU, with 8 it costs 1.1."""
_HITS = TypeAdapter(list[Hits])
_PAGES = TypeAdapter(list[Page])


class _Connections(NamedTuple):
    """One event loop's connections, and a place in line for each: the pool of httpx looks through
    all requests that wait in it for every one that ends."""

    http: httpx.AsyncClient
    slots: asyncio.Semaphore

    @classmethod
    def open(cls, seconds: float) -> Self:
        limits = httpx.Limits(
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=60.0,
        )
        http = httpx.AsyncClient(timeout=seconds, limits=limits, trust_env=False)
        return cls(http, asyncio.Semaphore(_CONNECTIONS))


class IndexClient:
    """Searches and reads at an index service. `address`, or a function that finds it: asked again
    after a failure to connect, for a service that was started anew elsewhere.

    `seconds` for one request. A service that asks to wait is waited for, a little; everything
    else that goes wrong is a ToolError.
    """

    name = "index"

    def __init__(self, address: str | Callable[[], str], *, seconds: float = 12.0) -> None:
        self._source = address
        self._address: str | None = None
        self._seconds = seconds
        self._locating = threading.Lock()
        self._of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, _Connections] = (
            WeakKeyDictionary()
        )

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        body = await self._post("search", SearchRequest(queries=list(queries), k=k))
        return _read(_HITS, body)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:  # noqa: ARG002 (seam)
        return _read(_PAGES, await self._post("pages", PagesRequest(urls=list(urls))))

    def check(self) -> Health:
        """What the service says of itself. Blocks. Raises ToolError when it does not answer."""
        address = self._locate()
        try:
            answer = httpx.get(f"{address}/health", timeout=self._seconds, trust_env=False)
            return Health.model_validate_json(answer.raise_for_status().content)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._gone(error) from error
        except ValidationError as error:
            raise _stranger() from error

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        connections = self._of_loop.pop(asyncio.get_running_loop(), None)
        if connections is not None:
            await connections.http.aclose()

    async def _post(self, path: str, request: BaseModel) -> bytes:
        content = request.model_dump_json()
        address = self._address or await asyncio.to_thread(self._locate)
        connections = self._connections()

        async def once() -> bytes:
            try:
                async with connections.slots:
                    answer = await connections.http.post(f"{address}/{path}", content=content)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                raise self._gone(error) from error
            if answer.status_code == 503:
                raise Busy("it has too much to do", retry_after(answer))
            if answer.status_code != 200:
                raise ToolError(
                    f"the index service at {address} answered {answer.status_code} "
                    f"({answer.text[:200]}): see its log"
                )
            return answer.content

        try:
            return await with_retries(once)
        except Busy as error:
            raise ToolError(
                f"the index service at {address} is overloaded ({error}): give it more --threads "
                "or lower oresearch.tools.concurrency"
            ) from error

    def _locate(self) -> str:
        with self._locating:  # a hundred calls that find it gone look for it once
            if self._address is None:
                address = self._source if isinstance(self._source, str) else self._source()
                self._address = address.rstrip("/")
            return self._address

    def _connections(self) -> _Connections:
        """Of the running loop: connections belong to one."""
        loop = asyncio.get_running_loop()
        if loop not in self._of_loop:
            self._of_loop[loop] = _Connections.open(self._seconds)
        return self._of_loop[loop]

    def _gone(self, error: Exception) -> ToolError:
        address, self._address = self._address, None
        cause = str(error) or type(error).__name__
        return ToolError(
            f"the index service at {address} does not answer ({cause}): start it (python -m "
            "rl.tools.index_service FOLDER) or correct oresearch.tools.address"
        )


def _read(kind: TypeAdapter[T], body: bytes) -> T:
    try:
        return kind.validate_json(body)
    except ValidationError as error:
        raise _stranger() from error


def _stranger() -> ToolError:
    return ToolError("what answers there is no index service: correct oresearch.tools.address")


_opened: dict[str, Documents] = {}
_opening = threading.Lock()


def open_documents(settings: RLSettings) -> Documents:
    """The documents that the settings name, opened once per process. Blocks while it opens them:
    call it in a thread. Raises ConfigurationError, and ToolError for an unavailable service."""
    tools = settings.tools
    research = settings.research_settings
    key = f"{tools.source} {tools.path} {tools.address} {research.model_dump_json()}"
    with _opening:
        if key not in _opened:
            _opened[key] = _documents(tools, research)
        return _opened[key]


def check_documents(settings: RLSettings) -> None:
    """Raise ConfigurationError or ToolError unless the documents can be had. Starts nothing: of
    a service that training will start, the folder is checked. Blocks."""
    tools = settings.tools
    if tools.source == "service" and tools.address:
        IndexClient(tools.address, seconds=_client_seconds(tools)).check()
    elif tools.source in ("corpus", "service"):
        if str(_path(tools)) != "python":
            LocalCorpus(_path(tools)).check()
    elif tools.source != "python":
        _documents(tools, settings.research_settings)


def _documents(tools: ToolSettings, research: ResearchSettings) -> Documents:
    rules = SourceRules.of(research)
    match tools.source:
        case "live":
            return choose_backend(research)
        case "recorded":  # the source rules held when it was recorded
            replay = Replay(_path(tools), whole=False)
            return replay, replay
        case "service":
            client = _service(tools)
            return _ruled(client, client, rules)
        case "python":
            corpus: IndexedCorpus = PythonCorpus()
        case "corpus":
            # Documents do not change under a run: what a rollout found, its siblings find.
            corpus = LocalCorpus(_path(tools), refresh_seconds=math.inf)
    corpus.update()
    return _ruled(corpus, corpus, rules)


def _service(tools: ToolSettings) -> IndexClient:
    seconds = _client_seconds(tools)
    if tools.address:
        client = IndexClient(tools.address, seconds=seconds)
    else:
        from rl.tools.job_actors import shared_index  # needs Ray

        folder = str(_path(tools))
        client = IndexClient(lambda: shared_index(folder), seconds=seconds)
    client.check()
    return client


def _client_seconds(tools: ToolSettings) -> float:
    """Less than a page's time: an index that is silent is a service's fault, not a page's."""
    return 0.8 * min(tools.timeout, tools.page_timeout)


def _ruled(search: SearchBackend, reader: PageReader, rules: SourceRules) -> Documents:
    if rules.empty:
        return search, reader
    return RuledSearch(search, rules), RuledReader(reader, rules)


def _path(tools: ToolSettings) -> Path:
    if tools.path is None:
        what = "the file of recorded answers" if tools.source == "recorded" else "the folder"
        raise ConfigurationError(
            f"oresearch.tools.source={tools.source} needs {what}: set oresearch.tools.path"
        )
    return tools.path
