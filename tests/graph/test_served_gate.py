"""What a request must be before LangGraph's server sees it."""

from __future__ import annotations

from typing import Any

import pytest

from oresearch_graph.served.gate import STUDIO, RequestGate, refusal

PORT = 2024
JSON = {"content-type": "application/json", "content-length": "9"}


def scope(
    method: str = "GET", kind: str = "http", path: str = "/threads", **more: Any
) -> dict[str, Any]:
    """A request as uvicorn gives it; `headers` beside a loopback Host."""
    headers = {"host": f"localhost:{PORT}"} | more.pop("headers", {})
    pairs = [(n.encode(), v.encode("latin-1")) for n, v in headers.items() if v is not None]
    pairs += [(n.encode(), v.encode()) for n, v in more.pop("again", [])]
    return {"type": kind, "method": method, "path": path, "headers": pairs,
            "server": ("127.0.0.1", PORT), "root_path": ""} | more  # fmt: skip


def why(**request: Any) -> str | None:
    return refusal(scope(**request), {STUDIO})


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "localhost:2024", "LocalHost:2024", "localhost.:2024", "127.0.0.1:2024",
        "127.0.0.1", "127.8.9.1:2024", "[::1]:2024", "[::1]", "localhost:8080",
    ],
)  # fmt: skip
def test_a_loopback_host_may_ask(host: str):
    assert why(headers={"host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "", None, "evil.example", "evil.example:2024", "localhost.evil.example:2024",
        "127.0.0.1.evil.example", "evil.example#localhost", "localhost@evil.example",
        "evil.example@localhost", "localhost:2024@evil.example", "localhost:2024:80", "localhost:",
        "localhost:port", "0.0.0.0:2024", "[::]:2024", "10.0.0.1:2024", "169.254.169.254", "127.1",
        "2130706433", "0x7f000001", "0177.0.0.1", "[::1", "::1", "[localhost]", "localhost..",
        "localhost localhost", "localhost,evil.example", "localhost/x", "foo.localhost",
        "smith.langchain.com", "\xb9\xb2\xb7.0.0.1", "localhost\x00", "localhost:2024\n",
    ],
)  # fmt: skip
def test_another_host_may_not(host: str | None):
    assert "Host" in str(why(headers={"host": host}))


@pytest.mark.parametrize(
    "origin",
    [
        STUDIO, STUDIO.upper(), "http://localhost:2024", "http://127.0.0.1:2024",
        "http://[::1]:2024", "https://localhost:2024",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE"])
def test_studio_and_the_servers_own_pages_may_ask(origin: str, method: str):
    assert why(method=method, headers={"origin": origin, "sec-fetch-site": "cross-site"}) is None


@pytest.mark.parametrize(
    "origin",
    [
        "null", "", "*", "https://evil.example", "http://localhost", "http://localhost:2025",
        "http://localhost:02024x", "http://127.0.0.1:3000", "http://evil.example:2024",
        "http://localhost:2024.evil.example", "http://localhost:2024@evil.example",
        "https://smith.langchain.com.evil.example", "http://smith.langchain.com",
        "https://smith.langchain.com:8443", "https://evil.example/https://smith.langchain.com",
        "file://", "chrome-extension://abc", "ftp://localhost:2024", "localhost:2024",
        "http://foo.localhost:2024", f"{STUDIO} https://evil.example",
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_another_origin_may_not(origin: str, kind: str):
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        assert "Origin" in str(why(method=method, kind=kind, headers={"origin": origin} | JSON))


@pytest.mark.parametrize("site", ["cross-site", "same-site", "strange"])
def test_an_image_or_script_of_another_page_may_not(site: str):
    assert "another site" in str(why(headers={"sec-fetch-site": site}))


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_a_person_may_open_an_address(site: str):
    assert why(headers={"sec-fetch-site": site}) is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "PROPFIND"])
@pytest.mark.parametrize(
    "kind",
    [
        None, "", "text/plain", "text/plain; application/json", "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx",
        "application/json, text/plain", "application/json text/plain", "application/csp-report",
        "x/application/json", "application",
    ],
)  # fmt: skip
def test_a_body_must_be_json(method: str, kind: str | None):
    assert "application/json" in str(why(method=method, headers=JSON | {"content-type": kind}))


def test_a_body_of_json_is_one_however_written():
    for kind in ("application/json", "Application/JSON", "application/json; charset=utf-8"):
        assert why(method="POST", headers=JSON | {"content-type": kind}) is None
    assert why(method="POST", headers={"content-length": "0"}) is None  # the SDK cancels so
    assert why(method="POST") is None
    chunked = {"transfer-encoding": "chunked"}
    assert "application/json" in str(why(method="POST", headers=chunked))
    empty = {"content-length": "0", "content-type": "text/plain"}
    assert "application/json" in str(why(method="POST", headers=empty))


@pytest.mark.parametrize("name", ["host", "origin", "content-type"])
def test_a_header_given_twice_may_not_be(name: str):
    headers = JSON | {"origin": STUDIO}
    assert why(method="POST", headers=headers) is None
    twice = [(name, (headers | {"host": "localhost"})[name])]
    assert "twice" in str(why(method="POST", headers=headers, again=twice))


async def passed(request: dict[str, Any]) -> tuple[bool, list[Any]]:
    """Whether the application behind the gate was reached, and what the gate sent."""
    reached, sent = [], []

    async def app(*_: Any) -> None:
        reached.append(True)

    async def send(message: Any) -> None:
        sent.append(message)

    await RequestGate(app)(request, None, send)  # type: ignore[arg-type]
    return bool(reached), sent


async def test_the_gate_answers_403_and_asks_nobody():
    reached, sent = await passed(scope(headers={"host": "evil.example"}))
    assert not reached
    assert sent[0]["status"] == 403
    assert b"the Host is not this machine's" in sent[1]["body"]


async def test_a_websocket_is_closed_before_it_opens():
    reached, sent = await passed(scope(kind="websocket", headers={"origin": "null"}))
    assert not reached
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_what_no_stranger_sends_goes_through():
    for request in (
        scope(),
        {"type": "lifespan"},
        scope(headers={"host": "api"}, root_path="/noauth"),  # the server asks itself
    ):
        assert await passed(request) == (True, [])
