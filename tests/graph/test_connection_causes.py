"""Why there was no connection: each cause is one line with its own fix, for a model, a search
service and a page, and no secret is in it."""

from __future__ import annotations

import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from langchain_openai import ChatOpenAI

from oresearch_graph.errors import ConfigurationError, OresearchError, ToolError
from oresearch_graph.network.causes import cause_of
from oresearch_graph.network.certificates import certificate_variables, tls_context
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.tools.crawl_page import CrawlPage
from oresearch_graph.tools.providers import service_calls
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import WebReader
from tests.helpers.clients import (
    CLIENTS,
    KEY,
    READER,
    SECRET,
    ask_for_models,
    ask_mcp,
    ask_model,
    ask_searxng,
    ask_tavily,
    open_page,
    said_by,
)
from tests.helpers.loopback_proxy import (
    VARIABLES,
    listening,
    running_proxy,
    without_network_variables,
)
from tests.helpers.loopback_site import Answer, running_site
from tests.helpers.loopback_tls import Authority, authority, tls_before
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain
from tests.helpers.server_habits import Fault
from tests.helpers.warm_python import run_warm

# httpcore leaves the connection to a SOCKS proxy that refuses to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    without_network_variables(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(service_calls, "_waits", lambda _: 0.0)
    yield
    gc.collect()


class World(NamedTuple):
    """Ports of servers that are there, and the folder of the authority's certificate."""

    ports: dict[str, int]
    trusted: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    ours = authority()
    with ExitStack() as stack:
        server = stack.enter_context(OpenAIServer(research_brain))
        plain = int(server.base_url.split(":")[2].split("/")[0])
        contexts = {
            "good": ours.server("127.0.0.1"),
            "expired": ours.server("127.0.0.1", days=-2.0),
            "other name": ours.server("other.example"),
            "stranger's": Authority().server("127.0.0.1"),
        }
        ports = {name: stack.enter_context(tls_before(plain, c)) for name, c in contexts.items()}
        ports |= {"plain": plain}
        yield World(ports, ours.file(tmp_path_factory.mktemp("authority")))


TRUST = "set SSL_CERT_FILE to a PEM file with the certificate of its authority"
NAME = "no-such-host.invalid"
CASES = {
    "missing host": (f"https://{NAME}", f"name of {NAME} is not known", "correct the address"),
    "refused": ("http://127.0.0.1:9", "127.0.0.1:9 refuses the connection", "server is up"),
    "untrusted": ("https://{good}", "certificate of {good} is not trusted", TRUST),
    "no TLS": ("https://{plain}", "{plain} does not speak TLS", "write http:// in its address"),
    "TLS": ("http://{good}", "{good} closed the connection", "write https:// in its address"),
}
"""What is asked, what is said of it, and the fix."""


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_cause_is_one_line_with_its_fix(
    client: Callable[[str], Awaitable[None]], case: str, world: World
) -> None:
    places = {name: f"127.0.0.1:{port}" for name, port in world.ports.items()}
    url, words, fix = (each.format(**places) for each in CASES[case])
    said = await said_by(client, url)
    assert words in said
    own_fix = client in (ask_model, ask_for_models) or case != "refused"
    assert client is open_page or not own_fix or fix in said  # a page's reader can mend nothing


