"""The guard: what is checked is what is connected to."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.errors import AddressRefused
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import Fetcher, FetchLimits
from tests.helpers.loopback_site import running_site

REFUSED = [
    "127.0.0.1", "127.8.8.8", "::1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.1.1",
    "169.254.169.254", "168.63.129.16", "100.64.0.1", "100.100.100.200", "0.0.0.0", "::",
    "224.0.0.1", "ff02::1", "240.0.0.1", "255.255.255.255", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fec0::1", "fd00:ec2::254", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "2002:7f00:1::", "2002:0a00:0001::1", "::7f00:1", "198.18.0.1", "192.0.2.1", "2001:db8::1",
]  # fmt: skip


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
    async def to_loopback(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

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


async def test_environment_proxies_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with running_site() as site:
        url = site.add("/page", "direct")
        async with Fetcher(AddressGuard(allow_private=True)) as fetcher:
            assert (await fetcher.fetch(url)).body == b"direct"
