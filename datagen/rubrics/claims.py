"""Verified claims of accepted reports, and which of them say the same.

Not covered: a paraphrase that shares few words, and a claim whose sentence leans on the one
before it otherwise than by a pronoun at its beginning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from oresearch_graph.evidence.citations import citations_of
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.text.words import terms
from oresearch_graph.trace import Claim, Evidence, Trace

_FEWEST_TERMS: Final = 3
_MOST_TERMS: Final = 30
_LEANS: Final = re.compile(
    r"(?:it|they|this|these|that|those|he|she|its|their|his|her|such|both|neither|there|here"
    r"|but|and|or|so|however|thus|hence|therefore|accordingly|otherwise|also|then|instead"
    r"|in the (?:example|figure|table)s?|es|sie|er|dies\w*"
    r"|ce\w*|ils?|elles?|esto|estos?|eso|ellos|он|она|оно|они|это|эт[аио])\b"
    r"|\(|[它他她这那其该此]|但|因此|所以|然而|これ|それ|그것|이것",
    re.IGNORECASE,
)
"""A sentence that begins so says what it is about only together with the one before it."""
_ALIKE: Final = 85.0
"""rapidfuzz token set ratio of the terms; with figures that differ two claims are never alike."""
_SHARED: Final = 0.4
"""Share of the terms of both that both hold."""


class VerifiedClaim(NamedTuple):
    """A sentence of an accepted report that its sources bear out."""

    trace: str
    prose: str
    """Without citation marks, links and list marks."""
    terms: tuple[str, ...]
    figures: frozenset[tuple[str, str]]
    names: tuple[str, ...]
    quote: str
    """Where the source says it."""
    source: str
    """The source's address."""
    score: float
    """How well claim and quote align, 0 to 1."""


def verified_claims(trace: Trace) -> Iterator[VerifiedClaim]:
    """The supported claims of a trace that can stand by themselves, in the report's order."""
    citations = citations_of(trace)
    addresses = {source.id: source.url for source in trace.sources or ()}
    for claim in citations.claims if citations else ():
        best = max(claim.evidence, key=lambda evidence: evidence.score, default=None)
        if claim.status == "supported" and best is not None and best.source in addresses:
            made = _claim(trace, claim, best, addresses[best.source])
            if _stands_alone(made):
                yield made


def _claim(trace: Trace, claim: Claim, best: Evidence, source: str) -> VerifiedClaim:
    parts = checkable_parts(claim.text, trace.language or "en")
    return VerifiedClaim(
        trace.id,
        " ".join(parts.prose.split()),
        tuple(dict.fromkeys(terms(parts.prose))),
        frozenset((figure.key, figure.unit) for figure in parts.figures),
        parts.names,
        " ".join(best.quote.split()),
        source,
        best.score,
    )


def _stands_alone(claim: VerifiedClaim) -> bool:
    if not _FEWEST_TERMS <= len(claim.terms) <= _MOST_TERMS:
        return False
    table_or_question = "|" in claim.prose or claim.prose.endswith(("?", "？", ":", "："))
    return not table_or_question and _LEANS.match(claim.prose) is None


def grouped(claims: Sequence[VerifiedClaim]) -> list[list[VerifiedClaim]]:
    """Claims that say the same together, in the order of their first."""
    groups: list[list[VerifiedClaim]] = []
    for claim in claims:
        group = next((group for group in groups if _alike(group[0], claim)), None)
        if group is None:
            groups.append([claim])
        else:
            group.append(claim)
    return groups


def _alike(one: VerifiedClaim, other: VerifiedClaim) -> bool:
    if one.figures != other.figures:
        return False
    both = set(one.terms) | set(other.terms)
    if len(set(one.terms) & set(other.terms)) < _SHARED * len(both):
        return False
    return fuzz.token_set_ratio(" ".join(one.terms), " ".join(other.terms)) >= _ALIKE
