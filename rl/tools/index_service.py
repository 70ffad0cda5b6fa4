"""One index for all workers, as an HTTP server: searches and pages of a folder.

    python -m rl.tools.index_service FOLDER --host 127.0.0.1 --port 8765

`FOLDER` may be the word `python`: the embedded corpus. The folder is indexed once, at the start;
what changes in it later is not seen, so that all rollouts of a run find the same. Searches run in
threads; equal ones are answered once and kept, since the rollouts of a group ask alike. With more
than `backlog` searches to do, 503 and Retry-After are answered. There is no key: who reaches the
address may read the documents. Serve them on a network of your own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oresearch_graph.errors import ConfigurationError, OresearchError, ToolError
from oresearch_graph.tools.backend import Hits, Page
from oresearch_graph.tools.corpus.local import IndexedCorpus, LocalCorpus
from oresearch_graph.tools.corpus.python_docs import PythonCorpus
from oresearch_graph.tools.single_flight import SingleFlight

CACHE_BYTES: Final = 256_000_000
BACKLOG: Final = 4_096
"""Distinct searches and pages waiting for a thread: about six seconds of two cores."""
_START_SECONDS: Final = 30.0


class SearchRequest(BaseModel):
    """The body of POST /search."""

    model_config = ConfigDict(extra="forbid")

    queries: list[str]
    k: int = Field(ge=1, le=100)


class PagesRequest(BaseModel):
    """The body of POST /pages."""

    model_config = ConfigDict(extra="forbid")

    urls: list[str]


class Health(BaseModel):
    """The answer of GET /health."""

    corpus: str
    documents: int
    passages: int
    asked: int
    """Queries and pages asked for."""
    made: int
    """Of them, those that the index was searched for."""
    waiting: int
    cpu_seconds: float
    """Of the server's process since its start."""
    memory_mb: float
    """Most that the server's process held."""


class Overloaded(Exception):
    """More distinct answers are being made than the service takes on."""


