"""Bytes to text: kinds, charsets, titles and dates."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oresearch_graph.tools.reading.extract import clean, extract
from oresearch_graph.tools.reading.html_text import HUGE
from oresearch_graph.tools.web.address_guard import AddressGuard
from oresearch_graph.tools.web.reader import WebReader
from tests.helpers.loopback_site import running_site
from tests.helpers.small_pdf import pdf

ARTICLE = """<!doctype html><html><head><title>Tides - Site</title>
<meta property="article:published_time" content="2024-03-05T10:00:00Z"></head><body>
<nav><a href="/">Home</a> <a href="/x">Menu entry</a></nav>
<article><h1>Tides</h1><p>The moon pulls the water of the oceans towards it, and the water
rises twice each day on most coasts of the world.</p>
<p>A spring tide comes when sun and moon stand in one line with the earth.</p>
<pre>high = 2
  low = 1</pre></article><footer>Imprint</footer></body></html>"""


@pytest.mark.parametrize("fast", [False, True])
def test_html_gives_its_article_title_and_date(fast: bool) -> None:
    found = extract(ARTICLE.encode(), "text/html", fast=fast)
    assert "twice each day on most coasts" in found.text
    assert "towards it, and the water rises" in found.text
    assert "Menu entry" not in found.text
    assert "Imprint" not in found.text
    assert "high = 2\n  low = 1" in found.text
    assert "Tides" in found.title
    assert found.published == "2024-03-05"


def test_a_huge_page_is_read_whole_and_quickly() -> None:
    rows = "".join(f"<p>Row number {i} of the table of everything.</p>" for i in range(30_000))
    assert len(rows) > HUGE * 0.8
    text = extract(f"<html><body>{rows}{rows}</body></html>".encode(), "text/html").text
    assert text.count("Row number 29999 ") == 2


def test_a_page_without_an_article_falls_back_to_all_its_text() -> None:
    assert "7 kg" in extract(b"<html><body><table><td>7 kg</table></body></html>", "text/html").text


def test_pdf_with_its_metadata() -> None:
    found = extract(pdf("Spring tides are higher."), "application/pdf")
    assert found == ("Spring tides are higher.", "On tides", "2023-04-07", None, None)


def test_a_damaged_pdf_and_other_kinds_are_faults() -> None:
    assert "cannot be read" in str(extract(b"%PDF-1.4 garbage", "application/pdf").fault)
    assert extract(b"\x89PNG\0", "image/png").fault == "is image/png: no text to read"
    assert extract(b"\0\1\2", "").fault == "is of an unknown kind: no text to read"
    assert extract(b"<html><body></body></html>", "text/html").fault == "holds no text"


def test_plain_text_and_markdown_stay_as_they_are() -> None:
    found = extract(b"# Tides\r\n\r\n- *high*\r\n- low\r\n", "text/markdown")
    assert (found.text, found.title) == ("# Tides\n\n- *high*\n- low", "Tides")


CHINESE = "潮汐是海水的周期性涨落现象，由月球引起。"


@given(st.binary(max_size=300), st.sampled_from(["text/html", "text/plain", "application/pdf", ""]))
def test_any_bytes_give_text_or_a_fault(body: bytes, media_type: str) -> None:
    found = extract(body, media_type, fast=True)
    assert bool(found.text) == (found.fault is None)
    assert found.text == clean(found.text)
    found.text.encode()


async def test_the_web_reader_reads_what_a_server_gives() -> None:
    with running_site() as site:
        urls = [
            site.add("/a", ARTICLE),
            site.add("/p.pdf", pdf("Spring tides."), content_type="application/pdf"),
            site.url + "/gone",
            site.add("/zh", CHINESE.encode("gbk"), content_type="text/plain; charset=gb2312"),
            site.add("/moved", status=301, headers={"Location": "/p.pdf"}),
        ]
        pages = await WebReader(AddressGuard(allow_private=True)).read(urls, "tides")
    assert [page.url for page in pages] == urls
    assert [page.fault for page in pages] == [None, None, "HTTP status 404", None, None]
    assert pages[0].published == "2024-03-05"
    assert pages[3].text == CHINESE
    assert (pages[4].text, pages[4].final_url) == ("Spring tides.", urls[1])
