"""Excerpts: whole paragraphs of shown pages with their headings, about the matter, none twice.

Wording stays as in the source, so that every excerpt can be checked word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.ledger import GAP, ShownSource
from oresearch_graph.text.passages import Passage, best_passages
from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.words import terms
from oresearch_graph.trace.escaping import PROTOCOL_TAGS

_BLANK: Final = re.compile(r"\n[ \t]*\n")
_TAG: Final = re.compile(f"(?:<|&lt;)/?(?:{'|'.join(PROTOCOL_TAGS)})")
_MARKS: Final = re.compile(
    rf"(?:(?<!\s)[ \t]++|(?<=[.,;:!?。，；！？\"”])|(?<=[a-z]{{4}})|(?<=[{CJK}]))"
    r"(?:\[[1-9]\d*+(?:[,，\s]++\d++)*+\]|【\d++】)(?=[\s.,;:!?。，；！？\[]|$)"
)
_NUMBERED: Final = re.compile(r"\[\^?\d++(?:[,，:\s-]++\d++)*+\]|【\d++】")
_WORD: Final = re.compile(r"\S+")
_MARKED_AS_CODE: Final = re.compile(r"`[^`]*+`")
_ITEM: Final = re.compile(r"(?:[-*+•#]|\d{1,3}[.)、])\s")
_CODE: Final = re.compile(r"[|>]|\.\.\. |\+[-=+]+$|(?:async )?(?:def|class) \w|.*[{;]$")
"""Lines of a program or a table."""
_FRAME: Final = re.compile(
    r"""
      cookie | all\ rights\ reserved | copyright | © | skip\ to | table\ of\ contents
    | \b log\ ?in \b | \b sign\ (?:in|up) \b | subscribe | newsletter | privacy\ policy
    | click\ here | previous\ (?:topic|page) | next\ (?:topic|page) | share\ this | read\ more
    | 版权所有 | 登录 | 注册 | 点击 | 上一页 | 下一页
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""Words of a site's frame."""


_SAID: Final = 0.5
"""Share of letters, figures and blanks."""
_OTHER: Final = 240
"""Tokens of which the best passage is at most half."""


class Excerpt(NamedTuple):
    """Neighbouring paragraphs of a page."""

    paragraphs: tuple[str, ...]
    source: ShownSource


class Focus(NamedTuple):
    """What is asked for: the key words of the subtask and those of the question; and in how many
    tokens of the best page."""

    own: tuple[str, ...]
    whole: tuple[str, ...]
    tokens: int


def covers(source: ShownSource, focus: Focus) -> bool:
    """True when a page is about the matter and not merely touched by one of its words.

    More than half of the question's or of the subtask's key words must stand in it; where only
    half do, one of them must stand in the title.
    """
    title = frozenset(terms(source.title))
    source_terms = title | frozenset(terms(source.text))
    for wanted in _wanted(source, focus):
        share = len(wanted & source_terms) / len(wanted)
        if share > 0.5 or (share == 0.5 and wanted & title):
            return True
    return False


def promises(hit: ShownSource, focus: Focus) -> bool:
    """True when a search hit, which shows a part of its page, has two of the key words, or the only
    one."""
    shown = frozenset(terms(f"{hit.title}\n{hit.text}"))
    return any(len(wanted & shown) >= min(2, len(wanted)) for wanted in _wanted(hit, focus))


def _wanted(source: ShownSource, focus: Focus) -> list[frozenset[str]]:
    """The terms of the subtask and of the question; for a source in an alphabet, the alphabetic
    ones."""
    both = (frozenset(terms(" ".join(words))) for words in (focus.own, focus.whole))
    if not has_cjk(source.text[:2_000]):
        both = (frozenset(term for term in words if not has_cjk(term)) for words in both)
    return [words for words in both if words]


def best_excerpts(sources: Sequence[ShownSource], focus: Focus) -> list[Excerpt]:
    """What says most about the focus, in page order: of the first page in its tokens, of each other
    the best passage."""
    words = " ".join([*focus.own, *focus.whole])
    found: list[Excerpt] = []
    for source in sources:
        if covers(source, focus):
            passages = best_passages(source.text, words, _OTHER if found else focus.tokens)
            best = [max(passages, key=lambda each: each.score)] if found and passages else passages
            found += _excerpts(source, best)
    return found


def _excerpts(source: ShownSource, passages: Iterable[Passage]) -> Iterator[Excerpt]:
    for passage in passages:
        for shown in passage.text.split(GAP):
            readable = tuple(filter(_is_readable, map(_unmarked, _BLANK.split(shown))))
            if readable:
                yield Excerpt(readable, source)


def _unmarked(paragraph: str) -> str:
    """A paragraph on one line, list items and code on their own, without the source's own citation
    marks; a subscript such as `a[0]`, which looks like one, is set as code."""
    lines = list[str]()
    for line in paragraph.splitlines():
        plain = " ".join(line.split())
        code = _CODE.match(plain) is not None
        plain = plain if code else _MARKS.sub("", plain)
        if not (code or _ITEM.match(plain)) and lines and not _CODE.match(lines[-1]):
            lines[-1] = f"{lines[-1]} {plain}"
        elif plain:
            lines.append(plain)
    text = "\n".join(lines)
    if _NUMBERED.search(text) is None:
        return text
    marked = _WORD.sub(lambda word: f"`{word[0]}`" if _NUMBERED.search(word[0]) else word[0], text)
    return "" if "`" in text or _NUMBERED.search(_MARKED_AS_CODE.sub("", marked)) else marked


def _is_readable(paragraph: str) -> bool:
    """True but for signs alone, a site's frame, and what looks like a tag of the protocol."""
    said = sum(character.isalnum() or character.isspace() for character in paragraph)
    if not terms(paragraph) or said < _SAID * len(paragraph):
        return False
    return not (_TAG.search(paragraph) or _FRAME.search(paragraph))
