"""The form in which questions are kept and compared; whether two are the same one in other words,
and whether one holds the other.

What sets templates' questions apart (the GDP of France in 2020, of Germany in 2021) decides before
any score: every figure and name of one must stand in the other. Not covered: paraphrases that share
few words, and translations.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

from rapidfuzz import fuzz

from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.words import terms
from oresearch_graph.trace.plain_text import storable

_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u2060-\u2064\ufeff]"
)
_BLANKS: Final = re.compile(r"[^\S\n]+")
_EMPTY_LINES: Final = re.compile(r"\n{3,}")
_UNCOMPARED: Final = re.compile(r"[\W_]+")
_WIDE_BLANK: Final = re.compile(f"(?<=[{CJK}]) | (?=[{CJK}])")
"""Between scripts some authors write a blank, and others none."""
_LATIN_SHINGLE: Final = 4
_WIDE_SHINGLE: Final = 2
"""Characters; a Chinese one says as much as a few Latin ones."""
_FIGURE: Final = re.compile(r"\d+")
_SWAPPED: Final = 0.1
"""Share of the content terms that may stand on one side only, on both sides at once. A word more
or less is a variant; one topic in place of another is another question."""


def tidy(question: str) -> str:
    """The question composed (NFC), without invisible characters and needless white space. Lines
    stay lines: a long task is laid out in them."""
    text = question.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n")
    text = storable(_INVISIBLE.sub("", text))
    lines = (_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    whole = _EMPTY_LINES.sub("\n\n", "\n".join(lines)).strip()
    return unicodedata.normalize("NFC", whole)


def compared(question: str) -> str:
    """The question as comparisons see it: compatible forms are one, no case, no punctuation."""
    text = unicodedata.normalize("NFKC", question).casefold()
    return _WIDE_BLANK.sub("", _UNCOMPARED.sub(" ", text)).strip()


def shingles(text: str) -> frozenset[str]:
    """Overlapping pieces of a compared text. Chinese, Japanese and Korean ones are shorter."""
    size = _WIDE_SHINGLE if has_cjk(text) else _LATIN_SHINGLE
    if len(text) <= size:
        return frozenset((text,)) if text else frozenset()
    return frozenset(text[i : i + size] for i in range(len(text) - size + 1))


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
    name_words = (word for name in parts.names for word in compared(name).split())
    return figures and all(word in words or word in other.text for word in name_words)
