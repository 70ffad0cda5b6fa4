"""Which network addresses a page reader may connect to.

The guard sits where the connection is made: the host is resolved once, every resolved address is
checked, and the socket goes to a checked one, while TLS and the Host header keep the name. So a
name that resolves differently the second time (DNS rebinding) gains nothing, and each redirect
passes here again. A proxy resolves names itself: a host is checked before the proxy is asked, by
its name and by what it resolves to here (docs/network.md).
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

import httpcore
import httpx

from oresearch_graph.errors import AddressRefused
from oresearch_graph.network.clients import Way
from oresearch_graph.network.proxies import Proxy, literal_address, proxy_for

Resolver = Callable[[str, int], Awaitable[list[str]]]
"""The addresses of a host, as text, best first. Raises socket.gaierror when there is none."""

_METADATA: Final = frozenset(
    ip_address(address)
    for address in ("169.254.169.254", "169.254.170.2", "168.63.129.16", "100.100.100.200",
                    "192.0.0.192", "fd00:ec2::254")
)  # fmt: skip
_METADATA_NAMES: Final = frozenset((
    "instance-data", "instance-data.ec2.internal", "metadata", "metadata.azure.internal",
    "metadata.goog", "metadata.google.internal", "metadata.platformequinix.com",
    "metadata.tencentyun.com",
))  # fmt: skip
_INSIDE: Final = (
    ".corp", ".home", ".home.arpa", ".internal", ".intranet", ".lan", ".local", ".localdomain",
    ".localhost", ".private",
)  # fmt: skip
"""Ends of names that stand for no host of the public internet."""
_LOOK_UP_SECONDS: Final = 3.0
"""For a name that a proxy will resolve as well."""
_NAT64: Final = IPv6Network("64:ff9b::/96")


async def resolve(host: str, port: int) -> list[str]:
    """The system resolver's answer, in a thread; it also reads 0x7f.1, 2130706433 and the like."""
    loop = asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in infos))


class AddressGuard:
    """Says which addresses may be reached. `allow_private` lifts everything but multicast,
    unspecified and cloud metadata addresses, which hold no documents and may hold keys."""

    def __init__(self, *, allow_private: bool = False, resolver: Resolver = resolve) -> None:
        self.allow_private = allow_private
        self._resolver = resolver

    def check_url(self, url: str) -> None:
        """Raise AddressRefused unless `url` is http or https and names a host."""
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError as error:
            raise AddressRefused(f"{url} is no web address ({error}): correct it") from error
        if parts.scheme not in ("http", "https") or not host:
            raise AddressRefused(f"{url} is no web address: use http:// or https:// and a host")

    def refusal(self, address: str) -> str | None:
        """Why the resolved `address` may not be reached; None when it may."""
        ip = _effective(address)
        if ip in _METADATA:
            return "a cloud metadata address"
        if ip.is_multicast or ip.is_unspecified:
            return "a multicast or unspecified address"
        if self.allow_private or _is_public(ip):
            return None
        if ip.is_loopback:
            return "a loopback address"
        return "a link-local address" if ip.is_link_local else "a private or reserved address"

    async def addresses(self, host: str, port: int) -> list[str]:
        """The resolved addresses of `host` that may be reached, best first, at least one."""
        addresses = await self._resolver(host, port)
        verdicts = {address: self.refusal(address) for address in addresses}
        allowed = [address for address, reason in verdicts.items() if reason is None]
        if not allowed:
            raise _refused(host, next(iter(verdicts.values()), None) or "no address at all")
        return allowed

    async def check_name(self, host: str, port: int) -> None:
        """Raise AddressRefused for a host that no proxy is asked for. One that does not resolve
        here is the proxy's to resolve."""
        name = host.lower().rstrip(".")
        reason = self._name_refusal(name)
        if reason is None:
            addresses = await self._known_addresses(name, port)
            reason = next(filter(None, map(self.refusal, addresses)), None)
        if reason is not None:
            raise _refused(host, reason)

    def _name_refusal(self, name: str) -> str | None:
        if name in _METADATA_NAMES:
            return "a cloud metadata name"
        if self.allow_private or literal_address(name):
            return None
        if "." not in name or name.endswith(_INSIDE):
            return "a name of a private network"
        return None

    async def _known_addresses(self, name: str, port: int) -> list[str]:
        if literal := literal_address(name):
            return [str(literal)]
        try:
            async with asyncio.timeout(_LOOK_UP_SECONDS):
                return await self._resolver(name, port)
        except (OSError, UnicodeError):
            return []


def _refused(host: str, reason: str) -> AddressRefused:
    return AddressRefused(
        f"{host} is {reason}, which is not fetched: give a public address, or set "
        "allow_private_addresses for private ones"
    )


def _effective(address: str) -> IPv4Address | IPv6Address:
    """The address that the packets would really go to, without a zone."""
    ip = ip_address(address.partition("%")[0])
    if isinstance(ip, IPv6Address):
        if ip.ipv4_mapped or ip.sixtofour:
            return ip.ipv4_mapped or ip.sixtofour or ip
        if ip in _NAT64 or 1 < int(ip) < 1 << 32:
            return IPv4Address(int(ip) & 0xFFFFFFFF)
        if ip.teredo:
            return ip.teredo[1]
    return ip


def _is_public(ip: IPv4Address | IPv6Address) -> bool:
    site_local = isinstance(ip, IPv6Address) and ip.is_site_local
    return ip.is_global and not ip.is_reserved and not site_local


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens TCP connections to checked addresses only; no unix sockets."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's signature)
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in await self._checked(host, port, timeout):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def _checked(self, host: str, port: int, seconds: float | None) -> list[str]:
        try:
            async with asyncio.timeout(seconds):
                return await self._guard.addresses(host, port)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(f"resolving {host} took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be resolved: {error}") from error

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class GuardedTransport(httpx.AsyncHTTPTransport):
    """httpx's own transport with its connections made by the guard, or asked of a proxy with its
    consent."""

    def __init__(self, guard: AddressGuard, tls: ssl.SSLContext, connections: int = 20) -> None:
        super().__init__(verify=tls)
        self._guard, self._tls = guard, tls
        self._ways: dict[Proxy, Way] = {}
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            network_backend=GuardedBackend(guard),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises AddressRefused, and ConfigurationError for a proxy that cannot be used."""
        proxy = proxy_for(str(request.url))
        if proxy is None:
            return await super().handle_async_request(request)
        host, port = request.url.raw_host.decode("ascii"), request.url.port
        await self._guard.check_name(host, port or (443 if request.url.scheme == "https" else 80))
        if proxy not in self._ways:
            self._ways[proxy] = Way(proxy, self._tls)
        return await self._ways[proxy].handle_async_request(request)

    async def aclose(self) -> None:
        await super().aclose()
        for way in self._ways.values():
            await way.aclose()
