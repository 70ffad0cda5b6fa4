"""Whether two questions are the same one in other words, and whether one holds the other.

What sets templates' questions apart (the GDP of France in 2020, of Germany in 2021) decides before
any score: every figure and name of one must stand in the other. Not covered: paraphrases that
share few words, and translations.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from datagen.questions.wording import compared, shingles
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.text.words import terms

_FIGURE: Final = re.compile(r"\d+")
_SWAPPED: Final = 0.1
"""Share of the content terms that may stand on one side only, on both sides at once. A word more
or less is a variant; one topic in place of another is another question."""


class Wording(NamedTuple):
    """A question with all that comparisons need of it."""

    question: str
    text: str
    """As compared."""
    in_order: str
    """Its words, sorted."""
    pieces: frozenset[str]
    """Its shingles."""


def wording(question: str) -> Wording:
    """The question, made ready to be compared often."""
    text = compared(question)
    return Wording(question, text, " ".join(sorted(text.split())), shingles(text))


def same_question(one: Wording, other: Wording, least: float) -> bool:
    """True for near-duplicates: alike by characters (at least `least`, 0 to 1) or by sorted words,
    with the same figures and names, and no topic in the other's place."""
    if one.text == other.text:
        return True
    if likeness(one, other) < least:
        return False
    if not (_fixed_parts_in(one, other) and _fixed_parts_in(other, one)):
        return False
    mine, theirs = frozenset(terms(one.text)), frozenset(terms(other.text))
    swapped = min(len(mine - theirs), len(theirs - mine))
    return swapped <= _SWAPPED * max(len(mine), len(theirs), 1)


def likeness(one: Wording, other: Wording) -> float:
    """0 to 1, of the characters in order or of the words in any order, whichever is higher."""
    in_order = fuzz.ratio(one.in_order, other.in_order)
    return max(fuzz.ratio(one.text, other.text), in_order) / 100


def holds(longer: Wording, shorter: Wording, least: float) -> bool:
    """True when the longer question says all of the shorter one in one place."""
    alike = fuzz.partial_ratio(shorter.text, longer.text) / 100
    return alike >= least and _fixed_parts_in(shorter, longer)


def _fixed_parts_in(one: Wording, other: Wording) -> bool:
    words = set(other.text.split())
    figures = set(_FIGURE.findall(one.text)) <= set(_FIGURE.findall(other.text))
    parts = checkable_parts(one.question)
    named = (word for name in parts.names for word in compared(name).split())
    return figures and all(word in words or word in other.text for word in named)