class AnswerCache:
    """The most recently used answers, up to `size` bytes; at most `backlog` in the making.

    For one event loop. An answer in the making goes on when those who asked have left: the next
    who asks finds it. A failure is told to all who wait and not kept.
    """

    def __init__(self, size: int, backlog: int) -> None:
        self.requests = 0
        self.computed = 0
        """Answers made; the others that were asked for had been made, or were in the making."""
        self._size, self._backlog = size, backlog
        self._bytes = 0
        self._answers: OrderedDict[Hashable, bytes] = OrderedDict()
        self._flights = SingleFlight[bytes](goes_on=True)

    @property
    def waiting(self) -> int:
        """Answers in the making."""
        return len(self._flights)

    async def of(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer of `key`, made by `make` unless it is there. Raises Overloaded, and what
        `make` raises."""
        self.requests += 1
        answer = self._answers.get(key)
        if answer is not None:
            self._answers.move_to_end(key)
            return answer
        if key not in self._flights and len(self._flights) >= self._backlog:
            raise Overloaded
        return await self._flights.of(key, lambda: self._make(key, make))

    async def _make(self, key: Hashable, make: Callable[[], Awaitable[bytes]]) -> bytes:
        answer = await make()
        self.computed += 1
        self._keep(key, answer)
        return answer

    def _keep(self, key: Hashable, answer: bytes) -> None:
        if len(answer) > self._size // 8:
            return  # one such page would push out what is asked for again
        self._answers[key] = answer
        self._bytes += len(answer)
        while self._bytes > self._size:
            _, oldest = self._answers.popitem(last=False)
            self._bytes -= len(oldest)


class IndexService:
    """The answers over one corpus, whose index must be up to date."""

    def __init__(
        self,
        corpus: IndexedCorpus,
        *,
        threads: int | None = None,
        backlog: int = BACKLOG,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        self.corpus = corpus
        self.cache = AnswerCache(cache_bytes, backlog)
        self.documents, self.passages = corpus.index.counts()
        # SQLite searches without the interpreter's lock, so a thread per core keeps all busy.
        self._threads = ThreadPoolExecutor(threads or max(2, os.cpu_count() or 2), "index")

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route("/search", self._search, methods=["POST"]),
                Route("/pages", self._pages, methods=["POST"]),
                Route("/health", self._health),
            ]
        )

    async def _search(self, request: Request) -> Response:
        async def answers() -> list[bytes]:
            body = SearchRequest.model_validate_json(await request.body())
            return await _all(self._hits(query, body.k) for query in body.queries)

        return await _respond(answers)

    async def _pages(self, request: Request) -> Response:
        async def answers() -> list[bytes]:
            body = PagesRequest.model_validate_json(await request.body())
            return await _all(self._page(url) for url in body.urls)

        return await _respond(answers)

    def _hits(self, query: str, k: int) -> Awaitable[bytes]:
        def search() -> bytes:
            hits = tuple(self.corpus.index.search(query, k))
            return Hits(query=query, hits=hits).model_dump_json().encode()

        return self.cache.of((query, k), lambda: self._in_thread(search))

    def _page(self, url: str) -> Awaitable[bytes]:
        def read() -> bytes:
            page = self.corpus.index.page(self.corpus.normal(url))
            fault = "is not in the corpus: open addresses that a search gave"
            answer = page.model_copy(update={"url": url}) if page else Page(url=url, fault=fault)
            return answer.model_dump_json().encode()

        return self.cache.of(url, lambda: self._in_thread(read))

    async def _in_thread(self, work: Callable[[], bytes]) -> bytes:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _health(self, _: Request) -> Response:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        health = Health(
            corpus=self.corpus.name,
            documents=self.documents,
            passages=self.passages,
            asked=self.cache.requests,
            made=self.cache.computed,
            waiting=self.cache.waiting,
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 2),
            memory_mb=round(usage.ru_maxrss / 1024, 1),
        )
        return JSONResponse(health.model_dump())


async def _all(answers: Iterator[Awaitable[bytes]]) -> list[bytes]:
    return await asyncio.gather(*answers)


async def _respond(answers: Callable[[], Awaitable[Sequence[bytes]]]) -> Response:
    """Answers as a JSON list, or the error as {"error": …} with its status."""
    try:
        return Response(b"[" + b",".join(await answers()) + b"]", media_type="application/json")
    except Overloaded:
        headers = {"Retry-After": "1"}
        return JSONResponse({"error": "too many searches wait"}, 503, headers=headers)
    except ValidationError as error:
        wrong = json.loads(error.json(include_url=False, include_context=False))
        return JSONResponse({"error": f"bad request: {wrong}"}, 400)
    except ToolError as error:
        return JSONResponse({"error": str(error)}, 500)


def open_corpus(folder: str | Path) -> IndexedCorpus:
    """The corpus to serve, indexed. Blocks. Raises ConfigurationError for a folder without
    documents."""
    corpus = PythonCorpus() if str(folder) == "python" else LocalCorpus(folder)
    corpus.update()
    return corpus


@contextmanager
def serving(service: IndexService, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """The service in a thread of this process; gives its address. Port 0: any that is free.

    Raises ConfigurationError for an address that cannot be served at.
    """
    listener = _listening(host, port)
    server = uvicorn.Server(
        uvicorn.Config(
            service.app(), log_level="warning", access_log=False, lifespan="off", ws="none",
            timeout_keep_alive=75, timeout_graceful_shutdown=5,
        )
    )  # fmt: skip
    thread = threading.Thread(target=server.run, args=([listener],), name="index-http", daemon=True)
    thread.start()
    end = time.monotonic() + _START_SECONDS
    while not server.started and thread.is_alive() and time.monotonic() < end:
        time.sleep(0.01)
    if not server.started:
        raise ToolError(f"the index service did not start at {host}: see its messages above")
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


def _listening(host: str, port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot serve at {host}:{port} ({error.strerror}): name another --host or --port"
        ) from error
    listener.listen(4_096)
    return listener


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(
        prog="rl.tools.index_service", description="One index for all."
    )
    parser.add_argument("folder", help="the documents, or the word python")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8765)
    parser.add_argument("--threads", type=int, help="searches at one time; default: one per core")
    options = parser.parse_args(arguments)
    try:
        service = IndexService(open_corpus(options.folder), threads=options.threads)
        with serving(service, options.host, options.port) as address:
            facts: dict[str, Any] = {"documents": service.documents, "passages": service.passages}
            sys.stdout.write(f"serving {options.folder} at {address} {json.dumps(facts)}\n")
            sys.stdout.flush()
            threading.Event().wait()
    except OresearchError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
