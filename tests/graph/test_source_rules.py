"""Source rules on hits, before a page is read, and after redirects."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pytest
from pydantic import ValidationError

from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hit, Hits, Page
from oresearch_graph.tools.source_rules import RuledReader, RuledSearch, SourceRules


@pytest.mark.parametrize(
    ("url", "admitted"),
    [
        ("https://example.com/a", True),
        ("https://docs.Example.COM./a", True),
        ("https://evil-example.com/", False),
        ("https://example.com.evil.org/", False),
        ("https://example.com@evil.org/", False),
        ("https://secret.example.com/", False),
        ("https://deep.secret.example.com:8443/", False),
        ("https://bücher.de/", True),
        ("https://xn--bcher-kva.de/", True),
        ("file:///home/me/notes.md", True),
        ("python:topic/with", True),
    ],
)
def test_domains(url: str, admitted: bool) -> None:
    rules = SourceRules(
        include_domains=("https://www.example.com/", "*.example.com", "bücher.de"),
        exclude_domains=(".secret.example.com",),
    )
    assert (rules.refusal(url) is None) == admitted


def test_www_is_a_sub_domain_like_any_other() -> None:
    rules = SourceRules(include_domains=("www.example.com",))
    assert rules.refusal("https://example.com/")


@pytest.mark.parametrize("domain", ["example.com/docs", "", "two words"])
def test_a_domain_that_is_none(domain: str) -> None:
    with pytest.raises(ValidationError, match="write it like example"):
        SourceRules(include_domains=(domain,))


def test_dates_bound_what_states_one() -> None:
    rules = SourceRules(published_after=date(2024, 1, 1), published_before=date(2024, 12, 31))
    url = "https://a.org/"
    assert rules.refusal(url, "2023-12-31T23:00:00Z")
    assert rules.refusal(url, "2025-01-01")
    assert rules.refusal(url, "2024-01-01") is None
    assert rules.refusal(url, None) is None
    assert rules.refusal(url, "last week") is None


def test_from_settings() -> None:
    settings = ResearchSettings(include_domains=("a.org",), published_after=date(2024, 1, 1))
    assert SourceRules.of(settings).include_domains == ("a.org",)
    assert SourceRules.of(ResearchSettings()).empty


class Backend:
    name = "fake"

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.read_urls: list[str] = []

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        self.asked.append(k)
        hosts = ["a.org", "b.org", "c.a.org", "a.org"][:k]
        hits = tuple(Hit(url=f"https://{host}/{i}") for i, host in enumerate(hosts))
        return [Hits(query=query, hits=hits) for query in queries]

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        self.read_urls += urls
        moved = "https://b.org/new"
        return [
            Page(url=url, text="t", final_url=moved if "moved" in url else None) for url in urls
        ]


async def test_hits_are_filtered_for_any_backend() -> None:
    backend = Backend()
    found = await RuledSearch(backend, SourceRules(exclude_domains=("b.org",))).search(["q"], 2)
    assert [hit.url for hit in found[0].hits] == ["https://a.org/0", "https://c.a.org/2"]


async def test_pages_are_held_before_reading_and_by_the_final_address() -> None:
    backend = Backend()
    reader = RuledReader(backend, SourceRules(exclude_domains=("b.org",)))
    urls = ["https://b.org/x", "https://a.org/moved", "https://a.org/ok"]
    pages = await reader.read(urls, "")
    assert backend.read_urls == urls[1:]
    assert [page.url for page in pages] == urls
    assert [bool(page.fault) for page in pages] == [True, True, False]
    assert pages[1].text == ""
