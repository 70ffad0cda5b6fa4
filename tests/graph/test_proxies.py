"""Proxies of the environment: one place says which leads where, for models, search and pages; what
cannot be used is one line; this machine is reached without them."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.command.doctor import diagnose
from oresearch_graph.errors import ConfigurationError, ToolError
from oresearch_graph.network.proxies import is_here, proxy_for
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.policies.chat.policy import ChatPolicy
from oresearch_graph.policies.chat.servers import served_model
from oresearch_graph.settings import ResearchSettings
from oresearch_graph.threads import Thread
from oresearch_graph.tools.providers.mcp import mcp_tools
from oresearch_graph.tools.providers.searxng import SearxngSearch
from oresearch_graph.tools.providers.tavily import TavilySearch
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import Fetcher
from tests.helpers.loopback_proxy import running_proxy, without_network_variables
from tests.helpers.loopback_site import Site, running_site
from tests.helpers.loopback_tls import authority, tls_before
from tests.helpers.openai_server import OpenAIServer
from tests.helpers.research_brain import research_brain

SECRET = "of-the-proxy-77"
DEAD = f"http://anna:{SECRET}@127.0.0.1:9"
PLAN = Thread(id="t", system="You research.", question="Why?", role="planner")
KEY = "sk-of-the-test-4711"


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    without_network_variables(monkeypatch)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


def set_all(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def way(url: str) -> str | None:
    proxy = proxy_for(url)
    return proxy and proxy.url


@pytest.mark.parametrize(
    ("variables", "url", "by"),
    [
        ({"HTTPS_PROXY": "http://p:1"}, "https://a.example/v1", "http://p:1"),
        ({"HTTPS_PROXY": "http://p:1"}, "http://a.example", None),
        ({"http_proxy": "p:1"}, "http://a.example", "http://p:1"),
        ({"https_proxy": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "https://a", "http://p:1"),
        ({"ALL_PROXY": "socks5h://p:1"}, "http://a.example", "socks5h://p:1"),
        ({"all_proxy": "socks://p:1/"}, "https://a.example", "socks5://p:1"),
        ({"ALL_PROXY": "socks5://p:1", "HTTPS_PROXY": "https://q:2"}, "https://a", "https://q:2"),
        ({"HTTPS_PROXY": "http://anna:x%40y%2Fz@[fd00::1]:8"}, "https://a", "http://[fd00::1]:8"),
        ({"HTTPS_PROXY": ""}, "https://a.example", None),
    ],
)
def test_the_proxy_of_an_address(
    variables: dict[str, str], url: str, by: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, **variables)
    assert way(url) == by


def test_user_and_password_are_read_as_they_are_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://anna:x%40y%2Fz%23@p:8")
    proxy = proxy_for("https://a.example")
    assert proxy is not None
    assert (proxy.user, proxy.password, proxy.variable) == ("anna", "x@y/z#", "HTTPS_PROXY")


@pytest.mark.parametrize(
    ("exceptions", "url", "direct"),
    [
        ("*", "https://a.example", True),
        ("a.example", "https://a.example", True),
        ("a.example", "https://sub.a.example", True),
        ("a.example", "https://nota.example", False),
        ("A.Example.", "https://a.EXAMPLE", True),
        (".a.example", "https://sub.a.example", True),
        (".a.example", "https://a.example", True),
        ("*.a.example", "https://sub.a.example", True),
        ("other, a.example", "https://a.example", True),
        ("other a.example", "https://a.example", True),
        ("a.example:443", "https://a.example", True),
        ("a.example:8443", "https://a.example", False),
        ("a.example:8443", "https://a.example:8443/v1", True),
        ("https://a.example", "https://a.example", True),
        ("http://a.example", "https://a.example", False),
        ("10.0.0.0/8", "https://10.1.2.3/v1", True),
        ("10.0.0.0/8", "https://11.1.2.3/v1", False),
        ("10.1.2.3", "https://10.1.2.3:8000/v1", True),
        ("10.1.2.3:80", "https://10.1.2.3:8000/v1", False),
        ("10.0.0.0/8", "https://ten.example", False),
        ("fd00::/8", "https://[fd00::7]/v1", True),
        ("[fd00::7]", "https://[fd00::7]:8000/v1", True),
        ("[fd00::7]:80", "https://[fd00::7]:8000/v1", False),
        ("[fd00::7]:8000", "https://[fd00::7]:8000/v1", True),
        ("10.0.0.0/99,[,:,::ffff:/a,///,a.example:x", "https://a.example", False),
        (",.,", "https://a.example", False),
    ],
)
def test_what_no_proxy_excepts(
    exceptions: str, url: str, direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, ALL_PROXY="http://p:1", no_proxy=exceptions)
    assert (way(url) is None) is direct


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40))
def test_no_text_of_no_proxy_is_an_error(text: str) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_all(monkeypatch, ALL_PROXY="http://p:1", NO_PROXY=text)
        proxy_for("https://a.example:8000/v1")
        proxy_for("https://[fd00::7]/v1")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "127.1", "0.0.0.0",
     "2130706433", "::1", "::", "::ffff:127.0.0.1"],
)  # fmt: skip
def test_this_machine_is_never_asked_of_a_proxy(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, ALL_PROXY=DEAD, HTTP_PROXY=DEAD)
    assert is_here(host)
    assert way(f"http://[{host}]:8000/v1" if ":" in host else f"http://{host}:8000/v1") is None


@pytest.mark.parametrize("host", ["localhost.example", "127.example", "10.0.0.1", "fd00::1", "a"])
def test_other_machines_are(host: str) -> None:
    assert not is_here(host)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (f"http://anna:{SECRET}#1@127.0.0.1:9", "ALL_PROXY holds no address.*%23 for #"),
        (f"http://anna:{SECRET}/1@127.0.0.1:9", "ALL_PROXY holds no address"),
        (f"http://anna:8080/{SECRET}@127.0.0.1:9", "ALL_PROXY holds no address.*%2F for /"),
        (f"http://anna:80?{SECRET}@127.0.0.1:9", "ALL_PROXY holds no address.*%3F for ?"),
        (f"http://anna:80#{SECRET}@127.0.0.1:9", "ALL_PROXY holds no address"),
        (f"anna:8080/{SECRET}@127.0.0.1:9", "ALL_PROXY holds no address"),
        (f"anna:{SECRET}@127.0.0.1:99999", "ALL_PROXY holds no address"),
        (f"http://anna {SECRET}@127.0.0.1:9", "ALL_PROXY holds no address"),
        ("http://", "ALL_PROXY holds no address"),
        (f"socks4://anna:{SECRET}@127.0.0.1:9", "the proxy in ALL_PROXY.*begin with.*unset it"),
        (f"ftp://anna:{SECRET}@127.0.0.1:9", "the proxy in ALL_PROXY.*begin with"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_one_line(
    value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(ConfigurationError, match=says) as of_model:
        connect("openai:gpt-5-mini", timeout=1.0)
    with pytest.raises(ConfigurationError, match=says) as of_search:
        await SearxngSearch("https://find.example").search(["q"], 1)
    with pytest.raises(ConfigurationError, match=says) as of_pages:
        async with Fetcher(AddressGuard()) as fetcher:
            await fetcher.fetch("https://page.example")
    for raised in (of_model, of_search, of_pages):
        assert SECRET not in str(raised.value)
        assert "80" not in str(raised.value)
        assert "\n" not in str(raised.value)


async def test_a_socks_proxy_without_its_package_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://anna:{SECRET}@127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socksio", None)
    says = r"the proxy socks5://127.0.0.1:9 \(ALL_PROXY\).*pip install socksio, or unset ALL_PROXY"
    with pytest.raises(ConfigurationError, match=says) as said:
        connect("openai:gpt-5-mini", timeout=1.0)
    assert SECRET not in str(said.value)
    with pytest.raises(ConfigurationError, match=says):
        await SearxngSearch("https://find.example").search(["q"], 1)


async def plan_of(policy: ChatPolicy) -> str:
    try:
        return (await policy.continue_thread(PLAN, ("</subtask_list>",))).text
    finally:
        await policy.aclose()


async def a_model_writes(url: str) -> None:
    policy = ChatPolicy("fake", base_url=f"{url}/v1", rendering="turns", timeout=5.0)
    assert (await plan_of(policy)).endswith("</subtask_list>")


async def a_server_names_its_model(url: str) -> None:
    assert await served_model(f"{url}/v1") == "fake"


async def searxng_searches(url: str) -> None:
    (hits,) = await SearxngSearch(url).search(["q"], 1)
    assert hits.hits[0].url == "https://found.example/"


async def tavily_searches(url: str) -> None:
    (hits,) = await TavilySearch("tvly-of-the-test", base_url=url).search(["q"], 1)
    assert hits.hits[0].url == "https://found.example/"


async def a_page_is_read(url: str) -> None:
    async with Fetcher(AddressGuard()) as fetcher:
        answer = await fetcher.fetch(f"{url}/page")
    assert (answer.fault, answer.body) == (None, b"hello")


CLIENTS: list[Callable[[str], Awaitable[None]]] = [
    a_model_writes, a_server_names_its_model, searxng_searches, tavily_searches, a_page_is_read,
]  # fmt: skip


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    """A search service of both kinds, and a page."""
    results = json.dumps({"results": [{"url": "https://found.example/"}]})
    with running_site() as site:
        site.add("/search", results, content_type="application/json")
        site.add("/page", "hello")
        yield site


@pytest.fixture(scope="module")
def ports(site: Site) -> Iterator[dict[str, int]]:
    """Plain and TLS ports of a model's server and of the site, by what they are called."""
    context = authority().server("model.example", "site.example")
    with OpenAIServer(research_brain) as server:
        model, plain = (int(url.split(":")[2].split("/")[0]) for url in (server.base_url, site.url))
        with tls_before(model, context) as model_tls, tls_before(plain, context) as site_tls:
            yield {"model": model, "site": plain, "model tls": model_tls, "site tls": site_tls}


