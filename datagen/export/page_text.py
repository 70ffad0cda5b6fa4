"""A trace without the text of pages: in its place stands the hash of what was shown.

An observation keeps the queries, the heads of its sources (number, title, address), the tool's own
words and its notices. Evidence keeps its place and loses its quote.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator
from typing import Final

from datagen.export.edits import Edit
from datagen.export.renumber import known_head
from datagen.export.rewriting import rewritten
from oresearch_graph.evidence.ledger import NOTICE, query_heading, source_heads
from oresearch_graph.trace import Claim, Trace, read_call, text_hash
from oresearch_graph.trace.references import Ledger
from oresearch_graph.trace.report_form import lines_of

_OWN_WORDS: Final = 300
"""Characters of the longest observation without any source that is taken for a tool's message."""
_LAST_NOTICE: Final = re.compile(rf"\n\n{re.escape(NOTICE)}[^\n]*\Z")


def withheld(trace: Trace) -> Trace:
    """The trace with hashes for the text of pages; sources keep their hash and lose their text."""
    ledger = Ledger(trace.sources or ())

    def edits(index: int, step: object) -> Iterator[Edit]:  # noqa: ARG001 - the index tells all
        yield from _edits(trace, index, ledger)

    hidden = rewritten(trace, edits)
    sources = tuple(s.model_copy(update={"text": ""}) for s in trace.sources or ())
    report = hidden.citations
    if report is not None:
        claims = tuple(map(_without_quotes, report.claims))
        report = report.model_copy(update={"claims": claims})
    return hidden.model_copy(update={"sources": sources, "citations": report})


def _edits(trace: Trace, index: int, ledger: Ledger) -> Iterator[Edit]:
    step = trace.steps[index]
    if step.kind != "observation":
        return
    text = step.text
    notice = _LAST_NOTICE.search(text)
    length = notice.start() if notice else len(text)
    heads = [head for head in source_heads(text) if known_head(head, ledger)]
    if not heads and length > _OWN_WORDS:
        yield _hashed(text, 0, length)
    before = trace.steps[index - 1] if index else None
    asked = read_call(before).items if before is not None and before.is_call else ()
    headings = list(_headings(text, {query_heading(query) for query in asked}))
    for head, after in zip(heads, [*heads[1:], None][: len(heads)], strict=True):
        end = min(length, after.start if after else length)
        at = bisect_left(headings, head.end)
        end = min([*headings[at : at + 1], end])
        if text[head.end : end].strip():
            yield _hashed(text, head.end + 1, head.end + len(text[head.end : end].rstrip()))


def _headings(text: str, known: Collection[str]) -> Iterator[int]:
    """Where a line that is one of the known ones begins, at the line break before it."""
    for at, line in lines_of(text):
        if at and line in known and at + len(line) < len(text):
            yield at - 1


def _hashed(text: str, start: int, end: int) -> Edit:
    return Edit(start, end, f"sha256:{text_hash(text[start:end])}")


def _without_quotes(claim: Claim) -> Claim:
    evidence = tuple(e.model_copy(update={"quote": ""}) for e in claim.evidence)
    return claim.model_copy(update={"evidence": evidence})
