"""Proxies and certificates of the environment: one line where they cannot be used, and none of
them between this machine and itself."""

from __future__ import annotations

import sys

import pytest

from oresearch_graph.errors import ConfigurationError
from oresearch_graph.policies.chat.connect import connect
from oresearch_graph.proxies import tls_context
from oresearch_graph.tools.providers.searxng import SearxngSearch
from tests.helpers.loopback_site import running_site

SOCKS = "socks5://anna:of-the-proxy@127.0.0.1:9"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("all_proxy", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


async def test_a_proxy_without_its_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", SOCKS)
    monkeypatch.setitem(sys.modules, "socksio", None)
    with pytest.raises(ConfigurationError, match=r"the proxy in ALL_PROXY.*socksio.*unset") as said:
        connect("openai:gpt-5-mini", extra={"api_key": "of-the-model"}, timeout=1.0)
    assert "of-the-proxy" not in str(said.value)
    with pytest.raises(ConfigurationError, match="the proxy in ALL_PROXY"):
        await SearxngSearch("https://find.example").search(["q"], 1)


async def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9" if name == "HTTP_PROXY" else SOCKS)
    assert connect("fake", base_url="http://127.0.0.1:9/v1", timeout=1.0) is not None
    with running_site() as site:
        site.add("/search", '{"results": []}')
        (hits,) = await SearxngSearch(site.url).search(["q"], 1)
    assert hits.fault is None
    assert len(site.asked) == 1


def test_certificates_that_cannot_be_read_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    with pytest.raises(ConfigurationError, match="certificates of SSL_CERT_FILE cannot be read"):
        tls_context()
