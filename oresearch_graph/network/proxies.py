"""Which proxy leads to an address: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in capitals or
not (small ones win), else the system's settings. This machine is always reached directly."""

from __future__ import annotations

import os
import re
import socket
from functools import lru_cache
from importlib.util import find_spec
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.known_secrets import remember, remember_within

_SCHEMES: Final = {
    "http": "http", "https": "https", "socks": "socks5", "socks5": "socks5", "socks5h": "socks5h",
}  # fmt: skip
"""As written, and as it is used: desktops write socks://."""
_PORTS: Final = {"http": 80, "https": 443}
_SEPARATOR: Final = re.compile(r"[,\s]+")


class Proxy(NamedTuple):
    """A proxy of the environment."""

    url: str
    """Without user and password."""
    user: str
    password: str
    variable: str
    """The variable that names it."""

    @property
    def socks(self) -> bool:
        return self.url.startswith("socks")

    @property
    def place(self) -> str:
        """For people: its address and where that was set."""
        return f"the proxy {self.url} ({self.variable})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy that leads to the address; None: it is reached directly.

    Raises ConfigurationError for a proxy that cannot be used.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if not host or is_here(host):
        return None
    proxies = getproxies()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if kind is None or _excepted(proxies.get("no", ""), parts.scheme, host, port):
        return None
    proxy = _parsed(proxies[kind], _variable(f"{kind}_proxy"))
    if proxy.socks and find_spec("socksio") is None:
        raise ConfigurationError(
            f"{proxy.place} speaks SOCKS, for which a package is missing: pip install socksio, or "
            f"unset {proxy.variable}"
        )
    return proxy


def literal_address(host: str) -> IPv4Address | IPv6Address | None:
    """The IP address that a host is, in any spelling that the system reads: 127.1, 0x7f000001."""
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):
        return None


def is_here(host: str) -> bool:
    """True for this machine: localhost, loopback addresses, and the unspecified one."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    ip = literal_address(name)
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip
    return ip is not None and (ip.is_loopback or ip.is_unspecified)


def _variable(name: str) -> str:
    """The variable of that name as it is spelled in the environment."""
    names = [each for each in os.environ if each.lower() == name and os.environ[each]]
    return name if name in names else next(iter(names), "the system's settings")


@lru_cache(maxsize=64)
def _parsed(text: str, variable: str) -> Proxy:
    """Its text is never shown: any part of it may be a password."""
    text = text.strip() if "://" in text else f"http://{text.strip()}"
    remember_within(text)
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    # The rest may be of a password with a "/", whose beginning was read as the port.
    if (
        not host
        or text.partition("://")[2].rstrip("/") != parts.netloc
        or any(map(str.isspace, text))
    ):
        raise ConfigurationError(
            f"{variable} holds no address of a proxy: write http://HOST:PORT, or user, colon, "
            "password and @ before the host, with %40 for @, %23 for #, %2F for / and %3F for ? in "
            "a password"
        )
    scheme = _SCHEMES.get(parts.scheme)
    if scheme is None:
        raise ConfigurationError(
            f"the proxy in {variable} cannot be used: its address must begin with http://, "
            "https://, socks5:// or socks5h://; correct it, or unset it"
        )
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    remember(password)
    return Proxy(f"{scheme}://{parts.netloc.rpartition('@')[2]}", user, password, variable)


def _excepted(entries: str, scheme: str, host: str, port: int) -> bool:
    """NO_PROXY names the host: `*`, a name with all below it, an IP address or a network, each with
    a port if one is meant. Names are not looked up."""
    return any(_covers(each, scheme, host, port) for each in _SEPARATOR.split(entries) if each)


def _covers(entry: str, scheme: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    only, separator, rest = entry.lower().rpartition("://")
    if separator and only not in (scheme, "all"):
        return False
    name, asked_port = _split(rest.rstrip("/"))
    if asked_port and asked_port != str(port):
        return False
    ip = literal_address(host)
    try:
        network = ip_network(name, strict=False)
    except ValueError:
        name = name.removeprefix("*").strip(".")
        return bool(name) and f".{host}".endswith(f".{name}")
    return ip is not None and ip in network


def _split(entry: str) -> tuple[str, str]:
    """Host and port of an entry; no port: empty."""
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return (f"{name}{port}", "") if port.startswith("/") else (name, port.removeprefix(":"))
    name, colon, port = entry.partition(":")
    return (entry, "") if not colon or ":" in port else (name, port)
