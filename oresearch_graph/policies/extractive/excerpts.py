"""Excerpts: paragraphs of shown pages with their headings, about the matter.

Wording stays as in the source, so that every excerpt can be checked word for word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from oresearch_graph.evidence.ledger import GAP, ShownSource
from oresearch_graph.text.passages import best_passages
from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.words import terms, token_count
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.escaping import PROTOCOL_TAGS

_BLANK: Final = re.compile(r"\n[ \t]*\n")
_TAG: Final = re.compile(f"(?:<|&lt;|＜)[\\s/]*+(?:{'|'.join(PROTOCOL_TAGS)})", re.IGNORECASE)
_MARK: Final = r"""
    (?: \[ [1-9]\d*+ (?: \s*+ [,，、;；–-] \s*+ \d++ )*+ (?: , \s*+ pp?\. [^\[\]]{0,20}+ )? \]
      | ［ \d++ (?: \s*+ [,，、;；–-] \s*+ \d++ )*+ ］ | 【 \d++ (?: † [^】\n]{0,80}+ )? 】
      | \[\^ [^\s\[\]]{1,60}+ \] | <sup> [^<>\n]{1,60}+ </sup> | \\\[ \d++ \\\] )
"""
_MARKS: Final = re.compile(
    rf"""
    (?: (?<! \s ) [ \t]++ | (?<= [.,;:!?。，；！？"”»)] ) | (?<= [^\W_]{{4}} ) | (?<= [{CJK}] ) )
    {_MARK} (?: [ \t]*+ {_MARK} ){{0,8}}+ (?= [\s.,;:!?。，；！？{CJK}] | $ )
    """,
    re.VERBOSE,
)
_WORD: Final = re.compile(r"\S+")
_BRACKETED: Final = re.compile(r"[\[［【]\^?\d|\[\^|<sup>")
_FENCE: Final = re.compile(r"```|~~~")
_ITEM: Final = re.compile(r"(?:[-*+•#]|\d{1,3}[.)、])\s")
_CODE: Final = re.compile(r"[|>]|\.\.\. |\+[-=+]+$|(?:async )?(?:def|class) \w|.*[{;]$")
"""Lines of a program or a table."""
_RULE: Final = re.compile(r"\+[-=+]*+|[|:=\s-]*+")
"""A line between the rows of a table."""
_CELLS: Final = re.compile(r"(?<!\\)\|")
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
_SHORT: Final = 10
"""Tokens: less, such as a heading alone, is no excerpt."""
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
    for key_words in _wanted(source, focus):
        share = len(key_words & source_terms) / len(key_words)
        if share > 0.5 or (share == 0.5 and key_words & title):
            return True
    return False


def promises(hit: ShownSource, focus: Focus) -> bool:
    """True when a search hit, which shows a part of its page, has two of the key words, or the only
    one."""
    hit_terms = frozenset(terms(f"{hit.title}\n{hit.text}"))
    return any(
        len(key_words & hit_terms) >= min(2, len(key_words)) for key_words in _wanted(hit, focus)
    )


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
    excerpts: list[Excerpt] = []
    for source in sources:
        if covers(source, focus):
            text = _readable_text(source.text, words)
            passages = best_passages(text, words, _OTHER if excerpts else focus.tokens)
            best = (
                [max(passages, key=lambda each: each.score)] if excerpts and passages else passages
            )
            for passage in best:
                for shown in passage.text.split(GAP):
                    paragraphs = tuple(p.strip() for p in _BLANK.split(shown) if p.strip())
                    if _says_enough(paragraphs):
                        excerpts.append(Excerpt(paragraphs, source))
    return excerpts


def _readable_text(text: str, words: str) -> str:
    """The paragraphs of a page as they are shown, a gap where one is left out."""
    paragraphs: list[str] = []
    for paragraph in _BLANK.split(text.replace(GAP, f"\n\n{GAP}\n\n")):
        plain = paragraph.strip() if paragraph.strip() == GAP else _unmarked(paragraph)
        if plain and (plain == GAP or _is_readable(plain, words)):
            paragraphs.append(plain)
        elif paragraph.strip() and paragraphs[-1:] != [GAP]:
            paragraphs.append(GAP)
    return "\n\n".join(paragraphs)


def runs(paragraphs: Sequence[str], kept: Sequence[bool]) -> Iterator[tuple[str, ...]]:
    """The paragraphs that are kept, those without a gap together, where they say enough."""
    for keep, group in groupby(zip(paragraphs, kept, strict=True), key=lambda pair: pair[1]):
        run = tuple(paragraph for paragraph, _ in group)
        if keep and _says_enough(run):
            yield run


def _says_enough(paragraphs: Sequence[str]) -> bool:
    return any(token_count(paragraph) >= _SHORT for paragraph in paragraphs)


def _unmarked(paragraph: str) -> str:
    """A paragraph on one line, list items, rows and code on their own, without the source's own
    citation marks; a subscript such as `a[0]`, which looks like one, is set as code. Empty where
    something would still be read as a citation."""
    lines_of_text = [line for line in paragraph.splitlines() if not _FENCE.match(line.strip())]
    lines_of_text = _rows([line.strip() for line in lines_of_text]) or lines_of_text
    code = all(line.startswith(("    ", "\t")) for line in lines_of_text)
    lines, joins = list[list[str]](), False
    for line in lines_of_text:
        plain = " ".join(line.split())
        own_line = code or _CODE.match(plain) is not None
        plain = plain if own_line else _MARKS.sub("", plain)
        if plain and joins and not (own_line or _ITEM.match(plain)):
            lines[-1].append(plain)
        elif plain:
            lines.append([plain])
        joins = not own_line and bool(lines)
    text = "\n".join(map(" ".join, lines))
    if not _cites(text):
        return text
    marked = _WORD.sub(lambda w: f"`{w[0]}`" if _BRACKETED.search(w[0]) else w[0], text)
    return "" if "`" in text or _cites(marked) else marked


def _rows(lines: Sequence[str]) -> list[str]:
    """The rows of a table as list items, their words in order; none of what is no table, or has
    cells that go on below while others stand beside them."""
    drawn = any(_RULE.fullmatch(line) for line in lines if line.startswith("+"))
    ruled = [line for line in lines if line.startswith("|") or (drawn and _RULE.fullmatch(line))]
    if not lines or len(ruled) < len(lines):
        return []
    rows, begun = list[list[list[str]]](), False
    for line in lines:
        if _RULE.fullmatch(line):
            begun = False
            continue
        cells = [cell.strip() for cell in _CELLS.split(line.removeprefix("|").removesuffix("|"))]
        while cells and not cells[-1]:
            cells.pop()
        if not (drawn and begun):
            rows.append([[cell] for cell in cells])
            begun = True
        elif cells and not any(cells[:-1]) and len(cells) >= len(rows[-1]):
            rows[-1] += [[] for _ in range(len(cells) - len(rows[-1]))]
            rows[-1][-1].append(cells[-1])
        else:
            return []
    return [f"- {' – '.join(map(' '.join, row))}".replace("\\|", "|") for row in rows]


def _cites(text: str) -> bool:
    """True where a reader of the report would find a number, a note or a line of a list of its."""
    answer = parse_answer(text)
    notes = (link for link in answer.links if not (link.words or link.bare))
    return bool(answer.marks or any(notes) or answer.reference_lines or answer.entries)


def _is_readable(paragraph: str, words: str) -> bool:
    """True but for signs alone, a table, what looks like a tag of the protocol, and a site's frame,
    unless it is what is asked for."""
    readable = sum(character.isalnum() or character.isspace() for character in paragraph)
    if not terms(paragraph) or readable < _SAID * len(paragraph) or _TAG.search(paragraph):
        return False
    lines = paragraph.splitlines()
    if sum(line[0] == "|" or bool(_RULE.fullmatch(line)) for line in lines) > len(lines) / 2:
        return False
    focus_terms = frozenset(terms(words))
    return all(focus_terms.intersection(terms(frame[0])) for frame in _FRAME.finditer(paragraph))


def block_quote(paragraphs: Sequence[str], number: int) -> str:
    """Paragraphs as a block quote, their source's number behind them."""
    text, last = "\n\n".join(paragraphs), paragraphs[-1].rpartition("\n")[2]
    mark = f"\n\n[{number}]" if _CODE.match(last) else f" [{number}]"
    lines = f"{text}{mark}".splitlines()
    return "\n".join(f"> {line}".rstrip() for line in lines)
