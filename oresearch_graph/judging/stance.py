"""What a text denies and doubts: clause by clause, of what it is about, and of what others say."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from oresearch_graph.text.polarity import denial_in
from oresearch_graph.text.words import all_words, stem

_DOUBTS: Final = re.compile(
    r"""
    \b(?: whether | perhaps | maybe | (?:im)?possibly | probably | presumably | supposedly
    | allegedly | reportedly | apparently | unclear | unknown | unsure | uncertain | unconfirmed
    | unproven | undecided | disputed | alleged | rumou?r(?:s|ed)? | myth | hoax
    | doubt(?:s|ed|ful)? | guess(?:es|ed)? | speculat(?:e|es|ed|ion) | (?:un|not\s)likely
    | might | (?:could|may)\s(?:be|have|well|also)
    | (?:claim|believ|assum|suppos|suggest)(?:s|es|ed)?\s(?:that|to)
    | wrong(?:ly)? | lies? | fiction(?:al)? | fake | falsehood | fallacy | erroneous(?:ly)?
    | mistaken(?:ly)? | impossible | nonsense | untruth | fabricat(?:ed|ion) | debunked
    | disprove[nd]? | refut(?:e|es|ed|ation) | contrary\sto | lied | sic
    | vielleicht | womöglich | möglicherweise | angeblich | vermutlich | unklar | unbekannt | falsch
    | peut-être | probablement | prétendument | quizás?  | posiblemente | supuestamente ) \b
    | 可能 | 也许 | 或许 | 大概 | 据说 | 是否 | 未知 | 不详 | 不明 | 谣言 | 错误
    """,
    re.VERBOSE,
)
_PLAIN: Final = re.compile(
    r"\b(?:not\suntil|without|ohne|sans|sin|sem|senza|zonder)\b|без", re.IGNORECASE
)
"""Negations that deny a thing beside what a sentence says."""
_CLAUSE: Final = re.compile(
    r"[,;:()\[\]—–]|\s-\s|\b(?:though|although|while|whereas|but|however)\b"
)
_FRAME: Final = re.compile(r"(?P<frame>.{3,120}?)\b(?:that|if|whether|dass|ob|que)\b", re.DOTALL)
"""What stands before a clause that another one is said of: `it is … that`."""


def _stems(words: str) -> frozenset[str]:
    return frozenset(map(stem, words.split()))


_TRUTH: Final = _stems("""
true truth false wrong right correct case so confirm verify verified statement claim fact facts
sentence above follow following opposite reverse lie lies know known say said tell told find found
contrary sure certain clear evidence idea way not no never none nothing able
""")
"""Words of a clause that speaks of nothing but what others say."""
_ATTRIBUTION: Final = _stems("""
page source report record log author museum archive paper study document register article site say
state note show tell write wrote written mention find found know known clear fact accord according
confirm explain describe add give
""")
"""Words before `that` which leave what follows as it is."""
_TURNS: Final = _stems("opposite reverse false untrue none")
_ALL: Final = _stems("all none every everything nothing above these those they them")
_AFTER: Final = _stems("follow follows following below")


class Stance(NamedTuple):
    """How often a text denies, and how often it hedges."""

    denials: int
    doubts: int


@lru_cache(maxsize=32_768)
def stance(text: str, language: str) -> Stance:
    """Of the whole text."""
    words = all_words(_PLAIN.sub(" ", text))
    doubts = sum(1 for _ in _DOUBTS.finditer(text.lower()))
    return Stance(len(denial_in(language).places(words)), doubts)


def stance_towards(text: str, language: str, about: frozenset[str]) -> Stance:
    """Of the clauses that hold a term of what it is `about`, or speak of nothing but what is said:
    a doubt about something beside it is none."""
    denials = doubts = 0
    for clause in _CLAUSE.split(text):
        part = stance(clause, language)
        if any(part) and (_said(clause) & about or not _said(clause) - _TRUTH - _doubted(clause)):
            denials, doubts = denials + part.denials, doubts + part.doubts
    return Stance(denials, doubts)


def is_framed(text: str, about: frozenset[str]) -> bool:
    """True where something is said *of* what the text is about, before it: `it is a … that`."""
    match = _FRAME.match(text)
    if match is None:
        return False
    frame = _said(match["frame"])
    return bool(frame) and not frame & about and not frame <= _ATTRIBUTION


def takes_back(text: str, language: str) -> Literal["before", "after", "all"] | None:
    """Which sentences a text takes back that speaks of nothing but what is said: `this is false`,
    `none of the statements above is true`; None for any other."""
    words = {word.stem for word in all_words(text)}
    if not (any(stance(text, language)) or words & _TURNS) or any(map(str.isdigit, text)):
        return None
    if _said(text) - _TRUTH - _doubted(text):
        return None
    if words & _AFTER or text.rstrip().endswith(":"):
        return "after"
    return "all" if words & _ALL else "before"


def _said(text: str) -> frozenset[str]:
    return frozenset(word.stem for word in all_words(text) if not word.stop)


def _doubted(text: str) -> frozenset[str]:
    return frozenset(
        word.stem for match in _DOUBTS.finditer(text.lower()) for word in all_words(match[0])
    )
