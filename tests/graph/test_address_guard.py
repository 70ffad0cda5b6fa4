"""The guard: what is checked is what is connected to."""

from __future__ import annotations

import asyncio
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.errors import AddressRefused
from oresearch_graph.tools.web import address_guard
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import Fetcher, FetchLimits
from tests.helpers.loopback_proxy import running_proxy, without_network_variables
from tests.helpers.loopback_site import running_site

REFUSED = [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.1.1",
    "169.254.169.254", "168.63.129.16", "100.64.0.1", "100.100.100.200", "0.0.0.0", "::",
    "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fec0::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2002:0a00:0001::1", "::7f00:1", "198.18.0.1", "192.0.2.1", "2001:db8::1",
]  # fmt: skip


async def to_loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_inside_are_refused(address: str) -> None:
    assert AddressGuard().refusal(address)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_pass(address: str) -> None:
    assert AddressGuard().refusal(address) is None


def test_the_setting_opens_private_addresses_but_not_metadata() -> None:
    guard = AddressGuard(allow_private=True)
    assert guard.refusal("127.0.0.1") is None
    assert guard.refusal("10.1.2.3") is None
    assert guard.refusal("169.254.169.254") == "a cloud metadata address"
    assert guard.refusal("::ffff:169.254.169.254")


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_gets_the_same_verdict(ip: ipaddress.IPv4Address) -> None:
    guard = AddressGuard()
    verdict = guard.refusal(str(ip))
    assert guard.refusal(f"::ffff:{ip}") == verdict
    nat64 = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) | int(ip))
    assert guard.refusal(str(nat64)) == verdict


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "localhost"])
async def test_every_spelling_of_loopback_is_refused_before_connecting(host: str) -> None:
    with running_site() as site:
        port = site.url.rpartition(":")[2]
        async with Fetcher(AddressGuard()) as fetcher:
            answer = await fetcher.fetch(f"http://{host}:{port}/secret")
        assert "loopback" in str(answer.fault) or "Invalid IPv4" in str(answer.fault)
        assert site.asked == []


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "gopher://h", "http://", "x"]
)
async def test_only_http_and_https(url: str) -> None:
    with pytest.raises(AddressRefused, match="no web address"):
        AddressGuard().check_url(url)
    async with Fetcher(AddressGuard(allow_private=True)) as fetcher:
        assert "no web address" in str((await fetcher.fetch(url)).fault)


async def test_the_checked_address_is_the_one_connected_to() -> None:
    """A rebinding resolver: public when first asked, loopback ever after. One question is asked
    per connection, and its answer is what the socket goes to."""
    answers: list[str] = []

    async def rebinding(host: str, port: int) -> list[str]:
        answers.append(host)
        return ["203.0.113.7"] if len(answers) == 1 else ["127.0.0.1"]

    guard = AddressGuard(resolver=rebinding)
    with running_site() as site:
        port = site.url.rpartition(":")[2]
        async with Fetcher(guard, FetchLimits(connect_seconds=0.3)) as fetcher:
            await fetcher.fetch(f"http://rebind.test:{port}/")
        assert site.asked == []
    assert answers == ["rebind.test"]


async def test_the_name_stays_in_the_host_header() -> None:
    with running_site() as site:
        site.add("/page", "hello")
        port = site.url.rpartition(":")[2]
        guard = AddressGuard(allow_private=True, resolver=to_loopback)
        async with Fetcher(guard) as fetcher:
            answer = await fetcher.fetch(f"http://docs.example.test:{port}/page")
        assert answer.body == b"hello"
        assert site.asked[0].headers["Host"] == f"docs.example.test:{port}"


async def test_a_redirect_inside_is_refused() -> None:
    async def outside_is_loopback_too(host: str, port: int) -> list[str]:
        return ["127.0.0.1"] if host == "outside.test" else ["10.0.0.8"]

    class OutsideAllowed(AddressGuard):
        def refusal(self, address: str) -> str | None:
            return None if address == "127.0.0.1" else super().refusal(address)

    with running_site() as site:
        site.add("/go", status=302, headers={"Location": "http://inside.test/admin"})
        port = site.url.rpartition(":")[2]
        async with Fetcher(OutsideAllowed(resolver=outside_is_loopback_too)) as fetcher:
            answer = await fetcher.fetch(f"http://outside.test:{port}/go")
        assert "inside.test is a private or reserved address" in str(answer.fault)


async def test_this_machine_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with running_site() as site:
        url = site.add("/page", "direct")
        async with Fetcher(AddressGuard(allow_private=True)) as fetcher:
            assert (await fetcher.fetch(url)).body == b"direct"


