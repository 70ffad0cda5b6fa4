"""Documents that a search handed over whole, kept so that they can be opened by address. Some
retrievers and tools have no other way to read a document."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from oresearch_graph.tools.backend import Hit, Page, PageReader
from oresearch_graph.tools.html_text import iso_date

_ADDRESSES: Final = ("url", "link", "href", "source", "file_path", "path")
_TITLES: Final = ("title", "name", "heading")
_DATES: Final = ("published", "published_date", "publishedDate", "date", "page_age")
_SNIPPET: Final = 20_000
"""Characters: an observation cuts it to what matters."""
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:\S")


class DocumentShelf:
    """Texts by address, the most recent `size` addresses; parts of one document are joined."""

    def __init__(self, scheme: str, fallback: PageReader | None = None, size: int = 5_000) -> None:
        self._scheme = scheme
        self._fallback = fallback
        self._size = size
        self._pages: OrderedDict[str, Page] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, text: str, facts: Mapping[str, Any]) -> Hit:
        """Keep a text under the address its facts state, or else one made of its content."""
        stated = next((str(facts[name]) for name in _ADDRESSES if facts.get(name)), "")
        digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]
        hit = Hit(
            url=self._address(stated or digest),
            title=next((str(facts[name]) for name in _TITLES if facts.get(name)), ""),
            snippet=text[:_SNIPPET],
            published=next(filter(None, (iso_date(str(facts.get(n) or "")) for n in _DATES)), None),
        )
        with self._lock:
            self._keep(hit, text)
        return hit

    def _address(self, stated: str) -> str:
        """With a scheme and without white space, which would break citations."""
        joined = "%20".join(stated.split())
        return joined if _SCHEME.match(joined) else f"{self._scheme}:{joined}"

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
