"""What of a sentence can be looked up in a source: quoted strings, figures and proper names."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from oresearch_graph.evidence.figures import Figure, figures
from oresearch_graph.text.dates import taken_out
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.stop_words import STOP_WORDS
from oresearch_graph.text.words import all_words
from oresearch_graph.trace.marks import unmarked

_LIST_MARK: Final = re.compile(r"^\s*(?:[-*+•]|\d{1,3}[.)、])\s+|^\s*[#>|]+\s*")
_QUOTED: Final = re.compile(
    r"“([^“”]{2,400})”|「([^「」]{2,400})」|『([^『』]{2,400})』|《([^《》]{2,200})》|«([^«»]{2,400})»"
    r"|(?<![\w\"])\"([^\"\n]{2,400})\"(?!\w)"
)
_LINK: Final = re.compile(r"\[([^\[\]]*+)\]\((?:[^()]++|\([^()]*+\))*+\)|https?://\S+")
# Begins where its run of backticks does, and takes it whole: linear on any text.
_CODE: Final = re.compile(r"(?<!`)`++([^`\n]++)`++")
_INITIALS: Final = re.compile(r"(?<=\b[A-Z])\.(?=[A-Z]\b)|\b(?:e\.g|i\.e|a\.m|p\.m|z\.B|d\.h)\.?")
"""What stands between initials, and abbreviations that look like names."""
_CURRENCIES: Final = frozenset(("USD", "EUR", "GBP", "CNY"))
_NAME: Final = re.compile(
    r"""
    (?P<identifier> \b [A-Za-z_]\w* (?: (?: \. | :: ) [A-Za-z_]\w* )+ | \b _*[A-Za-z]+_\w+ )
    | (?P<capital>
        \b (?<!-) [A-ZÀ-ÞА-Я][\w'’&-]*
        (?: [ \t] (?: (?: of|van|von|de|der|di|da|the|for|and ) [ \t] )? [A-ZÀ-ÞА-Я][\w'’&-]* )* )
    | (?P<mixed> \b [a-z]+[A-Z]\w* )
    """,
    re.VERBOSE,
)
_POSSESSIVE: Final = re.compile(r"(?:['’]s?|(?<=s)['’])$")
_LATIN: Final = re.compile(r"[A-Za-z][\w.+#-]{2,}")


class Parts(NamedTuple):
    """The checkable parts of one sentence."""

    prose: str
    """The sentence without marks, links and list mark."""
    quotes: tuple[str, ...]
    names: tuple[str, ...]
    figures: tuple[Figure, ...]

    @property
    def checkable(self) -> bool:
        return bool(self.quotes or self.names or self.figures)


def checkable_parts(sentence: str, language: str = "en") -> Parts:
    """Quotes, names and figures of a sentence. In German, where every noun has a capital, a lone
    capitalised word is no name."""
    prose = _LIST_MARK.sub("", _LINK.sub(r"\1", unmarked(sentence))).strip()
    prose = prose.replace("**", "")
    prose = _INITIALS.sub("", prose)
    quotes = [next(filter(None, match.groups())) for match in _QUOTED.finditer(prose)]
    code = [match[1] for match in _CODE.finditer(prose)]
    plain = _CODE.sub(" ", _QUOTED.sub(" ", prose))
    pieces = [piece.strip() for quote in quotes for piece in re.split(r"…+|\.{3,}", quote)]
    pieces = [piece.strip(" ,.;。，") for piece in pieces if piece]
    titles = {piece for piece in pieces if _is_title(piece)}
    names = [*filter(titles.__contains__, pieces), *code, *_names(taken_out(plain)[1], language)]
    names = [name for name in names if name not in _CURRENCIES and all_words(name)]
    return Parts(
        prose,
        tuple(piece for piece in pieces if piece not in titles),
        tuple(dict.fromkeys(names)),
        tuple(dict.fromkeys(figures(plain))),
    )


def _is_title(quoted: str) -> bool:
    """True for the name of a work: more of its words have a capital than not."""
    words = quoted.split()
    return sum(word[:1].isupper() for word in words) > len(words) / 2


def _names(plain: str, language: str) -> list[str]:
    if has_cjk(plain):
        return _LATIN.findall(plain)
    names = []
    for match in _NAME.finditer(plain):
        name = match[0]
        if match["capital"]:
            name = _capitalised(name, language, first=not plain[: match.start()].strip(" \"'(*_"))
        if name:
            names.append(name)
    return names


def _capitalised(name: str, language: str, *, first: bool) -> str:
    """The proper name in a run of capitalised words; "" when a sentence merely begins so."""
    words = name.split()
    while words and words[0].lower() in STOP_WORDS:
        words, first = words[1:], False
    if first and words and not _surely_name(words[0]):
        words = words[1:]
    if len(words) == 1 and language == "de" and not _surely_name(words[0]):
        return ""
    name = _POSSESSIVE.sub("", " ".join(words))
    return name if len(name) > 1 else ""


def _surely_name(word: str) -> bool:
    """An acronym, a name with an inner capital or a digit."""
    return any(c.isupper() or c.isdigit() for c in word[1:])