def proxied(monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    without_network_variables(monkeypatch)
    monkeypatch.setenv("ALL_PROXY", f"http://{place}")


INSIDE = [
    "http://10.0.0.1/", "http://192.168.1.1:8080/", "http://169.254.1.1/", "http://[fd00::7]/",
    "http://[::ffff:10.0.0.1]/", "http://0x0a.1/", "http://167772161/", "http://012.0.0.1/",
    "http://127.0.0.1/", "http://127.1/", "http://localhost/", "http://a.localhost/",
    "http://0.0.0.0/", "http://router/", "http://nas.local/", "http://wiki.corp/",
    "http://db.internal./", "http://DB.Internal/", "http://169.254.169.254/latest/meta-data",
    "http://metadata.google.internal/", "http://metadata/", "http://metadata.goog/",
    "http://[fd00:ec2::254]/", "https://10.0.0.1/",
]  # fmt: skip


@pytest.mark.parametrize("url", INSIDE)
async def test_no_proxy_is_asked_for_an_address_inside(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_proxy({}) as proxy:
        proxied(monkeypatch, proxy.place)
        async with Fetcher(AddressGuard()) as fetcher:
            answer = await fetcher.fetch(url)
    assert answer.fault is not None
    assert proxy.asked == []


async def test_nor_for_a_name_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its one public address does not help: which of them the proxy takes is not known."""

    async def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.8"]

    with running_proxy({}) as proxy:
        proxied(monkeypatch, proxy.place)
        async with Fetcher(AddressGuard(resolver=both)) as fetcher:
            answer = await fetcher.fetch("https://page.example/")
    assert "page.example is a private or reserved address" in str(answer.fault)
    assert proxy.asked == []


async def test_nor_for_a_redirect_that_leads_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    with running_site() as site:
        places = ["http://10.0.0.1/", "http://metadata.google.internal/x", "http://localhost:1/"]
        for number, place in enumerate(places):
            site.add(f"/{number}", status=302, headers={"Location": place})
        with running_proxy({"page.example": int(site.url.rpartition(":")[2])}) as proxy:
            proxied(monkeypatch, proxy.place)
            async with Fetcher(AddressGuard()) as fetcher:
                for number in range(len(places)):
                    answer = await fetcher.fetch(f"http://page.example/{number}")
                    assert "which is not fetched" in str(answer.fault)
    assert {host for host, _ in proxy.asked} == {"page.example"}


async def test_a_name_that_only_the_proxy_knows_is_the_proxys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(address_guard, "_LOOK_UP_SECONDS", 0.05)
    with running_site() as site:
        site.add("/page", "hello")
        with running_proxy({"page.example": int(site.url.rpartition(":")[2])}) as proxy:
            proxied(monkeypatch, proxy.place)
            for guard in (AddressGuard(), AddressGuard(resolver=silent)):
                async with Fetcher(guard) as fetcher:
                    assert (await fetcher.fetch("http://page.example/page")).body == b"hello"
    assert len(proxy.asked) == 2


async def test_private_names_may_be_allowed_through_a_proxy_but_no_metadata(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_site() as site:
        site.add("/page", "hello")
        port = int(site.url.rpartition(":")[2])
        with running_proxy({"wiki": port, "10.0.0.9": port, "metadata.goog": port}) as proxy:
            proxied(monkeypatch, proxy.place)
            async with Fetcher(AddressGuard(allow_private=True)) as fetcher:
                assert (await fetcher.fetch("http://wiki/page")).body == b"hello"
                assert (await fetcher.fetch("http://10.0.0.9/page")).body == b"hello"
                refused = await fetcher.fetch("http://metadata.goog/page")
                direct = await fetcher.fetch(f"{site.url}/page")
    assert "a cloud metadata name" in str(refused.fault)
    assert direct.body == b"hello"
    assert [host for host, _ in proxy.asked] == ["wiki", "10.0.0.9"]


async def test_a_page_that_no_proxy_excepts_is_fetched_directly(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_site() as site, running_proxy({}) as proxy:
        site.add("/page", "hello")
        proxied(monkeypatch, proxy.place)
        monkeypatch.setenv("NO_PROXY", "docs.example.test")
        port = site.url.rpartition(":")[2]
        guard = AddressGuard(allow_private=True, resolver=to_loopback)
        async with Fetcher(guard) as fetcher:
            answer = await fetcher.fetch(f"http://docs.example.test:{port}/page")
    assert answer.body == b"hello"
    assert proxy.asked == []
