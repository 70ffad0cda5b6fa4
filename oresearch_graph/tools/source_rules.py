"""Source rules: which domains and dates a run may use, for every backend and reader.

Held four times: given to the backends that can search by them, on the hits, before a page is
read, and on the address that redirects led to. Two limits, on purpose: an address without a host
(`file:`, `python:`) is outside the domain rules, since choosing a corpus has chosen its documents;
and a source that states no date passes the date rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Final, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, field_validator

from oresearch_graph.settings import ResearchSettings
from oresearch_graph.tools.backend import Hit, Hits, Page, PageReader, SearchBackend

_LONGEST_HOST: Final = 253
"""Characters of a name that DNS takes; a longer one is not worth spelling in ASCII."""


class SourceRules(BaseModel):
    """Domains (with their sub-domains) and dates that sources must obey."""

    model_config = ConfigDict(frozen=True)

    include_domains: tuple[str, ...] = ()
    """When any are named, only these."""
    exclude_domains: tuple[str, ...] = ()
    """Never these; stronger than an include."""
    published_after: date | None = None
    """On or after."""
    published_before: date | None = None
    """On or before."""

    @field_validator("include_domains", "exclude_domains")
    @classmethod
    def _plain(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(plain_domain(domain) for domain in domains))

    @classmethod
    def of(cls, settings: ResearchSettings) -> Self:
        return cls(
            include_domains=settings.include_domains,
            exclude_domains=settings.exclude_domains,
            published_after=settings.published_after,
            published_before=settings.published_before,
        )

    @property
    def empty(self) -> bool:
        return self == SourceRules()

    def refusal(self, url: str, published: str | None = None) -> str | None:
        """Why the source rules leave `url` out; None when they admit it."""
        host = _host(url)
        if host and any(_under(host, domain) for domain in self.exclude_domains):
            return f"{host} is excluded by the source rules"
        included = any(_under(host, domain) for domain in self.include_domains)
        if host and self.include_domains and not included:
            return f"{host} is not among the domains that the source rules include"
        return self._date_refusal(published)

    def _date_refusal(self, published: str | None) -> str | None:
        try:
            day = date.fromisoformat((published or "")[:10])
        except ValueError:
            return None
        if self.published_after and day < self.published_after:
            return f"published {day}, before {self.published_after} of the source rules"
        if self.published_before and day > self.published_before:
            return f"published {day}, after {self.published_before} of the source rules"
        return None


def plain_domain(domain: str) -> str:
    """A domain as compared: from `https://Docs.Example.com/`, `*.example.com` or `.example.com`.

    Raises ValueError for a domain with a path, which would be wider than what was meant.
    """
    text = domain.strip()
    parts = urlsplit(text if "//" in text else f"//{text}")
    host = (parts.hostname or "").removeprefix("*.").strip(".")
    if not host or parts.path.strip("/") or " " in host:
        raise ValueError(f"{domain!r} is no domain: write it like example.com")
    return _ascii(host)


def _ascii(host: str) -> str:
    if len(host) > _LONGEST_HOST:
        return host.lower()
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return host.lower()


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return ""
    return _ascii(host.rstrip(".")) if parts.scheme in ("http", "https") else ""


def _under(host: str, domain: str) -> bool:
    return host == domain or host.endswith("." + domain)


class RuledSearch:
    """A search backend whose hits obey the rules. Asks for more than `k` when rules apply, so
    that what is left out does not leave the list empty."""

    def __init__(self, backend: SearchBackend, rules: SourceRules) -> None:
        self.name = backend.name
        self.backend = backend
        self._rules = rules

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        results = await self.backend.search(queries, k if self._rules.empty else 2 * k)
        return [self._ruled(hits, k) for hits in results]

    def _ruled(self, hits: Hits, k: int) -> Hits:
        admitted = [hit for hit in hits.hits if self._admits(hit)]
        return hits.model_copy(update={"hits": tuple(admitted[:k])})

    def _admits(self, hit: Hit) -> bool:
        return self._rules.refusal(hit.url, hit.published) is None


class RuledReader:
    """A page reader that opens what the rules admit, and checks again what came."""

    def __init__(self, reader: PageReader, rules: SourceRules) -> None:
        self.name = reader.name
        self._reader = reader
        self._rules = rules

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        refused = {url: self._rules.refusal(url) for url in urls}
        open_to_us = [url for url in dict.fromkeys(urls) if refused[url] is None]
        read = await self._reader.read(open_to_us, focus) if open_to_us else []
        pages = dict(zip(open_to_us, read, strict=True))
        return [
            self._checked(pages[url]) if url in pages else Page(url=url, fault=refused[url])
            for url in urls
        ]

    def _checked(self, page: Page) -> Page:
        refusal = self._rules.refusal(page.final_url or page.url, page.published)
        if refusal is None:
            return page
        return Page(url=page.url, final_url=page.final_url, fault=refusal)
