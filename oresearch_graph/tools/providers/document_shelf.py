"""Documents that a search handed over whole, kept so that they can be opened by address. Some
retrievers and tools have no other way to read a document."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from oresearch_graph.tools.backend import Hit, Page, PageReader
from oresearch_graph.tools.reading.html_text import iso_date
from oresearch_graph.trace.plain_text import admissible_address

_ADDRESSES: Final = ("url", "link", "href", "source", "file_path", "path")
_TITLES: Final = ("title", "name", "heading")
_DATES: Final = ("published", "published_date", "publishedDate", "date", "page_age")


class DocumentShelf:
    """Texts by address, the most recent `size` addresses; parts of one document are joined.

    What its source calls it is a document's address where it can be one, else what follows
    `document:` and the `shelf`'s name."""

    def __init__(
        self, fallback: PageReader | None = None, shelf: str = "", size: int = 5_000
    ) -> None:
        self._prefix = f"document:{shelf}/" if shelf else "document:"
        self._fallback = fallback
        self._size = size
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, text: str, facts: Mapping[str, Any]) -> Hit:
        """Keep a text under the address its facts state, or else one made of its content."""
        stated = next((str(facts[name]) for name in _ADDRESSES if facts.get(name)), "")
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        hit = Hit(
            url=self._address(stated, digest),
            title=next((str(facts[name]) for name in _TITLES if facts.get(name)), ""),
            snippet=text,
            published=next(filter(None, (iso_date(str(facts.get(n) or "")) for n in _DATES)), None),
        )
        with self._lock:
            self._keep(hit, text)
        return hit

    def _address(self, stated: str, digest: str) -> str:
        own = f"{self._prefix}{stated}" if stated else ""
        addresses = (admissible_address(" ".join(each.split())) for each in (stated, own))
        return next(filter(None, addresses), f"{self._prefix}{digest}")

    def _keep(self, hit: Hit, text: str) -> None:
        before = self._pages.pop(hit.url, None)
        if before is not None and text not in before.text:
            text = f"{before.text}\n\n{text}"
        elif before is not None:
            text = before.text
        self._pages[hit.url] = Page(
            url=hit.url, title=hit.title, text=text, published=hit.published
        )
        while len(self._pages) > self._size:
            self._pages.popitem(last=False)

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        """Kept documents; other addresses by the fallback reader, where there is one."""
        with self._lock:
            pages = {url: self._pages[url] for url in urls if url in self._pages}
        others = list(dict.fromkeys(url for url in urls if url not in pages))
        if others and self._fallback is not None:
            read = await self._fallback.read(others, focus)
            pages |= dict(zip(others, read, strict=True))
        fault = "is not among the documents found: open addresses that a search gave"
        return [pages.get(url) or Page(url=url, fault=fault) for url in urls]