@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
@pytest.mark.parametrize("client", CLIENTS)
async def test_every_client_goes_by_the_proxy(
    client: Callable[[str], Awaitable[None]], kind: str, ports: dict[str, int], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """The names are known to the proxy alone, and so is the password."""
    name = "model" if "model" in client.__name__ else "site"
    tls = authority().server("127.0.0.1") if kind == "https" else None
    monkeypatch.setenv("SSL_CERT_FILE", authority().file(tmp_path))
    names, host = {f"{name}.example": ports[f"{name} tls"]}, f"{name}.example"
    with running_proxy(names, f"anna:{SECRET}", socks=kind.startswith("s"), tls=tls) as proxy:
        set_all(monkeypatch, HTTPS_PROXY=f"{kind}://anna:{SECRET}@{proxy.place}", NO_PROXY="b.test")
        await client(f"https://{host}")
    assert set(proxy.asked) == {(host, 443)}


@pytest.mark.parametrize("socks", [False, True])
@pytest.mark.parametrize("client", [searxng_searches, a_page_is_read])
async def test_plain_http_goes_by_the_proxy(
    client: Callable[[str], Awaitable[None]], socks: bool, ports: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    with running_proxy({"site.example": ports["site"]}, f"anna:{SECRET}", socks=socks) as proxy:
        address = f"{'socks5h' if socks else 'http'}://anna:{SECRET}@{proxy.place}"
        set_all(monkeypatch, http_proxy=address)
        await client("http://site.example")
    assert proxy.asked == [("site.example", 80)]


@pytest.mark.parametrize("client", [a_model_writes, a_server_names_its_model])
async def test_a_loopback_model_server_is_asked_directly(
    client: Callable[[str], Awaitable[None]], ports: dict[str, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    set_all(monkeypatch, ALL_PROXY=DEAD, HTTP_PROXY=DEAD, HTTPS_PROXY=DEAD)
    for host in ("127.0.0.1", "localhost", "0.0.0.0"):
        monkeypatch.setenv("ORESEARCH_ALLOW_PLAIN_HTTP", "1")
        await client(f"http://{host}:{ports['model']}")


async def test_so_is_a_loopback_search_service(
    ports: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_all(monkeypatch, ALL_PROXY=DEAD, HTTP_PROXY=DEAD)
    await searxng_searches(f"http://127.0.0.1:{ports['site']}")
    await tavily_searches(f"http://localhost:{ports['site']}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_model_in_its_second_event_loop_goes_by_the_proxy_too(
    ports: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority().file(tmp_path))
    with running_proxy({"model.example": ports["model tls"]}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
        policy = ChatPolicy("fake", base_url="https://model.example/v1", rendering="turns")

        async def once() -> str:
            return (await policy.continue_thread(PLAN, ("</subtask_list>",))).text

        texts = [asyncio.run(once()) for _ in range(2)]
        asyncio.run(policy.aclose())
    gc.collect()  # the sockets of loops that are gone
    assert texts[0] == texts[1]  # the name leads nowhere but by the proxy


async def test_an_mcp_server_is_reached_by_the_proxy(
    ports: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority().file(tmp_path))
    with running_proxy({"site.example": ports["site tls"]}) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{proxy.place}")
        connection = {"transport": "streamable_http", "url": "https://site.example/mcp"}
        with pytest.raises(ToolError, match="check their commands and addresses"):
            await mcp_tools({"docs": connection})
    assert set(proxy.asked) == {("site.example", 443)}


def test_the_doctor_says_by_which_way(
    ports: dict[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    set_all(monkeypatch, HTTPS_PROXY=DEAD, SSL_CERT_FILE=authority().file(tmp_path))
    url = f"http://127.0.0.1:{ports['model']}/v1"
    assert diagnose(url, None, ResearchSettings(search="python")) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.split(maxsplit=1) == [
        "network",
        "https by the proxy http://127.0.0.1:9 (HTTPS_PROXY), certificates of SSL_CERT_FILE",
    ]


def test_langchain_warns_of_no_proxy(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own warning says that the proxy is not used."""
    utilities = sys.modules.get("langchain_openai.chat_models._client_utils")
    if utilities is not None:
        monkeypatch.setattr(utilities, "_proxy_env_warning_emitted", False)
    monkeypatch.setenv("HTTPS_PROXY", DEAD)
    connect("openai:gpt-5-mini", timeout=1.0)
    assert caplog.records == []
