"""Key points: the verified claims themselves, and what of a fact must stand in a report: its
figures, its names, the words that set it apart."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

from datagen.rubrics.material import Checked, Material, VerifiedClaim, checked
from oresearch_graph.evidence.figures import Figure, figures
from oresearch_graph.judging.exact_facts import key_point_recall
from oresearch_graph.rows.ground_truth import KeyPoint
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import terms

_MOST_FIGURES: Final = 2
_MOST_NAMES: Final = 2
_GROUPS: Final = 3
"""Figures and names are filled up with words to so many groups: with fewer, chance states a fact,
with many more no paraphrase does."""
_WORD: Final = re.compile(r"\w[\w'’-]*\b")
_SHORT_FORMS: Final = frozenset(("e.g", "i.e", "a.k.a"))

Needs = tuple[tuple[str, ...], ...]


def points_from_claims(material: Material, most: int) -> tuple[KeyPoint, ...]:
    """At most so many key points: first what more of the accepted reports state, then what has more
    of the question's words. Each one is stated by a report it comes from, by none on another
    question, and repeats no other."""
    common = term_counts(material)
    proposed = [
        (point, group[0].trace)
        for group in map(_shortest_first, material.facts)
        if (point := _claim_point(group, material, common)) is not None
    ]
    question_terms = set(terms(material.question))

    def order(candidate: Checked) -> tuple[float, int, int]:
        return (
            -candidate.point.weight,
            -len(question_terms & set(terms(candidate.point.text))),
            candidate.place,
        )

    passed = sorted(checked(proposed, material), key=order)
    points: list[KeyPoint] = []
    for candidate in passed:
        if len(points) == most:
            break
        if not repeats(candidate.point, [*material.seed_points, *points]):
            points.append(candidate.point)
    return tuple(points)


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


def _claim_point(
    group: Sequence[VerifiedClaim], material: Material, common: Mapping[str, int]
) -> KeyPoint | None:
    """The shortest claim of the group, asking for words that all of the group have and its source
    bears out."""
    claim = group[0]
    shared = set(claim.terms).intersection(*(other.terms for other in group))
    quoted = shared & set(terms(claim.quote))
    question_terms = set(terms(material.question))
    needs = needs_of(claim.prose, claim.names, quoted or shared, question_terms, common)
    if not needs:
        return None
    return KeyPoint(text=claim.prose, needs=needs, source=claim.source)


def needs_of(
    prose: str, names: Collection[str], candidates: Collection[str], shared: Collection[str],
    common: Mapping[str, int],
) -> Needs:  # fmt: skip
    """Groups for a KeyPoint, empty when nothing sets the fact apart.

    `candidates` are the terms that may be asked for, `shared` those that every report on the
    question has, `common` how often a term is met elsewhere: the others come first.
    """
    groups = [_figure_options(figure) for figure in _plain_figures(prose)[:_MOST_FIGURES]]
    telling = [name for name in names if not _is_shared(name, shared)]
    groups += [(name,) for name in telling[:_MOST_NAMES]]
    covered = {term for group in groups for option in group for term in terms(option)}
    others = [
        (term, options)
        for term, options in _word_options(prose).items()
        if term in candidates and term not in shared and term not in covered
    ]
    others.sort(key=lambda word: (common.get(word[0], 0), -len(word[0])))
    groups += [options for _, options in others[: max(0, _GROUPS - len(groups))]]
    return tuple(dict.fromkeys(groups))


def _is_shared(name: str, shared: Collection[str]) -> bool:
    return name.lower() in _SHORT_FORMS or set(terms(name)) <= set(shared)


def _plain_figures(prose: str) -> list[Figure]:
    """Figures that a reader would call one: no part of a name such as `v3beta`."""
    return [figure for figure in figures(prose) if figure.key[:1].isdigit()]


def _figure_options(figure: Figure) -> tuple[str, ...]:
    """A figure as written, and as others write it."""
    options = [figure.text, figure.key]
    if figure.key.isdecimal() and 4 < len(figure.key) <= 40:
        options.append(f"{int(figure.key):,}")
    return tuple(dict.fromkeys(options))


def _word_options(prose: str) -> dict[str, tuple[str, ...]]:
    """Content terms with what may stand for each: the word as written. Of two neighbouring pairs
    of Chinese or Japanese characters one at least lies inside a word: either will do."""
    options: dict[str, tuple[str, ...]] = {term: (word,) for term, word in _latin_words(prose)}
    if has_cjk(prose):
        pairs = [term for term in terms(prose) if has_cjk(term)]
        options |= {pairs[i]: tuple(pairs[i : i + 2]) for i in range(0, len(pairs), 2)}
    return options


def _latin_words(prose: str) -> Iterator[tuple[str, str]]:
    content = set(terms(prose))
    for match in _WORD.finditer(prose):
        word_terms = terms(match[0])
        if (
            len(word_terms) == 1
            and word_terms[0] in content
            and not (has_cjk(word_terms[0]) or word_terms[0].isdigit())
        ):
            yield word_terms[0], match[0]
