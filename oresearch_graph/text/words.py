"""Words and sentences of any language the reports cover: what search, passages, verification and
the extractive policy count and compare. No model and no tokenizer."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.stop_words import STOP_BIGRAMS, STOP_CHARACTERS, STOP_WORDS

__all__ = ["Word", "all_words", "content", "sentence_spans", "stem", "terms", "token_count"]

_CJK_RUN = re.compile(f"[{CJK}]+")
_TOKEN = re.compile(
    rf"(?P<cjk>[{CJK}]+)|\d+(?:[.,]\d+)+|(?:(?![{CJK}_])\w)+(?:['’](?:(?![{CJK}_])\w)+)?"
)
_HIRAGANA = re.compile("^[\u3040-\u309f]+$")
_VOWEL = re.compile("[aeiouyà-ü]")


class Word(NamedTuple):
    """A word of a text, lower-cased and without its ending; of Chinese, two characters."""

    stem: str
    stop: bool
    """It says nothing about what the text is about."""


def terms(text: str) -> list[str]:
    """Content terms in order: lower-cased, stop words dropped, Latin words lightly stemmed, CJK
    runs as overlapping bigrams. A text of stop words alone keeps them."""
    words = list(_words(text))
    return [stem for stem, stop in words if not stop] or [stem for stem, _ in words]


def content(words: Sequence[Word]) -> list[str]:
    """The words without those that say nothing; all of them where there are no others."""
    return [word.stem for word in words if not word.stop] or [word.stem for word in words]


def all_words(text: str) -> list[Word]:
    """Every word of a text in order, stop words too."""
    return [Word(*each) for each in _words(text)]


def _words(text: str) -> Iterator[tuple[str, bool]]:
    for token in _TOKEN.finditer(unicodedata.normalize("NFKC", text).lower()):
        if token["cjk"]:
            yield from _bigrams(token["cjk"])
        else:
            word = token[0].replace("’", "'")
            yield stem(word), word in STOP_WORDS


def _bigrams(run: str) -> Iterator[tuple[str, bool]]:
    if len(run) == 1:
        yield run, run in STOP_CHARACTERS or _HIRAGANA.match(run) is not None
    for first, second in pairwise(run):
        pair = first + second
        particle = first in STOP_CHARACTERS or second in STOP_CHARACTERS
        yield pair, particle or pair in STOP_BIGRAMS or _HIRAGANA.match(pair) is not None


@lru_cache(maxsize=65_536)
def stem(word: str) -> str:
    """An English word without plural, -ing, -ed, -ly and silent e; other words nearly as is."""
    if len(word) < 4 or not word.isascii() or not word.isalpha():
        return word.removesuffix("'s")
    return _without_e(_without_verb_ending(_singular(word)))


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("sses", "xes", "ches", "shes", "zes")):
        return word[:-2]
    if word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def _without_verb_ending(word: str) -> str:
    for ending in ("ing", "ed", "ly"):
        root = word.removesuffix(ending)
        if root != word and len(root) >= 3 and _VOWEL.search(root):
            doubled = root[-1] == root[-2] and root[-1] not in "sz"
            if ending != "ly" and doubled and (root[-1] != "l" or len(root) > 5):
                return root[:-1]
            return root
    return word


def _without_e(word: str) -> str:
    return word[:-1] if word.endswith("e") and len(word) >= 4 else word


def token_count(text: str) -> int:
    """An estimate: one token per CJK character, one per four other characters, rounded up."""
    wide = 0 if text.isascii() else len(text) - len(_CJK_RUN.sub("", text))
    return wide - (wide - len(text)) // 4


_WORD = re.compile(r"[^\s\[\]【】［］<>#]+")
_MOST_NAMES = 300
"""Of a source: a grammar of thousands of names would slow a server down."""
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9.,:/%-]*")
_NAMING = re.compile(r"[A-ZÀ-ÖØ-ÞΆΈ-ΏΑ-ΫЀ-Я0-9]|\w[.]\w")
_ABBREVIATION = re.compile(r"(?<=\s)[A-Z][a-z]{0,2}\.(?= [A-Z])")
_AROUND = "\"'“”‘’`()*_,;:.!?。！？，、"


def names_and_figures(text: str) -> tuple[str, ...]:
    """The words of a text that have a capital, a figure or an inner dot, each once, as written."""
    plain = (word for word in _WORD.findall(text) if "://" not in word)
    # Chinese and Japanese have no space between a figure and what is counted.
    parts = (_PART.findall(word) if has_cjk(word) else [word] for word in plain)
    words = [part.strip(_AROUND) for each in parts for part in each]
    if words and words[0].lower() in STOP_WORDS:
        del words[0]
    names = filter(_NAMING.search, words)
    return tuple(dict.fromkeys([*names, *_ABBREVIATION.findall(text)]))[:_MOST_NAMES]
