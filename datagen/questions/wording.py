"""The form in which questions are kept, and the form in which they are compared."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from oresearch_graph.text.scripts import CJK, has_cjk
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
