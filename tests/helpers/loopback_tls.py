"""Loopback ports that speak TLS in front of a plain one, with certificates made for the test."""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import trustme

from tests.helpers.loopback_proxy import listening, pumped


class Authority:
    """Signs certificates; nobody trusts it but those who are told to."""

    def __init__(self) -> None:
        self._authority = trustme.CA()

    def server(self, *names: str, days: float = 1.0) -> ssl.SSLContext:
        """A server's side for these names; `days` from now the certificate ends."""
        now = dt.datetime.now(dt.UTC)
        certificate = self._authority.issue_cert(
            *names,
            not_before=now - dt.timedelta(days=90),
            not_after=now + dt.timedelta(days=days),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certificate.configure_cert(context)
        return context

    def file(self, folder: Path, name: str = "authority.pem") -> str:
        """Its own certificate, in PEM."""
        path = folder / name
        self._authority.cert_pem.write_to_path(str(path))
        return str(path)


@cache
def authority() -> Authority:
    """One for all tests of a process: keys take time."""
    return Authority()


@contextmanager
def tls_before(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """A port that speaks TLS and passes on to the plain one."""

    def serve(client: socket.socket) -> None:
        with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as server:
            pumped(client, server)

    with listening(serve, context) as own:
        yield own
