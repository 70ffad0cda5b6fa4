"""Why there was no connection, in one line with its fix, from whatever a client raised.

Clients wrap the reason two or three times, and each has exceptions of its own; what lies innermost
is the standard library's, or httpcore's by its name.
"""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from traceback import walk_tb
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.network.certificates import certificate_variables
from oresearch_graph.network.proxies import Proxy, proxy_for
from oresearch_graph.redaction import brief

_DEEPEST: Final = 20
"""Exceptions in a chain that are looked at."""
_UNKNOWN_NAMES: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_UNREACHABLE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_EXPIRED, _EARLY, _OTHER_NAME, _OTHER_ADDRESS = 10, 9, 62, 64
"""OpenSSL's X509_V_ERR_*."""
_NO_TLS: Final = frozenset((
    "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL",
    "PACKET_LENGTH_TOO_LONG",
))  # fmt: skip
"""OpenSSL's reasons where what answers is no TLS."""
_TLS_WANTED: Final = re.compile(
    r"HTTP request (?:was sent )?to (?:an? )?HTTPS|requires TLS", re.IGNORECASE
)
"""nginx, Go and Tomcat, to http:// on a port of theirs that speaks TLS."""
_STATUS: Final = re.compile(r"(\d{3})\b")
_ANY: Final = "https://any.invalid"
"""Stands for an address that nobody told."""
_LONGEST_BODY: Final = 2_000


class Cause(NamedTuple):
    """What kept a request from its server."""

    words: str
    fix: str = ""
    """Empty: what the service's own users do, such as starting it."""
    lasting: bool = True
    """Another try would meet the same."""
    of_proxy: bool = False
    """Every request by this proxy would."""


class _Way(NamedTuple):
    """Where a request went."""

    scheme: str
    server: str
    """Host and port, for people."""
    host: str
    proxy: Proxy | None

    @classmethod
    def of(cls, url: str) -> _Way:
        parts = urlsplit(url)
        try:
            proxy = proxy_for(url) if url else None
        except ConfigurationError:
            proxy = None
        host = parts.hostname or "the server"
        port = f":{parts.port}" if parts.port else ""
        return cls(parts.scheme, f"{host}{port}", host, proxy)

    @property
    def first(self) -> str:
        """What was connected to."""
        return self.proxy.place if self.proxy else self.server

    @property
    def fix(self) -> str:
        """What to do where nobody is there."""
        return f"correct {self.proxy.variable}, or unset it" if self.proxy else ""


def cause_of(error: BaseException) -> Cause | None:
    """None: a connection was there, or nothing is known of it."""
    links = list(_links(error))
    way = _Way.of(next(filter(None, map(_url, links)), ""))
    for link in reversed(links):
        cause = _of_request(link, way) or _of_tls(link, way) or _of_proxy(link, way)
        if cause is not None:
            return cause
    for link in reversed(links):
        if (cause := _of_network(link, way)) is not None:
            return cause
    return _of_silence(links, way)


def _links(error: BaseException) -> Iterator[BaseException]:
    """The exception and all that it came from, outermost first."""
    waiting, visited = [error], set[int]()
    while waiting and len(visited) < _DEEPEST:
        link = waiting.pop(0)
        if id(link) in visited:
            continue
        visited.add(id(link))
        yield link
        under = link.__cause__ or link.__context__  # httpcore suppresses what it came from
        waiting += [under] if under is not None else []
        waiting += link.exceptions if isinstance(link, BaseExceptionGroup) else ()


def _url(error: BaseException) -> str:
    """Of the request; httpx raises where it knows none."""
    try:
        return str(getattr(error, "request").url)  # noqa: B009 - no exception of ours
    except (AttributeError, RuntimeError):
        return ""


def _of_request(link: BaseException, way: _Way) -> Cause | None:
    """Requests that no client sends, and answers that speak of the way and not of the request."""
    of_header = isinstance(link, UnicodeEncodeError) and _raised_in(link, "normalize_header")
    if of_header or (_named(link, "LocalProtocolError") and "header" in str(link)):
        return Cause(
            "the key (or another header) holds a line break or a character outside ASCII",
            "copy the key anew",
        )
    response = getattr(link, "response", None)
    status = getattr(response, "status_code", None)
    if way.scheme == "http" and refused_by_proxy(response):
        return _credentials_wanted(way)
    if status == 400 and way.scheme == "http" and _TLS_WANTED.search(_body(response)):
        return Cause(f"{way.server} speaks TLS", "write https:// in its address")
    return None


def refused_by_proxy(response: Any) -> bool:  # noqa: ANN401 - of any client
    """True for a 407 that only a proxy may send (RFC 9110, section 15.5.8); a page's own server can
    answer with that status, too."""
    status, headers = (getattr(response, name, None) for name in ("status_code", "headers"))
    return status == 407 and "proxy-authenticate" in (headers or ())


def _body(response: Any) -> str:  # noqa: ANN401 - of any httpx
    try:
        return str(response.text)[:_LONGEST_BODY]
    except RuntimeError:  # a stream that was not read
        return ""


