"""A server on 127.0.0.1 that answers as no honest one would, byte by byte."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
import zlib
from collections.abc import Mapping
from functools import cache
from types import TracebackType
from typing import Final, Self

from tests.graph.test_extract import ARTICLE


def _answer(head: bytes, body: bytes = b"", kind: bytes = b"text/html") -> bytes:
    return b"HTTP/1.1 %s\r\nContent-Type: %s\r\nConnection: close\r\n\r\n%s" % (head, kind, body)


def _packed(coding: bytes, body: bytes) -> bytes:
    return _answer(b"200 OK\r\nContent-Encoding: " + coding, body)


_PAGE: Final = b"<p>Tides rise twice each day."
_LOCATIONS: Final = (
    b"//]", b"http://[x", b"file:///etc/passwd", b"file:secret.md", b"javascript:alert(1)",
    b"data:text/html,x", b"http://169.254.169.254/", b"//", b"", b"http://x:99999/", b"\xff\xfe/",
    b"http://" + b"a" * 5_000, b"/redirect/0", b"http://user:pw@[::1/", b"gopher://x/",
    b"http://a b/", b"/\xe2\x80\xae", b"///", b"?" * 3_000, b"http:",
)  # fmt: skip
_CHARSETS: Final = (b"undefined", b"idna", b"unicode_escape", b"utf-7", b"x" * 3_000, b"'", b"=;=")
_ANSWERS: Final[Mapping[str, bytes]] = {
    "/good": _answer(b"200 OK", ARTICLE.encode()),
    "/empty": b"",
    "/noise": bytes(range(256)) * 100,
    "/half-head": b"HTTP/1.1 200 OK\r\nContent-Ty",
    "/no-type": b"HTTP/1.1 200 OK\r\n\r\n" + _PAGE,
    "/old": b"HTTP/0.9 200 OK\r\n\r\n" + _PAGE,
    "/long-header": _answer(b"200 OK\r\nX: " + b"x" * 90_000, _PAGE),
    "/many-headers": _answer(b"200 OK\r\n" + b"\r\n".join(b"X%d: 1" % i for i in range(20_000))),
    "/long-type": _answer(b"200 OK", _PAGE, b"text/html" + b"; a=" * 22_000),
    "/quoted-type": _answer(b"200 OK", _PAGE, b'text/html; charset="' + b"\\" * 45_000),
    "/odd-type": _answer(b"200 OK", _PAGE, b"\xff/\xfe; charset=\xff"),
    "/short": b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nshort",
    "/long": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n" + _PAGE * 100,
    "/negative": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + _PAGE,
    "/chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffff\r\nx",
    "/no-chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nx",
    "/no-gzip": _packed(b"gzip", b"this is no gzip"),
    "/half-gzip": _packed(b"gzip", gzip.compress(_PAGE * 1_000)[:60]),
    "/brotli": _packed(b"br", b"\x8b"),
    "/many-codings": _packed(b"gzip, gzip, gzip", b"x"),
    "/204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/100": b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    "/500": _answer(b"500 No", _PAGE),
    "/status": _answer(b"999999 Odd", _PAGE),
    "/switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    "/nameless": _answer(b"302 Found"),
    **{f"/redirect/{i}": _answer(b"302 Found\r\nLocation: " + location)
       for i, location in enumerate(_LOCATIONS)},
    **{f"/charset/{i}": _answer(b"200 OK", _PAGE, b"text/html; charset=" + charset)
       for i, charset in enumerate(_CHARSETS)},
}  # fmt: skip
_BOMBS: Final = ("/gzip-bomb", "/twice", "/deflate-bomb")
"""Packed when one is asked for: it takes a third of a second."""
_ENDLESS: Final = {"/drip": b"", "/endless": b"<p>" * 10_000}
"""Answered without an end: nothing more, or more of the same."""
_NO_ADDRESSES: Final = (
    "file:secret.md", "http://[x", "http://", "//x", "http://a b/", "http://x:99999/", "https://:80",
    "http://" + "a" * 300 + ".org/", "http://xn--/", "http://\u202eexample.org/", "javascript:1",
    "http://127.0.0.1:1/", "document:missing", "python:missing", "http://%zz/", "http://ab\u0000c/",
)  # fmt: skip


@cache
def _bomb(path: str) -> bytes:
    packed = gzip.compress(bytes(60_000_000))
    match path:
        case "/gzip-bomb":
            return _packed(b"gzip", packed)
        case "/twice":
            return _packed(b"gzip", gzip.compress(packed))
        case _:
            return _packed(b"deflate", zlib.compress(bytes(60_000_000)))


def _answer_at(path: str) -> bytes:
    if path in _BOMBS:
        return _bomb(path)
    return _ANSWERS.get(path, b"HTTP/1.1 404 Not Found\r\n\r\n")


def hostile_addresses(server: str) -> list[str]:
    """Addresses at the server, and ones that are none."""
    there = [*_ANSWERS, *_BOMBS, *_ENDLESS, "/missing\udcff", f"/{'x' * 60_000}"]
    return [*(f"{server}{path}" for path in there if path != "/good"), *_NO_ADDRESSES]


class HostileServer:
    """Answers each connection once. Use as a context manager."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._ended = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        place: TracebackType | None,
    ) -> None:  # fmt: skip
        self._ended.set()
        self._listening.close()

    def _serve(self) -> None:
        while not self._ended.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5.0)
            asked = b""
            while b"\r\n\r\n" not in asked and (piece := connection.recv(65_536)):
                asked += piece
            path = asked.split(b" ", 2)[1].decode("latin-1") if asked.count(b" ") > 1 else "/"
            if path in _ENDLESS:
                self._never_end(connection, _ENDLESS[path])
            else:
                connection.sendall(_answer_at(path))

    def _never_end(self, connection: socket.socket, piece: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n")
        until = time.monotonic() + 10.0
        while time.monotonic() < until and not self._ended.wait(0.05):
            connection.sendall(piece or b"x")
