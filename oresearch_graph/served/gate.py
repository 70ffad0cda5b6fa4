"""What a request must be before LangGraph's server sees it.

CORS keeps a page from reading an answer, not from asking: a page that a developer has open may
send what it likes to a port of this machine. So the request itself must show where it is from.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any, Final

STUDIO: Final = "https://smith.langchain.com"
Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_AUTHORITY: Final = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[0-9a-z.-]+)(?::(?P<port>[0-9]{1,5}))?")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}
_IN_PROCESS: Final = "/noauth"
"""The root path under which LangGraph's server calls itself; no request from outside has one."""


class RequestGate:
    """ASGI middleware: 403 for a request that a stranger's page could have sent."""

    def __init__(self, app: App, origins: Collection[str] = (STUDIO,)) -> None:
        """`origins` are those of pages that may ask, beside the server's own."""
        self.app, self.origins = app, frozenset(map(str.lower, origins))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_request = (
            scope["type"] in ("http", "websocket") and scope.get("root_path") != _IN_PROCESS
        )
        why = refusal(scope, self.origins) if is_request else None
        if why is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": why})
        else:
            headers = [
                (b"content-type", b"application/json"),
                (b"x-content-type-options", b"nosniff"),
            ]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            body = json.dumps({"detail": f"refused: {why}"}).encode()
            await send({"type": "http.response.body", "body": body})


def refusal(scope: Scope, origins: Collection[str]) -> str | None:
    """Why a request may not be answered; None where it may."""
    headers = dict[str, list[str]]()
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
    if any(len(headers.get(name, [])) > 1 for name in ("host", "origin", "content-type")):
        return "a header that must be one is there twice"
    (host,) = headers.get("host", [""])
    if not _is_loopback(host.lower()):
        return "the Host is not this machine's: use localhost or 127.0.0.1"
    if "origin" in headers:
        origin = headers["origin"][0].lower()
        if origin not in origins and not _is_own(origin, scope.get("server")):
            return (
                "pages of this Origin may not ask: name it in ORESEARCH_ALLOWED_ORIGINS "
                "where the server is started"
            )
    # Images, scripts and links of another page carry no Origin, but browsers say where they are.
    elif headers.get("sec-fetch-site", ["none"])[0] not in ("none", "same-origin"):
        return "another site's page asks: open the address itself"
    return _body_fault(scope.get("method", "GET"), headers)


def _body_fault(method: str, headers: dict[str, list[str]]) -> str | None:
    """Forms and beacons can send every type but JSON without asking the server before."""
    (kind,) = headers.get("content-type", [""])
    empty = headers.get("content-length", ["0"]) == ["0"] and "transfer-encoding" not in headers
    if method in ("GET", "HEAD", "OPTIONS") or (empty and not kind):
        return None
    if kind.partition(";")[0].strip().lower() != "application/json":
        return f"a {method} must be application/json"
    return None


def _is_own(origin: str, server: tuple[str, int | None] | None) -> bool:
    """True for a page that this very server gave."""
    scheme, _, authority = origin.partition("://")
    match = _AUTHORITY.fullmatch(authority)
    if server is None or match is None or scheme not in _DEFAULT_PORT:
        return False
    port = int(match["port"] or _DEFAULT_PORT[scheme])
    return port == server[1] and _is_loopback(authority)


def _is_loopback(authority: str) -> bool:
    """True for a name that leads to this machine whoever resolves it: it cannot be rebound."""
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        return False
    name = match["name"].removesuffix(".")
    try:
        return name == "localhost" or ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False
