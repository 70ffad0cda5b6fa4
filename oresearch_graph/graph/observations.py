"""What a researcher is shown of results, pages and answers of tools, and which sources that is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple
from urllib.parse import urlencode

from oresearch_graph.evidence.ledger import SourceLedger, cut_to, query_heading, source_block
from oresearch_graph.graph.extra_tools import ToolAnswer, shelf_of
from oresearch_graph.known_secrets import known_secrets, without_known
from oresearch_graph.tools.backend import PAGE, Hits, Page
from oresearch_graph.trace import Call
from oresearch_graph.trace.plain_text import body_text

_HIT_TOKENS: Final = 90
"""Of one result, its number, title and address among them, at least."""

Shown = tuple[str, list[int]]
"""An observation's text and the ledger ids it shows."""


class Showing(NamedTuple):
    """An observation that may be shown, and the ledger as it is then."""

    text: str
    ledger: SourceLedger
    show: Callable[[], Shown]


class Display:
    """Shows what a branch's calls brought, under the numbers of its source ledger."""

    def __init__(self, ledger: SourceLedger, focus: str, tokens: int) -> None:
        """`tokens`: of one observation; `focus`: what passages are chosen by."""
        self.ledger = ledger
        self._focus, self._tokens = focus, tokens

    def preview(self, show: Callable[[], Shown], earlier: Sequence[Showing] = ()) -> Showing:
        """What would be shown, after what would be shown `earlier`; this ledger is left as it
        is."""
        ledger = self.ledger
        self.ledger = (earlier[-1].ledger if earlier else ledger).copy()
        try:
            return Showing(without_known(show()[0]), self.ledger, show)
        finally:
            self.ledger = ledger

    def settle(self, showings: Sequence[Showing], text: str) -> Shown:
        """Show a text in place of previews: one of them as it is, or what is left of them all."""
        for showing in showings:
            if showing.text == text:
                return showing.show()
        text = without_known(body_text(text, PAGE))
        earlier, self.ledger = self.ledger, showings[-1].ledger
        before = "\n\n".join(showing.text for showing in showings)
        return text, self.ledger.reshow(before, text, earlier)

    def hits(self, hits: Sequence[Hits]) -> Shown:
        """The results of each query, in shares of the observation."""
        most = max(1, self._tokens // (_HIT_TOKENS * len(hits))) if hits else 0
        hits = [result.model_copy(update={"hits": result.hits[:most]}) for result in hits]
        each = max(60, self._tokens // max(1, sum(len(result.hits) for result in hits)))
        excerpts = [
            [cut_to(hit.snippet, f"{result.query} {self._focus}", each) for hit in result.hits]
            for result in hits
        ]
        parts, ids, secrets = [], [], known_secrets()
        for result, texts in zip(hits, excerpts, strict=True):
            parts.append(query_heading(result.query))
            if result.fault:
                parts.append(f"This query failed: {result.fault}")
            elif not result.hits:
                parts.append("No results.")
            for hit, text in zip(result.hits, texts, strict=True):
                earlier = self.ledger.get(hit.url)
                again = earlier is not None and earlier.id in ids
                source = self.ledger.show(
                    hit.url, text, title=hit.title, published=hit.published, secrets=secrets
                )
                parts.append(source_block(source, "(shown above)" if again else text))
                ids.append(source.id)
        return "\n\n".join(parts), list(dict.fromkeys(ids))

    def pages(self, pages: Sequence[Page]) -> Shown:
        """Pages as they were cut by their reader, and why one was not read."""
        parts, ids = [], []
        for page in pages:
            if page.fault is not None:
                parts.append(f"{page.url}: could not be read: {page.fault}")
                continue
            source = self.ledger.show(
                page.url, page.text, title=page.title, read=True, published=page.published
            )
            parts.append(source_block(source, page.text))
            ids.append(source.id)
        return "\n\n".join(parts), list(dict.fromkeys(ids))

    def answer(self, call: Call, answer: ToolAnswer) -> Shown:
        """An extra tool's answer becomes a source of its own, so that it can be cited; documents
        behind it are the sources where they say all of it."""
        content, documents = answer
        text = content if isinstance(content, str) else json.dumps(content, default=str)
        hits = [shelf_of(call.tool).put(each.page_content, each.metadata) for each in documents]
        parts, ids = list[str](), list[int]()
        if not hits or any(hit.snippet not in text for hit in hits):
            block, ids = self.text(call, text, self._tokens // (2 if hits else 1))
            parts = [block]
        left = self._tokens // (len(hits) * (2 if parts else 1)) if hits else 0
        for hit in hits:
            excerpt = cut_to(body_text(hit.snippet, PAGE), self._focus, left)
            source = self.ledger.show(
                hit.url, excerpt, title=hit.title, read=True, published=hit.published
            )
            parts.append(source_block(source, excerpt))
            ids.append(source.id)
        return "\n\n".join(parts), list(dict.fromkeys(ids))

    def text(self, call: Call, text: str, tokens: int | None = None) -> Shown:
        """An answer as a source of its own, cut to so many tokens."""
        text = cut_to(body_text(text, PAGE), self._focus, tokens or self._tokens)
        arguments = call.arguments or {}
        url = f"tool:{call.tool}?{urlencode(sorted(arguments.items()))}"
        title = f"{call.tool} {json.dumps(arguments, ensure_ascii=False)}"
        source = self.ledger.show(url, text, title=title, read=True)
        return source_block(source, text), [source.id]
