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
_WORD: Final = re.compile(r"\w++")
_LATIN: Final = re.compile(r"[A-Za-z]")
_FOREIGN: Final = re.compile(r"[Ͱ-ӿ]")


def as_seen(text: str) -> str:
    """NFKC, without characters that are not shown; a word of Latin letters in which Greek or
    Cyrillic ones stand has the Latin ones that they look like."""
    normal = unicodedata.normalize("NFKC", text)
    if normal.isascii():
        return normal
    shown = "".join(c for c in normal if unicodedata.category(c) != "Cf")
    if not _FOREIGN.search(shown):
        return shown
    return _WORD.sub(_in_one_script, shown)


def _in_one_script(word: re.Match[str]) -> str:
    return word[0].translate(_LIKE_LATIN) if _LATIN.search(word[0]) else word[0]
