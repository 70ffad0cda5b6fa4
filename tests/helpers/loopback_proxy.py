"""Real proxies on 127.0.0.1, for tests only: HTTP (CONNECT and absolute addresses) and SOCKS5.

A proxy knows the names that a test gives it and connects them to loopback ports, so what comes
through it was asked by name. `asked` lists host and port of each request."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final
from urllib.parse import urlsplit

import pytest

Target = tuple[str, int]
_END: Final = b"\r\n\r\n"


class Proxy:
    """`names` maps a host to the loopback port that stands for it."""

    def __init__(self, names: dict[str, int], credentials: str = "") -> None:
        """`credentials`: USER:PASSWORD that must be given."""
        self.names, self.credentials = names, credentials
        self.asked: list[Target] = []
        self.port = 0
        self.refuses: bytes | None = None
        """An HTTP status line (or a SOCKS reply code) for every request."""

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    def open(self, host: str, port: int) -> socket.socket | None:
        self.asked.append((host, port))
        if self.refuses or host not in self.names:
            return None
        return socket.create_connection(("127.0.0.1", self.names[host]), timeout=10)

    def http(self, client: socket.socket) -> None:
        head = _head(client)
        if not head.endswith(_END):
            client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, version = first.split(" ")
        wanted = "Basic " + base64.b64encode(self.credentials.encode()).decode()
        headers = {
            name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
        }
        if self.credentials and headers.get("proxy-authorization") != wanted:
            body = b"Content-Length: 0\r\nProxy-Authenticate: Basic realm=x\r\n\r\n"
            client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n" + body)
            return
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            server = self.open(host.strip("[]"), int(port))
        else:
            parts = urlsplit(target)
            host, port = parts.hostname or "", str(parts.port or 80)
            server = self.open(host, int(port))
        if server is None:
            status = self.refuses or b"502 Bad Gateway"
            client.sendall(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\n\r\n")
            return
        if method == "CONNECT":
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            path = parts._replace(scheme="", netloc="").geturl() or "/"
            kept = [x for x in lines if not x.lower().startswith(("proxy-", "connection"))]
            kept.insert(0, "Connection: close")
            server.sendall("\r\n".join([f"{method} {path} {version}", *kept]).encode("latin-1"))
        pumped(client, server)

    def socks(self, client: socket.socket) -> None:
        version, count = _exactly(client, 2)
        if version != 5:
            return
        methods = _exactly(client, count)
        wanted = 2 if self.credentials else 0
        if wanted not in methods:
            client.sendall(b"\x05\xff")
            return
        client.sendall(bytes((5, wanted)))
        if wanted:
            _, length = _exactly(client, 2)
            user = _exactly(client, length)
            password = _exactly(client, _exactly(client, 1)[0])
            good = user + b":" + password == self.credentials.encode()
            client.sendall(b"\x01\x00" if good else b"\x01\x01")
            if not good:
                return
        _, _, _, kind = _exactly(client, 4)
        host = (
            _exactly(client, _exactly(client, 1)[0]).decode()
            if kind == 3
            else socket.inet_ntop(
                socket.AF_INET if kind == 1 else socket.AF_INET6,
                _exactly(client, 4 if kind == 1 else 16),
            )
        )
        server = self.open(host, int.from_bytes(_exactly(client, 2), "big"))
        code = b"\x00" if server else (self.refuses or b"\x04")
        client.sendall(b"\x05" + code + b"\x00\x01\x7f\x00\x00\x01\x00\x00")
        if server is not None:
            pumped(client, server)


@contextmanager
def running_proxy(
    names: dict[str, int],
    credentials: str = "",
    *,
    socks: bool = False,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Proxy]:
    """An HTTP proxy, or a SOCKS5 one; `tls`: it speaks TLS to its clients."""
    proxy = Proxy(names, credentials)
    with listening(proxy.socks if socks else proxy.http, tls) as port:
        proxy.port = port
        yield proxy


@contextmanager
def listening(
    serve: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A loopback port where `serve` has each connection, in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))

    def one(client: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), contextlib.ExitStack() as stack:
            stack.callback(client.close)
            client.settimeout(5)
            if tls is not None:
                client = tls.wrap_socket(client, server_side=True)
                stack.callback(client.close)
            serve(client)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(client,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _head(client: socket.socket) -> bytes:
    """Up to the empty line; what begins like no request is left at once."""
    head = b""
    while not head.endswith(_END) and head[:1].isalpha() | (not head):
        byte = client.recv(1)
        if not byte:
            break
        head += byte
    return head


def _exactly(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = client.recv(size - len(data))
        if not piece:
            raise OSError("the client left")
        data += piece
    return data


def pumped(client: socket.socket, server: socket.socket) -> None:
    """Both directions until both sides are done; in one thread, for TLS is not read and written in
    two at once before Python 3.13."""
    sinks = {client: server, server: client}
    with contextlib.suppress(OSError):
        while sinks:
            held = [s for s in sinks if isinstance(s, ssl.SSLSocket) and s.pending()]
            ready = held or select.select([*sinks], [], [], 10)[0]
            if not ready:
                break
            for source in ready:
                if piece := source.recv(65_536):
                    sinks[source].sendall(piece)
                else:
                    with contextlib.suppress(OSError):
                        sinks[source].shutdown(socket.SHUT_WR)
                    del sinks[source]
    server.close()


VARIABLES: Final = (
    "all_proxy", "http_proxy", "https_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir",
    "requests_ca_bundle", "curl_ca_bundle",
)  # fmt: skip


def without_network_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's own proxies and certificates counts in a test."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
