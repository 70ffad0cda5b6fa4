"""What a report's quality counts at most, whoever judged it: ways to a verdict without the work.

Each cap is of form, not of matter: a judge reads the report, not the pages it was copied from, and
sees no plan behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.source_index import SourceIndex
from oresearch_graph.rows.ground_truth import GroundTruth
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.look_alikes import as_seen
from oresearch_graph.text.scripts import CJK
from oresearch_graph.text.words import terms
from oresearch_graph.trace import Claim, Source, Trace, Violation
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.references import same_address
from rl.settings import RewardSettings

HALF: Final = 0.5
_RUN: Final = 15
"""Words in a row that a report has from a page only where it copies; the facts of the tiny world,
which are to be stated as they stand, make runs of twelve."""
_WIDE: Final = 2
"""Characters of Chinese or Japanese that count as one word."""
_FREE: Final = 100
"""Sentences that any report may have."""
_PER_POINT: Final = 12
"""Sentences for each key point that it may have in their place."""
_WORDS: Final = 25
"""Words that count as a sentence where one is longer."""
_MANY: Final = 3
"""Sources behind one sentence from which on each must bear something of its own."""
_CLAIMS: Final = 60
"""Sentences whose citations are looked into."""
_TOKEN: Final = re.compile(rf"[{CJK}]|(?:(?![{CJK}_])\w)+")


def quality_caps(
    trace: Trace, truth: GroundTruth, violations: Sequence[Violation], settings: RewardSettings
) -> dict[str, float]:
    """The most that the quality of the trace's report counts, by reason; nothing where it counts
    as it was judged."""
    assert trace.answer is not None, "without a report there is no quality"  # noqa: S101
    report = parse_answer(trace.answer.text)
    caps: dict[str, float] = {}
    if any(violation.code == "fake_observation" for violation in violations):
        caps["fake_observation"] = 0.0
    if trace.language is not None and detect_language(report.body) != trace.language:
        caps["other_language"] = 0.0
    if verbatim_share(report, trace.sources or ()) > settings.most_verbatim:
        caps["verbatim"] = HALF
    if _is_padded(report, trace):
        caps["padded_citations"] = HALF
    if truth.key_points and (size := _size(report)) > (
        allowed := max(_FREE, _PER_POINT * len(truth.key_points))
    ):
        caps["long"] = allowed / size
    return caps


def verbatim_share(report: ParsedAnswer, sources: Sequence[Source]) -> float:
    """Share of the body's words that stand in long runs of words of one source. Letters that look
    alike and invisible characters make no difference."""
    body = _tokens(report.plain(0, report.body_end))
    run = _RUN * (_WIDE if sum(map(_is_wide, body)) > len(body) / 2 else 1)
    if len(body) < run:
        return 0.0
    wanted = set(_runs(body, run))
    shown = set[tuple[str, ...]]()
    for text in {source.text for source in sources}:
        shown |= wanted.intersection(_runs(_tokens(text), run))
    copied = bytearray(len(body))
    for at, words in enumerate(_runs(body, run)):
        if words in shown:
            copied[at : at + run] = b"\1" * run
    return sum(copied) / len(body)


def _tokens(text: str) -> list[str]:
    return _TOKEN.findall(as_seen(text).casefold())


def _is_wide(token: str) -> bool:
    return len(token) == 1 and not token.isascii()


def _runs(words: Sequence[str], length: int) -> Iterator[tuple[str, ...]]:
    return (tuple(words[at : at + length]) for at in range(len(words) - length + 1))


def _size(report: ParsedAnswer) -> int:
    """Sentences of the body, a long one as several."""
    return sum(
        1 + len(report.plain(sentence.start, sentence.end).split()) // _WORDS
        for sentence in sentences_of(report)
    )


def _is_padded(report: ParsedAnswer, trace: Trace) -> bool:
    """True where most sentences cite many sources, and most of those bear nothing of their own."""
    records: dict[str, list[Source]] = {}
    by_id: dict[int, str] = {}
    for source in trace.sources or ():
        by_id[source.id] = same_address(source.url)
        records.setdefault(by_id[source.id], []).append(source)
    claims = trace.citations.claims if trace.citations else ()
    wide = [(claim, cited) for claim in claims if len(cited := _cited(claim, by_id)) >= _MANY]
    if 2 * len(wide) <= len(claims):
        return False
    all_held = [_held(report, claim, cited, records) for claim, cited in wide[:_CLAIMS]]
    idle = sum(any(own < other for other in held) for held in all_held for own in held)
    return 2 * idle > sum(map(len, all_held))


def _cited(claim: Claim, by_id: Mapping[int, str]) -> list[str]:
    return list(dict.fromkeys(by_id[each] for each in claim.sources if each in by_id))


def _held(
    report: ParsedAnswer, claim: Claim, cited: Sequence[str], records: Mapping[str, list[Source]]
) -> list[frozenset[str]]:
    """What of a claim each of its sources has: figures, names, quotations; words, where it has
    none of those."""
    parts = checkable_parts(report.plain(claim.start, claim.end))
    words = () if parts.checkable else terms(parts.prose)
    held: list[frozenset[str]] = []
    for url in cited:
        own = set[str]()
        for index in map(SourceIndex, records[url]):
            own.update(figure.key for figure in parts.figures if index.states(figure))
            own.update(name for name in parts.names if index.names(name))
            own.update(quote for quote in parts.quotes if index.quotes(quote))
            own.update(word for word in words if index.holds(word))
        held.append(frozenset(own))
    return held
