"""HTTP clients: each of ours is made here, so that proxies, certificates and the time for a
connection are the same for all."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any, Final

import httpx

from oresearch_graph.network.certificates import certificate_variables, tls_context
from oresearch_graph.network.proxies import Proxy, proxy_for

CONNECT_SECONDS: Final = 10.0
"""For a connection to come about; an answer may take longer."""


def client_options(url: str, library: Any = httpx) -> dict[str, Any]:  # noqa: ANN401 - a module
    """What a client for this address is made with. `library`: httpx, or one with its names.

    Blocks as `tls_context` does. Raises ConfigurationError for a proxy or certificates that cannot
    be used.
    """
    proxy, tls = proxy_for(url), tls_context()
    by = None if proxy is None else _proxy_of(library, proxy, tls)
    return {"proxy": by, "verify": tls, "trust_env": False}  # the environment was read here


def described_network() -> str:
    """What the environment says of proxies and certificates, for people; empty: nothing. Raises
    ConfigurationError for what cannot be used."""
    tls_context()
    ways = {scheme: proxy_for(f"{scheme}://any.invalid") for scheme in ("https", "http")}
    parts = [f"{scheme} by {proxy.place}" for scheme, proxy in ways.items() if proxy]
    if names := certificate_variables():
        parts.append(f"certificates of {' and '.join(names)}")
    return ", ".join(parts)


def timeouts(seconds: float, library: Any = httpx) -> Any:  # noqa: ANN401 - the library's
    """So many seconds for each part of an exchange. To connect no more than half of them, so that
    who waits so long for all of it hears why, nor than CONNECT_SECONDS."""
    return library.Timeout(seconds, connect=min(seconds / 2, CONNECT_SECONDS))


async def http_client(
    url: str, *, seconds: float, auth: tuple[str, str] | None = None
) -> httpx.AsyncClient:
    """A client for the service at an address. Raises ConfigurationError."""
    proxy, tls = proxy_for(url), await asyncio.to_thread(tls_context)
    way = Way(proxy, tls)
    return httpx.AsyncClient(transport=way, trust_env=False, timeout=timeouts(seconds), auth=auth)


class Way(httpx.AsyncHTTPTransport):
    """Sends requests by a proxy, or directly, and gives up a connection after CONNECT_SECONDS
    whatever the request says."""

    def __init__(self, proxy: Proxy | None, tls: ssl.SSLContext) -> None:
        self._socks = proxy is not None and proxy.socks
        super().__init__(verify=tls, proxy=_proxy_of(httpx, proxy, tls) if proxy else None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        seconds = request.extensions.get("timeout", {})
        connect = min(seconds.get("connect") or CONNECT_SECONDS, CONNECT_SECONDS)
        request.extensions = {**request.extensions, "timeout": {**seconds, "connect": connect}}
        if not self._socks:
            return await super().handle_async_request(request)
        from socksio import SOCKSError

        try:
            return await super().handle_async_request(request)
        except (AssertionError, SOCKSError) as error:  # httpcore's, where that is no SOCKS proxy
            raise httpx.ProxyError("no SOCKS", request=request) from error


def _proxy_of(library: Any, proxy: Proxy, tls: ssl.SSLContext) -> Any:  # noqa: ANN401
    auth = (proxy.user, proxy.password) if proxy.user or proxy.password else None
    context = tls if proxy.url.startswith("https") else None  # for a plain proxy none is allowed
    return library.Proxy(proxy.url, auth=auth, ssl_context=context)