@pytest.mark.parametrize(
    ("server", "words", "fix"),
    [
        ("expired", "has expired", "renew it there"),
        ("other name", "is for another name", "correct the host in the address"),
        ("stranger's", "is not trusted", "add the certificate of its authority to what SSL_CERT_F"),
    ],
)
@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_wrong_with_a_certificate(
    client: Callable[[str], Awaitable[None]], server: str, words: str, fix: str, world: World,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", world.trusted)
    said = await said_by(client, f"https://127.0.0.1:{world.ports[server]}")
    assert words in said
    assert client is open_page or fix in said


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_certificates_are_trusted_by_each_variable(
    variable: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://127.0.0.1:{world.ports['good']}"
    monkeypatch.setenv(variable, world.trusted)
    await ask_model(url)
    await ask_for_models(url)
    assert (await CrawlPage(READER).call([f"{url}/page"])).pages[0].text
    assert "did not answer as SearXNG" in await said_by(ask_searxng, url)
    assert "HTTP status 404" in await said_by(ask_tavily, url)


def test_which_variables_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CURL_CA_BUNDLE", "/no/such")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", world.trusted)
    assert certificate_variables() == ("REQUESTS_CA_BUNDLE",)
    assert len(tls_context().get_ca_certs()) == 1
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", str(Path(world.trusted).parent))
    assert certificate_variables() == ("SSL_CERT_DIR",)
    monkeypatch.setenv("SSL_CERT_FILE", world.trusted)
    assert certificate_variables() == ("SSL_CERT_FILE", "SSL_CERT_DIR")
    assert len(tls_context().get_ca_certs()) == 1


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("SSL_CERT_FILE", "/no/such.pem", "No such file or directory.*a file in PEM, or unset it"),
        ("SSL_CERT_FILE", ".", "Is a directory"),
        ("SSL_CERT_FILE", __file__, "it holds no certificate in PEM"),
        ("SSL_CERT_DIR", "/no/such:/nor/this", "there is no such folder.*rehash"),
        ("REQUESTS_CA_BUNDLE", "/no/such.pem", "No such file"),
        ("CURL_CA_BUNDLE", __file__, "it holds no certificate in PEM"),
    ],
)
async def test_certificates_that_cannot_be_read_are_one_line(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    for client in CLIENTS:
        with pytest.raises(
            ConfigurationError, match=f"certificates of {variable} cannot be read .*{says}"
        ):
            await client("https://a.example")


UNSET = "correct ALL_PROXY, or unset it"
BOTH = "write both into ALL_PROXY"
WRONG = f"anna:{SECRET}@"
RIGHT = "a:bcdefgh@"
PROXIES = {
    "dead": (f"http://{WRONG}127.0.0.1:9", "http://127.0.0.1:9 (ALL_PROXY) refuses the", UNSET),
    "dead socks": (f"socks5://{WRONG}127.0.0.1:9", "9 (ALL_PROXY) refuses the connection", UNSET),
    "unknown": (f"http://{WRONG}{NAME}:9", f"{NAME}:9 (ALL_PROXY) is not known", UNSET),
    "407": (f"http://{WRONG}{{http}}", "(ALL_PROXY) refuses its user and password", BOTH),
    "407 without": ("http://{http}", "(ALL_PROXY) wants user and password", BOTH),
    "socks password": (f"socks5h://{WRONG}{{socks}}", "(ALL_PROXY) refuses its user", BOTH),
    "socks without": ("socks5h://{socks}", "(ALL_PROXY) wants user and password", BOTH),
    "no way": (f"http://{RIGHT}{{http}}", "no connection to a.example (502 Bad Gateway)", "check"),
    "no socks way": (f"socks5h://{RIGHT}{{socks}}", "to a.example (Host unreachable)", "check the"),
    "forbidden": (
        f"http://{RIGHT}{{strict}}",
        "does not connect to a.example (403 No)",
        "NO_PROXY",
    ),
    "no socks": ("socks5://{http}", "(ALL_PROXY) does not speak SOCKS5", "write http:// in ALL"),
    "no TLS": ("https://{http}", "(ALL_PROXY) does not speak TLS", "or in ALL_PROXY"),
}
"""A proxy's address, what is said of it, and the fix."""


@pytest.mark.parametrize("case", PROXIES)
@pytest.mark.parametrize("client", CLIENTS)
async def test_what_is_wrong_with_a_proxy(
    client: Callable[[str], Awaitable[None]], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    value, words, fix = PROXIES[case]
    with (
        running_proxy({}, "a:bcdefgh") as http,
        running_proxy({}, "a:bcdefgh") as strict,
        running_proxy({}, "a:bcdefgh", socks=True) as socks,
    ):
        strict.refuses = b"403 No"
        places = {"http": http.place, "socks": socks.place, "strict": strict.place}
        monkeypatch.setenv("ALL_PROXY", value.format(**places))
        said = await said_by(client, "https://a.example")
    assert words in said
    assert client is open_page or fix in said


async def test_a_plain_request_that_a_proxy_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its 407 comes as an answer."""
    with running_proxy({}, "a:bcdefgh") as proxy:
        monkeypatch.setenv("http_proxy", f"http://anna:{SECRET}@{proxy.place}")
        monkeypatch.setenv("ORESEARCH_ALLOW_PLAIN_HTTP", "1")
        for client in CLIENTS:
            said = await said_by(client, "http://a.example")
            assert "(http_proxy) refuses its user and password" in said


async def test_a_407_of_a_page_is_no_fault_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_site() as site:
        site.add("/page", status=407)
        site.add("/search", status=407)
        near = site.add("/near", "<p>The tower is 29 metres high.</p>")
        with running_proxy({"a.example": int(site.url.rpartition(":")[2])}) as proxy:
            monkeypatch.setenv("http_proxy", f"http://{proxy.place}")
            pages = await READER.read(["http://a.example/page", near], "")
            said = await said_by(ask_searxng, "http://a.example")
    assert pages[0].fault == "HTTP status 407"
    assert "29 metres" in pages[1].text
    assert "HTTP status 407" in said
    assert "proxy" not in said


async def test_a_proxy_in_tls_is_checked_by_the_same_certificates(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = authority().server("127.0.0.1")
    with running_proxy({}, tls=context) as proxy:
        monkeypatch.setenv("https_proxy", f"https://{proxy.place}")
        untrusted = f"or of the proxy https://{proxy.place} (https_proxy) is not trusted"
        for client in (ask_model, ask_searxng, open_page):
            assert untrusted in await said_by(client, "https://a.example")
        monkeypatch.setenv("SSL_CERT_FILE", world.trusted)
        for client in (ask_model, ask_searxng, open_page):
            assert "has no connection to a.example" in await said_by(client, "https://a.example")


async def test_what_will_last_is_asked_once(world: World) -> None:
    asked = 0

    def counting(client: socket.socket) -> None:
        nonlocal asked
        asked += 1

    with listening(counting, authority().server("127.0.0.1")) as port:
        await said_by(ask_searxng, f"https://127.0.0.1:{port}")
        said = await said_by(ask_model, f"https://127.0.0.1:{port}")
    assert asked == 0  # the handshake failed before
    assert "tries" not in said


@pytest.mark.parametrize("key", [f"{KEY}\n", f"  {KEY}\r\n", f'"{KEY}"'])
async def test_a_key_is_sent_without_what_copying_adds(key: str, world: World) -> None:
    model = connect("fake", base_url="https://a.example/v1", timeout=1.0, extra={"api_key": key})
    assert model.openai_api_key.get_secret_value() == KEY  # type: ignore[attr-defined]


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", "sk\u2013of\u2013the\u2013test", f"{KEY} and"])
async def test_a_key_that_no_header_carries(key: str, world: World) -> None:
    url = f"http://127.0.0.1:{world.ports['plain']}"
    says = "is no key: it holds a line break, a blank or a character outside ASCII; copy it anew"
    with pytest.raises(ConfigurationError, match=says) as raised:
        connect("fake", base_url=f"{url}/v1", timeout=1.0, extra={"api_key": key})
    assert key not in str(raised.value)
    if " and" in key:
        return
    # A model of the embedder's own was made without us.
    own = ChatOpenAI(model="fake", base_url=f"{url}/v1", api_key=key, max_retries=0)
    with pytest.raises(OresearchError, match=r"a line break or .* outside ASCII; copy the k"):
        await ask_model(url, own)


async def test_a_refused_key_says_so(world: World) -> None:
    with OpenAIServer(research_brain) as server, running_site() as site:
        server.fault_for = lambda _: Fault("status", 401)
        said = await said_by(ask_model, server.base_url.removesuffix("/v1"))
        assert "HTTP 401" in said
        assert "the key is refused: check the API key" in said
        for path in ("/search", "/mcp"):
            site.pages[path] = lambda _: Answer(b"{}", 401, "application/json")
        assert "refuses the user and password" in await said_by(ask_searxng, site.url)
        assert "refused the key: correct TAVILY_API_KEY" in await said_by(ask_tavily, site.url)
        assert "the key in their headers is refused" in await said_by(ask_mcp, site.url)


@pytest.mark.parametrize(
    "body",
    [
        "<h1>400</h1>The plain HTTP request was sent to HTTPS port",
        "Client sent an HTTP request to an HTTPS server.\n",
        "Bad Request This combination of host and port requires TLS.",
    ],
)
async def test_a_server_that_asks_for_tls_in_plain_words(body: str) -> None:
    with running_site() as site:
        for path in ("/v1/chat/completions", "/v1/models", "/search"):
            site.add(path, body, status=400)
        port = site.url.rpartition(":")[2]
        for client in (ask_model, ask_for_models, ask_searxng):
            said = await said_by(client, site.url)
            assert f"127.0.0.1:{port} speaks TLS" in said
            assert "write https:// in its address" in said


def test_an_error_of_another_kind_has_no_cause() -> None:
    assert cause_of(ValueError("broken")) is None
    with pytest.raises(UnicodeEncodeError) as raised:
        "\u2013".encode("ascii")
    assert cause_of(raised.value) is None
    looped = RuntimeError("first")
    looped.__context__ = KeyError("second")
    looped.__context__.__context__ = looped
    assert cause_of(looped) is None


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ALL_PROXY": f"socks4://anna:{SECRET}@127.0.0.1:9"}, "the proxy in ALL_PROXY cannot be"),
        ({"HTTPS_PROXY": f"http://anna:{SECRET}@127.0.0.1:9"}, "correct HTTPS_PROXY, or unset it"),
        ({"SSL_CERT_FILE": "/no/such.pem"}, "certificates of SSL_CERT_FILE cannot be read"),
        ({}, "name of a.invalid is not known"),
    ],
)
def test_the_command_line_says_one_line(
    variables: dict[str, str], says: str, tmp_path: Path
) -> None:
    command = "from oresearch_graph.command.cli import main; main()"
    arguments = ("run", "q", "--base-url", "https://a.invalid/v1", "--search", "python", "--quiet")
    env = run_environment() | variables
    for model in ((), ("--model", "m")):
        done = run_warm(command, *arguments, *model, cwd=tmp_path, env=env, stdin="")
        assert done.returncode != 0
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        assert len(lines) == 1, done.stderr
        assert says in lines[0]
        assert SECRET not in done.stderr


def run_environment() -> dict[str, str]:
    skipped = {*VARIABLES, *(name.upper() for name in VARIABLES)}
    return {n: v for n, v in os.environ.items() if n not in skipped} | {"OPENAI_API_KEY": KEY}


async def test_pages_of_a_corpus_run_meet_bad_certificates_as_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such.pem")
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        await CrawlPage(WebReader(AddressGuard())).call(["https://a.example"])
    assert caplog.records == []


async def test_a_dead_proxy_costs_no_page_that_goes_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"http://anna:{SECRET}@127.0.0.1:9")
    with running_site() as site:
        near = site.add("/page", "<p>The tower is 29 metres high.</p>")
        pages = await READER.read([near, "https://a.example"], "")
        assert "29 metres" in pages[0].text
        assert "(ALL_PROXY) refuses the connection" in str(pages[1].fault)
        with pytest.raises(ToolError, match="no page can be fetched: the proxy"):
            await READER.read(["https://a.example", "https://b.example"], "")
