"""How much of a report is its pages' own text, and citations that bear nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.text.scripts import CJK
from oresearch_graph.text.words import terms
from oresearch_graph.trace.answer import ParsedAnswer
from oresearch_graph.trace.look_alikes import as_seen
from oresearch_graph.trace.record import CitationReport, Claim, Source
from oresearch_graph.trace.references import same_address

_RUN: Final = 15
"""Words in a row that a report has from a page only where it copies; the facts of the tiny world,
which are to be stated as they stand, make runs of twelve."""
_WIDE: Final = 2
"""Characters of Chinese or Japanese that count as one word."""
_MANY: Final = 3
"""Sources behind one sentence from which on each must bear something of its own."""
_CLAIMS: Final = 60
"""Sentences whose citations are looked into."""
_TOKEN: Final = re.compile(rf"[{CJK}]|(?:(?![{CJK}_])\w)+")
_ASCII_BREAKS: Final = {code: " " for code in range(128) if not chr(code).isalnum()}
"""What parts words in ASCII, of which this finds tokens in a tenth of the time."""


def verbatim_share(report: ParsedAnswer, sources: Sequence[Source]) -> float:
    """Share of the body's words that stand in long runs of words of one source. Letters that look
    alike and invisible characters make no difference."""
    body = _tokens(report.plain(0, report.body_end))
    run = _RUN * (_WIDE if sum(map(_is_wide, body)) > len(body) / 2 else 1)
    if len(body) < run:
        return 0.0
    runs, common = set(_runs(body, run)), set[tuple[str, ...]]()
    # Wherever a run begins, it has one of each so many words' blocks whole.
    block = (run + 1) // 2
    blocks = set(_runs(body, block))
    for text in {source.text for source in sources}:
        tokens = _tokens(text)
        if not blocks.isdisjoint(_runs(tokens, block, block)):
            common |= runs.intersection(_runs(tokens, run))
    marks = bytearray(len(body))
    for at, words in enumerate(_runs(body, run)):
        if words in common:
            marks[at : at + run] = b"\1" * run
    return sum(marks) / len(body)


def _tokens(text: str) -> list[str]:
    seen = as_seen(text).casefold()
    return seen.translate(_ASCII_BREAKS).split() if seen.isascii() else _TOKEN.findall(seen)


def _is_wide(token: str) -> bool:
    return len(token) == 1 and not token.isascii()


def _runs(words: Sequence[str], length: int, step: int = 1) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(0, len(words) - length + 1, step))


def is_padded(report: ParsedAnswer, citations: CitationReport, sources: Sequence[Source]) -> bool:
    """True where most sentences cite many sources, and most of those bear nothing of their own."""
    records: dict[str, list[Source]] = {}
    by_id: dict[int, str] = {}
    for source in sources:
        by_id[source.id] = same_address(source.url)
        records.setdefault(by_id[source.id], []).append(source)
    claims = citations.claims
    wide = [(claim, urls) for claim in claims if len(urls := _addresses(claim, by_id)) >= _MANY]
    if 2 * len(wide) <= len(claims):
        return False
    shares = [_shares(report, claim, urls, records) for claim, urls in wide[:_CLAIMS]]
    idle = sum(any(part < other for other in each) for each in shares for part in each)
    return 2 * idle > sum(map(len, shares))


def _addresses(claim: Claim, by_id: Mapping[int, str]) -> list[str]:
    return list(dict.fromkeys(by_id[each] for each in claim.sources if each in by_id))


def _shares(
    report: ParsedAnswer, claim: Claim, urls: Sequence[str], records: Mapping[str, list[Source]]
) -> list[frozenset[str]]:
    """What of a claim each of its sources has: figures, names, quotations; words, where it has
    none of those."""
    parts = checkable_parts(report.plain(claim.start, claim.end))
    words = () if parts.checkable else terms(parts.prose)
    shares: list[frozenset[str]] = []
    for url in urls:
        share = set[str]()
        for index in map(SourceIndex, records[url]):
            share.update(figure.key for figure in parts.figures if index.states(figure))
            share.update(name for name in parts.names if index.names(name))
            share.update(quote for quote in parts.quotes if index.quotes(quote))
            share.update(word for word in words if index.holds(word))
        shares.append(frozenset(share))
    return shares
