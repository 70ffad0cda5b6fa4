"""A text as its reader sees it: without invisible characters, with one letter for all that look
like it."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LIKE_LATIN: Final = str.maketrans(
    "аеорсухіјѕһԁԛԝвкмнтАЕОРСУХІЈЅҺВКМНТοανρτικυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijshdqwbkmhtAEOPCYXIJSHBKMHToavptikuABEZHIKMNOPTYX",
)
_UNSEEN: Final = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff]"
)
"""Characters that take no ink (Unicode's Default_Ignorable_Code_Point, and blanks of Braille)."""
_WORD: Final = re.compile(r"\w++")
_LATIN: Final = re.compile(r"[A-Za-z]")
_FOREIGN: Final = re.compile(r"[\u0370-\u04ff]")
"""Greek and Cyrillic."""


def as_seen(text: str) -> str:
    """NFKC, without characters that are not shown; a word of Latin letters in which Greek or
    Cyrillic ones stand has the Latin ones that they look like."""
    normal = unicodedata.normalize("NFKC", text)
    if normal.isascii():
        return normal
    shown = _UNSEEN.sub("", normal)
    if not _FOREIGN.search(shown):
        return shown
    return _WORD.sub(_in_one_script, shown)


def _in_one_script(word: re.Match[str]) -> str:
    return word[0].translate(_LIKE_LATIN) if _LATIN.search(word[0]) else word[0]
