"""The deterministic way: the verified claims themselves become key points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from datagen.rubrics.claims import VerifiedClaim
from datagen.rubrics.material import Checked, Material, checked
from datagen.rubrics.needs import needs_of
from oresearch_graph.judging.key_points import KeyPoint, key_point_recall
from oresearch_graph.text.words import terms


def points_from_claims(material: Material, most: int) -> tuple[KeyPoint, ...]:
    """At most so many key points: first what more of the accepted reports state, then what has more
    of the question's words. Each one is stated by a report it comes from, by none on another
    question, and repeats no other."""
    common = term_counts(material)
    proposed = [
        (point, group[0].trace)
        for group in map(_shortest_first, material.facts)
        if (point := _point(group, material, common)) is not None
    ]
    asked = set(terms(material.question))

    def order(found: Checked) -> tuple[float, int, int]:
        return -found.point.weight, -len(asked & set(terms(found.point.text))), found.place

    passed = sorted(checked(proposed, material), key=order)
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
    """How common a term is: in how many of the question's facts it stands, and, counting more, in
    how many reports on other questions."""
    facts = [{term for claim in group for term in claim.terms} for group in material.facts]
    counts = Counter(term for fact in facts for term in fact)
    for report in material.foreign:
        counts.update(dict.fromkeys(terms(report), len(facts)))
    return counts


def _shortest_first(group: Sequence[VerifiedClaim]) -> list[VerifiedClaim]:
    return sorted(group, key=lambda claim: len(claim.terms))


def _point(
    group: Sequence[VerifiedClaim], material: Material, common: Mapping[str, int]
) -> KeyPoint | None:
    """The shortest claim of the group, asking for words that all of the group have and its source
    bears out."""
    claim = group[0]
    shared = set(claim.terms).intersection(*(other.terms for other in group))
    quoted = shared & set(terms(claim.quote))
    known = set(terms(material.question))
    needs = needs_of(claim.prose, claim.names, quoted or shared, known, common)
    if not needs:
        return None
    return KeyPoint(text=claim.prose, needs=needs, source=claim.source)
