"""A real HTTP server on 127.0.0.1 whose pages are Python functions. For tests only."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: dict[str, str] = {}  # noqa: RUF012 (never changed)


class Asked(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Site:
    """`pages` maps a path (without its query) to an answer; `asked` lists what came."""

    def __init__(self) -> None:
        self.pages: dict[str, Callable[[Asked], Answer]] = {}
        self.asked: list[Asked] = []
        self.url = ""

    def add(self, path: str, body: str | bytes = "", **more: object) -> str:
        data = body.encode() if isinstance(body, str) else body
        answer = Answer(data)._replace(**more)  # type: ignore[arg-type]
        self.pages[path] = lambda _: answer
        return self.url + path

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]


@contextmanager
def running_site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length", 0))
            asked = Asked(self.command, self.path, dict(self.headers), self.rfile.read(length))
            site.asked.append(asked)
            page = site.pages.get(self.path.partition("?")[0])
            answer = page(asked) if page else Answer(b"nothing here", 404)
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.content_type)
            self.send_header("Content-Length", str(len(answer.body)))
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            try:
                self.wfile.write(b"" if self.command == "HEAD" else answer.body)
            except ConnectionError:
                self.close_connection = True

        do_GET = do_HEAD = do_POST = answer  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (same)
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
