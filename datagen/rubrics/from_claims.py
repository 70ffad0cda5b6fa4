"""The deterministic way: the verified claims themselves become key points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from datagen.rubrics.claims import VerifiedClaim
from datagen.rubrics.material import Material, checked
from datagen.rubrics.needs import needs_of
from oresearch_graph.evidence.words import terms
from oresearch_graph.judge import KeyPoint, key_point_recall


def points_from_claims(material: Material, most: int) -> tuple[KeyPoint, ...]:
    """At most so many key points, what more of the accepted reports state first. Each one is stated
    by a report it comes from, by none on another question, and repeats no other."""
    rarity = term_counts(material)
    proposed = [
        (point, group[0].trace)
        for group in map(_shortest_first, material.facts)
        if (point := _point(group, material, rarity)) is not None
    ]
    passed = sorted(checked(proposed, material), key=lambda c: (-c.point.weight, c.place))
    kept: list[KeyPoint] = []
    for found in passed:
        if len(kept) == most:
            break
        if not repeats(found.point, [*material.given, *kept]):
            kept.append(found.point)
    return tuple(kept)


def repeats(point: KeyPoint, others: Sequence[KeyPoint]) -> bool:
    """Whether one sentence would earn this point and one of the others."""
    return any(
        key_point_recall(other.text, [point]) > 0 or key_point_recall(point.text, [other]) > 0
        for other in others
    )


def term_counts(material: Material) -> Counter[str]:
    """In how many of a question's facts a term stands."""
    return Counter(term for group in material.facts for term in {t for c in group for t in c.terms})


def _shortest_first(group: Sequence[VerifiedClaim]) -> list[VerifiedClaim]:
    return sorted(group, key=lambda claim: len(claim.terms))


def _point(
    group: Sequence[VerifiedClaim], material: Material, rarity: Mapping[str, int]
) -> KeyPoint | None:
    """The shortest claim of the group, asking for words that all of the group have and its source
    bears out."""
    claim = group[0]
    shared = set(claim.terms).intersection(*(other.terms for other in group))
    quoted = shared & set(terms(claim.quote))
    known = set(terms(material.question))
    needs = needs_of(claim.prose, claim.names, quoted or shared, known, rarity)
    if not needs:
        return None
    return KeyPoint(text=claim.prose, needs=needs, source=claim.source)
