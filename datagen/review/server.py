"""The review's web server: on loopback, for one reviewer, behind a token in the address.

Whoever lacks the token is refused; so is every Host but our own, which keeps out a page of the web
whose name was made to lead here, and every form that another page sends.
"""

from __future__ import annotations

import hmac
import re
import secrets
import socket
from typing import Final
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from datagen.review.pages import item_page, list_page
from datagen.review.session import ReviewSession
from datagen.run.folder import Work
from oresearch_graph.errors import ConfigurationError

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_MOST: Final = 65_536
"""Bytes of a form."""


def serve_review(work: Work, reviewer: str, port: int) -> None:
    """Serve until Ctrl-C. No lock is taken: several reviewers' servers may run at once."""
    session = ReviewSession(work, reviewer)
    token = secrets.token_urlsafe(24)
    try:
        listening = _listen(port)
        host = f"127.0.0.1:{listening.getsockname()[1]}"
        work.say(
            f"review by {session.reviewer}, {len(session.items)} items: http://{host}/{token}/\n"
            "Ctrl-C ends it; every word is kept as it is said"
        )
        config = uvicorn.Config(
            review_app(session, token, host), log_level="warning", access_log=False,
            lifespan="off", server_header=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # how it is meant to end
    finally:
        session.close()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        listening.close()
        raise ConfigurationError(
            f"--port {port}: cannot be listened on ({error}): choose another, or 0 for a free one"
        ) from error
    return listening


def review_app(session: ReviewSession, token: str, host: str) -> ASGIApp:
    """The pages below `/<token>/` for requests to `host` only."""
    return _Guard(_pages(session, f"/{token}"), token, host)


def _pages(session: ReviewSession, root: str) -> Starlette:
    def show_list(_: Request) -> Response:
        return HTMLResponse(list_page(session, root))

    def show_item(request: Request) -> Response:
        number = request.path_params["number"] - 1
        if not 0 <= number < len(session.items):
            return PlainTextResponse("no such item", 404)
        return HTMLResponse(item_page(session, number, root))

    async def decide(request: Request) -> Response:
        form = parse_qs((await _body(request)).decode("utf-8", "replace"))
        return await run_in_threadpool(_decide, session, root, form)

    return Starlette(
        routes=[
            Route(f"{root}/", show_list),
            Route(f"{root}/item/{{number:int}}", show_item),
            Route(f"{root}/decide", decide, methods=["POST"]),
        ]
    )


async def _body(request: Request) -> bytes:
    """The body of a request; a longer one than a form can be is cut, and then lacks its fields."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST:
            return b""
    return body


def _decide(session: ReviewSession, root: str, form: dict[str, list[str]]) -> Response:
    verdict = form.get("verdict", [""])[0]
    reason = " ".join(form.get("reason", [""])[0].split())[:2000]
    place = form.get("item", [""])[0]
    number = int(place) - 1 if re.fullmatch(r"[0-9]{1,9}", place) else -1
    if not 0 <= number < len(session.items) or verdict not in {"accept", "reject"}:
        return PlainTextResponse("no such item or verdict; nothing was recorded", 400)
    if verdict == "reject" and not reason:
        notice = "A rejection needs a reason: nothing was recorded."
        return HTMLResponse(item_page(session, number, root, notice), 400)
    try:
        session.decide(number, accept=verdict == "accept", reason=reason)
    except ConfigurationError as error:
        return HTMLResponse(item_page(session, number, root, str(error)), 507)
    after = session.next_open(number)
    return RedirectResponse(f"{root}/" if after is None else f"{root}/item/{after + 1}", 303)


class _Guard:
    """Lets in who knows the token, came to our own address, and sends forms of our own."""

    def __init__(self, app: ASGIApp, token: str, host: str) -> None:
        self._app, self._token, self._host = app, token.encode(), host.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if (fault := self._fault(scope)) is not None:
            await PlainTextResponse(fault, 403, _HEADERS)(scope, receive, send)
            return

        async def with_headers(message: dict[str, object]) -> None:
            if message["type"] == "http.response.start":
                extra = [(k.lower().encode(), v.encode()) for k, v in _HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *extra]  # type: ignore[misc]
            await send(message)

        await self._app(scope, receive, with_headers)  # type: ignore[arg-type]  # a message is a dict

    def _fault(self, scope: Scope) -> str | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        if [value for name, value in headers if name == b"host"] != [self._host]:
            return "this server answers to its own address only"
        token = scope["path"].removeprefix("/").partition("/")[0].encode()
        if not hmac.compare_digest(token, self._token):
            return "the address lacks the token: use the one that the terminal shows"
        origins = [value for name, value in headers if name == b"origin"]
        if scope["method"] != "GET" and origins not in ([], [b"http://" + self._host]):
            return "the form came from another page"
        return None
