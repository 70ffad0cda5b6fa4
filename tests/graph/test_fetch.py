"""The fetcher's caps, against a real server."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator

import pytest

from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import Fetched, Fetcher, FetchLimits
from tests.helpers.loopback_site import Answer, Site, running_site

OPEN = AddressGuard(allow_private=True)


@pytest.fixture
def site() -> Iterator[Site]:
    with running_site() as site:
        yield site


async def fetch(url: str, **limits: float) -> Fetched:
    async with Fetcher(OPEN, FetchLimits(**limits)) as fetcher:  # type: ignore[arg-type]
        return await fetcher.fetch(url)


async def test_a_page_with_its_type_and_charset(site: Site) -> None:
    answer = await fetch(
        site.add("/a", "é".encode("latin-1"), content_type="text/plain; charset=latin-1")
    )
    assert (answer.media_type, answer.charset, answer.body) == ("text/plain", "latin-1", b"\xe9")


async def test_a_404_is_data(site: Site) -> None:
    assert (await fetch(site.url + "/gone")).fault == "HTTP status 404"


async def test_redirects_are_followed_and_counted(site: Site) -> None:
    site.add("/end", "there")
    site.add("/start", status=301, headers={"Location": "/end"})
    site.add("/loop", status=302, headers={"Location": "/loop"})
    answer = await fetch(site.url + "/start")
    assert (answer.url, answer.body) == (site.url + "/end", b"there")
    assert (await fetch(site.url + "/loop", redirects=3)).fault == "more than 3 redirects"
    assert site.paths().count("/loop") == 4


async def test_the_byte_cap(site: Site) -> None:
    site.add("/large", b"x" * 3_000_000)
    assert (await fetch(site.url + "/large", body_bytes=1_000_000)).fault == "larger than 1 MB"


async def test_a_compression_bomb_is_stopped_by_its_unpacked_size(site: Site) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    site.add("/bomb", bomb, headers={"Content-Encoding": "gzip"})
    assert (await fetch(site.url + "/bomb", body_bytes=2_000_000)).fault == "larger than 2 MB"


async def test_gzip_is_unpacked(site: Site) -> None:
    site.add("/z", gzip.compress(b"packed text"), headers={"Content-Encoding": "gzip"})
    site.add("/bad", b"no gzip", headers={"Content-Encoding": "gzip"})
    site.add("/br", b"??", headers={"Content-Encoding": "br"})
    assert (await fetch(site.url + "/z")).body == b"packed text"
    assert "damaged compression" in str((await fetch(site.url + "/bad")).fault)
    assert "not asked for" in str((await fetch(site.url + "/br")).fault)


async def test_the_seconds_cap(site: Site) -> None:
    def slow(_: object) -> Answer:
        time.sleep(0.6)
        return Answer(b"late")

    site.pages["/slow"] = slow
    began = time.monotonic()
    answer = await fetch(site.url + "/slow", seconds=0.2)
    assert answer.fault
    assert time.monotonic() - began < 0.5


async def test_a_host_that_does_not_answer_is_data() -> None:
    answer = await fetch("http://127.0.0.1:1/")
    assert answer.fault is not None
    assert answer.fault.startswith("cannot be fetched")
