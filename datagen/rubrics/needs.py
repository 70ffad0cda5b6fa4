"""What of a fact must stand in a report: its figures, its names, the words that set it apart."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from oresearch_graph.evidence.figures import Figure, figures
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


def needs_of(
    prose: str, names: Collection[str], wanted: Collection[str], known: Collection[str],
    common: Mapping[str, int],
) -> Needs:  # fmt: skip
    """Groups for a KeyPoint, empty when nothing sets the fact apart.

    `wanted` are the terms that may be asked for, `known` those that every report on the question
    has, `common` how often a term is met elsewhere: the others come first.
    """
    groups = [_figure_options(figure) for figure in _plain_figures(prose)[:_MOST_FIGURES]]
    told = [name for name in names if not _known(name, known)]
    groups += [(name,) for name in told[:_MOST_NAMES]]
    covered = {term for group in groups for option in group for term in terms(option)}
    left = [
        (term, options)
        for term, options in _words(prose).items()
        if term in wanted and term not in known and term not in covered
    ]
    left.sort(key=lambda word: (common.get(word[0], 0), -len(word[0])))
    groups += [options for _, options in left[: max(0, _GROUPS - len(groups))]]
    return tuple(dict.fromkeys(groups))


def _known(name: str, known: Collection[str]) -> bool:
    return name.lower() in _SHORT_FORMS or set(terms(name)) <= set(known)


def _plain_figures(prose: str) -> list[Figure]:
    """Figures that a reader would call one: no part of a name such as `v3beta`."""
    return [figure for figure in figures(prose) if figure.key[:1].isdigit()]


def _figure_options(figure: Figure) -> tuple[str, ...]:
    """A figure as written, and as others write it."""
    options = [figure.text, figure.key]
    if figure.key.isdecimal() and 4 < len(figure.key) <= 40:
        options.append(f"{int(figure.key):,}")
    return tuple(dict.fromkeys(options))


def _words(prose: str) -> dict[str, tuple[str, ...]]:
    """Content terms with what may stand for each: the word as written. Of two neighbouring pairs
    of Chinese or Japanese characters one at least lies inside a word: either will do."""
    found: dict[str, tuple[str, ...]] = {term: (word,) for term, word in _latin(prose)}
    if has_cjk(prose):
        pairs = [term for term in terms(prose) if has_cjk(term)]
        found |= {pairs[i]: tuple(pairs[i : i + 2]) for i in range(0, len(pairs), 2)}
    return found


def _latin(prose: str) -> Iterator[tuple[str, str]]:
    content = set(terms(prose))
    for match in _WORD.finditer(prose):
        held = terms(match[0])
        if len(held) == 1 and held[0] in content and not (has_cjk(held[0]) or held[0].isdigit()):
            yield held[0], match[0]
