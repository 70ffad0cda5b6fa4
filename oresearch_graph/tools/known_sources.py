"""Sources at hand, asked before a search or a reader: what they answer is not searched again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oresearch_graph.text.passages import best_passages
from oresearch_graph.text.words import terms
from oresearch_graph.tools.backend import Hit, Hits, Page, PageReader, SearchBackend
from oresearch_graph.trace import Source
from oresearch_graph.trace.references import same_address

_COVERED: Final = 0.8
"""Share of a query's terms that one source must hold to count as an answer."""
_SNIPPET_TOKENS: Final = 300


def known_first(
    search: SearchBackend, reader: PageReader, sources: Sequence[Source]
) -> tuple[SearchBackend, PageReader]:
    """The backend and reader, with the known sources asked first."""
    return _KnownFirstSearch(search, sources), _KnownFirstReader(reader, sources)


class _KnownFirstSearch:
    def __init__(self, beyond: SearchBackend, sources: Sequence[Source]) -> None:
        self.name = f"ledger, then {beyond.name}"
        self._beyond = beyond
        self._known = [(source, frozenset(terms(source.text))) for source in sources if source.text]

    async def search(self, queries: Sequence[str], k: int) -> list[Hits]:
        hits = {query: self._from_known(query, k) for query in queries}
        outside = [query for query, of_query in hits.items() if not of_query.hits]
        if outside:
            new = await self._beyond.search(outside, k)
            hits |= dict(zip(outside, new, strict=True))
        return [hits[query] for query in queries]

    def _from_known(self, query: str, k: int) -> Hits:
        query_terms = set(terms(query))
        ranked = sorted(
            (
                (len(query_terms & words) / max(1, len(query_terms)), source)
                for source, words in self._known
            ),
            key=lambda pair: (-pair[0], pair[1].id),
        )
        return Hits(
            query=query,
            hits=tuple(
                Hit(
                    url=source.url,
                    title=source.title,
                    snippet="\n".join(
                        passage.text
                        for passage in best_passages(source.text, query, _SNIPPET_TOKENS)
                    ),
                    published=source.published,
                )
                for share, source in ranked[:k]
                if share >= _COVERED
            ),
        )


class _KnownFirstReader:
    def __init__(self, beyond: PageReader, sources: Sequence[Source]) -> None:
        self.name = beyond.name
        self._beyond = beyond
        self._read = {same_address(s.url): s for s in sources if s.read and s.text}

    async def read(self, urls: Sequence[str], focus: str) -> list[Page]:
        outside = [url for url in urls if same_address(url) not in self._read]
        fetched = await self._beyond.read(outside, focus) if outside else []
        pages = dict(zip(outside, fetched, strict=True))
        return [pages.get(url) or self._page(url) for url in urls]

    def _page(self, url: str) -> Page:
        source = self._read[same_address(url)]
        return Page(url=url, title=source.title, text=source.text, published=source.published)