def _of_tls(link: BaseException, way: _Way) -> Cause | None:
    if not isinstance(link, ssl.SSLError):
        return None
    tls_proxy = way.proxy is not None and way.proxy.url.startswith("https")
    server = f"{way.server} or of {way.first}" if tls_proxy else way.server
    if isinstance(link, ssl.SSLCertVerificationError):
        return _of_certificate(link, server)
    if link.reason in _NO_TLS:
        what = f"{way.server} or {way.first} does" if tls_proxy else f"{way.server} does"
        variable = f", or in {way.proxy.variable}" if tls_proxy and way.proxy else ""
        return Cause(
            f"{what} not speak TLS there",
            f"write http:// in its address{variable}, or the port that speaks TLS",
        )
    why = brief(link.reason or link.strerror or link, 80)
    return Cause(f"TLS with {way.server} failed ({why})", "", lasting=False)


def _of_certificate(link: ssl.SSLCertVerificationError, server: str) -> Cause:
    code, reason = link.verify_code, brief(link.verify_message, 120)
    of_server = f"the certificate of {server}"
    if code == _EXPIRED:
        return Cause(f"{of_server} has expired", "renew it there, or set this machine's clock")
    if code == _EARLY:
        return Cause(f"{of_server} is not valid yet", "set this machine's clock")
    if code in (_OTHER_NAME, _OTHER_ADDRESS):
        fix = "correct the host in the address, or give the server a certificate for it"
        return Cause(f"{of_server} is for another name ({reason.rstrip('.')})", fix)
    names = " and ".join(certificate_variables())
    trust = f"add the certificate of its authority to what {names} names"
    if not names:
        trust = "set SSL_CERT_FILE to a PEM file with the certificate of its authority"
    return Cause(f"{of_server} is not trusted ({reason})", trust)


def _of_proxy(link: BaseException, way: _Way) -> Cause | None:
    if (proxy := way.proxy or _Way.of(_ANY).proxy) is None:
        return None
    if proxy.socks and (_named(link, "SOCKSError") or _asserted(link)):
        fix = f"write http:// in {proxy.variable} if it is an HTTP proxy, or correct it"
        return Cause(f"{proxy.place} does not speak SOCKS5", fix, of_proxy=True)
    if way.proxy is None or not _named(link, "ProxyError"):
        return None
    text = str(link)
    if text.startswith(("407", "Invalid username", "Requested ")):
        return _credentials_wanted(way)
    why = brief(text.removeprefix("Proxy Server could not connect: ").rstrip("."), 80)
    status = _STATUS.match(text)
    if (status and status[1].startswith("4")) or "not allowed" in text:
        fix = f"let it allow that, or name {way.host} in NO_PROXY"
        return Cause(f"{way.proxy.place} does not connect to {way.server} ({why})", fix)
    return Cause(
        f"{way.proxy.place} has no connection to {way.server} ({why})",
        "check the address, then the proxy", lasting=False,
    )  # fmt: skip


def _asserted(link: BaseException) -> bool:
    """httpcore asserts what a SOCKS proxy answers; openai's client lets that out without a request
    in it."""
    return isinstance(link, AssertionError) and _raised_in(link, "socks_proxy")


def _raised_in(link: BaseException, name: str) -> bool:
    """Module and function that raised it, by a part of their names."""
    frames = [frame for frame, _ in walk_tb(link.__traceback__)][-1:]
    return any(name in f"{f.f_globals['__name__']}.{f.f_code.co_name}" for f in frames)


def _credentials_wanted(way: _Way) -> Cause:
    if way.proxy is None:
        return Cause("a proxy wants user and password (407)", "set HTTPS_PROXY with them")
    has = "refuses its user and password" if way.proxy.user else "wants user and password"
    fix = f"write both into {way.proxy.variable}, before its host, as user, colon, password and @"
    return Cause(f"{way.proxy.place} {has}", fix, of_proxy=True)


def _of_network(link: BaseException, way: _Way) -> Cause | None:
    by_proxy = way.proxy is not None
    if isinstance(link, socket.gaierror):
        if link.errno in _UNKNOWN_NAMES:
            fix = way.fix or "correct the address, or see to the network"
            return Cause(f"the name of {way.first} is not known", fix, of_proxy=by_proxy)
        fix = "see to this machine's network and DNS"
        return Cause(f"the name of {way.first} cannot be looked up", fix, False, by_proxy)
    if isinstance(link, ConnectionRefusedError):
        return Cause(f"{way.first} refuses the connection", way.fix, False, by_proxy)
    if isinstance(link, OSError) and link.errno in _UNREACHABLE:
        return Cause(f"there is no route to {way.first}", way.fix, False, by_proxy)
    late = isinstance(link, OSError) and link.errno == errno.ETIMEDOUT
    if late or _named(link, "ConnectTimeout"):
        return Cause(f"{way.first} lets nobody connect in time", way.fix, False, by_proxy)
    return None


def _of_silence(links: list[BaseException], way: _Way) -> Cause | None:
    """A server that ends the connection, where the reason may be the address's scheme."""
    end = any(_named(link, "RemoteProtocolError", "ReadError") for link in links)
    incomplete = any("incomplete" in str(link) for link in links)
    if end and not incomplete and way.scheme == "http":
        return Cause(
            f"{way.server} closed the connection, or answers no HTTP",
            "if it speaks TLS there, write https:// in its address; else see its log",
            lasting=False,
        )
    if way.scheme == "https" and any(_named(link, "ConnectError", "EndOfStream") for link in links):
        words = f"{way.server} ended the connection before TLS was agreed"
        return Cause(words, "see that its port speaks TLS", lasting=False)
    return None


def _named(error: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(error).__mro__)
