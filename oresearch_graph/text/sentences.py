"""Where sentences begin and end, in prose, Markdown and hard-wrapped documentation."""

from __future__ import annotations

import re
from collections.abc import Iterator

from oresearch_graph.text.dates import MONTHS
from oresearch_graph.text.scripts import CJK

_FENCE = re.compile(r"[ \t]*(```+|~~~+)")
_SIGNATURE = r"(?:async )?def \w|class \w+(?:[(:]|[ \t]*$)"
_OPENS = re.compile(
    rf"[ \t]*(?:#{{1,6}}[ \t]|[-*+•][ \t]|\d{{1,3}}[.)、][ \t]|\||>|{_SIGNATURE})", re.MULTILINE
)
_HEADING = re.compile(rf"[ \t]*(?:#{{1,6}}[ \t]|\||{_SIGNATURE})", re.MULTILINE)
_RULE = re.compile(r"[\W_]*$")
_ENDS_CJK = re.compile(rf"[{CJK}。！？；：，、）」』]\s*$")
_NUMBER = re.compile(r"\d{1,3}")
_WORD = re.compile(r"\S")
_LETTERS = re.compile(r"[^\W\d_]+")
_DAY = re.compile(r"(?<!\d)[0-3]?\d$")
_TARGET = r"\( (?: https?:// | \# ) (?: [^\s()]++ | \( [^\s()]*+ \) )*+ \)"
_LINKED = rf"\[ [^\[\]\n]{{1,300}}+ \] {_TARGET}"
# `trace.marks` reads what they cite. A link is one only in brackets: it may begin a sentence.
_MARKS = rf"""
    (?: [ \t]*+ (?:
      [\[［] \^?\d++ (?: [ \t]*+ [,，、;；–-] [ \t]*+ \^?\d++ )*+ [\]］] (?: {_TARGET} )?
    | \[ \\?\[ \^?\d++ \\?\] \] {_TARGET}
    | \[\^ [^\s\[\]]{{1,60}}+ \]
    | \( {_LINKED} (?: [ \t]*+ [,;] [ \t]*+ {_LINKED} )*+ \)
    | 【 \d++ (?: † [^】\n]{{0,80}} )? 】
    | \( https?:// [^\s()]++ \)
    | <sup> (?: [^<>\n]{{1,60}}+ | </?a [^<>\n]{{0,300}}+ > ){{1,5}}+ </sup>
    | [⁰¹²³⁴-⁹]++
    | (?<= [^\W\d_][^\W\d_][.!?] ) \d{{1,3}}+ (?: ,[ ]?\d{{1,3}}+ )*+ (?= [ \t\n]+ [A-ZÀ-Þ] )
    ) ){{0,12}}+
"""
# A run of stops is tried from its beginning alone: a thousand dots are one try, not a thousand.
_END = re.compile(
    rf"""
    (?P<wide> [。！？]++ [”’」』）】]*+ {_MARKS} )
    | (?<! [.!?…] ) (?P<stop> [.!?…]++ ["'”’)\]*_]*+ ) (?P<marks> {_MARKS} \.? )
      (?P<gap> [ \t\n]++ | $ )
    """,
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"""
    (?: ^ | [\s(] )
    (?: e\.g | i\.e | etc | vs | cf | al | approx | dr | mr | mrs | ms | prof | fig | no | vol
      | pp? | st | [A-Za-z] | [A-Z] (?: \.[A-Z] )+ )
    \. $
    """,
    re.IGNORECASE | re.VERBOSE,
)
_WRAPPED_AT_MOST = 100
_WRAPPED_AT_LEAST = 40


def sentence_spans(text: str) -> list[tuple[int, int]]:
    """Start and end of every sentence, in order, without surrounding white space. Headings, list
    items, table rows and whole code fences are sentences of their own; citation marks after the
    full stop belong to the sentence before them."""
    spans = []
    for start, end in _blocks(text):
        if _FENCE.match(text, start):
            spans.append((start, end))
        else:
            spans.extend(_in_block(text, start, end))
    return [span for span in (_trimmed(text, *span) for span in spans) if span[0] < span[1]]


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    if _RULE.match(piece):
        return start, start
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _lines(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for line in text.splitlines(keepends=True):
        yield start, start + len(line)
        start += len(line)


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Runs of lines that no sentence crosses."""
    begin: int | None = None
    last = text_end = 0
    heading = False
    fence = ""
    for start, end in _lines(text):
        line = text[start:end].rstrip()
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence):
                yield begin or 0, end
                begin, fence = None, ""
        elif mark:
            if begin is not None:
                yield begin, last
            begin, fence = start, mark[1]
        elif begin is None or heading or _is_border(text, begin, text_end, last, line):
            if begin is not None:
                yield begin, last
            begin = start if line else None
            heading = line != "" and _HEADING.match(text, start, end) is not None
        last, text_end = end, start + len(line)
    if begin is not None:
        yield begin, len(text)


def _is_border(text: str, begin: int, text_end: int, at: int, line: str) -> bool:
    """True when a sentence cannot go on from the block before, whose last line ends at `text_end`
    and whose line break at `at`, into the next `line`."""
    if not line or _OPENS.match(line) or _RULE.match(line):
        return True
    start = max(begin, text.rfind("\n", begin, text_end) + 1)
    if text_end - start > _WRAPPED_AT_MOST:
        return True
    previous = text[start:text_end]
    if _ENDS_CJK.search(previous) or _RULE.match(previous):
        return True
    first = line.lstrip()[:1]
    return len(previous) < _WRAPPED_AT_LEAST and not first.islower() and text[at - 1] == "\n"


def _in_block(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    begin, first = start, _first(text, start, end)
    for match in _END.finditer(text, start, end):
        if match["wide"] is None and not _ends_sentence(text, begin, first, match, end):
            continue
        border = match.end() if match["wide"] else match.start("gap")
        yield begin, border
        begin = match.end()
        first = _first(text, begin, end)
    yield begin, end


def _first(text: str, start: int, end: int) -> int:
    word = _WORD.search(text, start, end)
    return end if word is None else word.start()


def _ends_sentence(text: str, begin: int, first: int, match: re.Match[str], end: int) -> bool:
    after = text[match.end() : min(match.end() + 1, end)]
    if match["stop"] == "." and not match["marks"]:
        if _NUMBER.fullmatch(text, first, match.start()) or _is_day(text, match, end):
            return False
        if _ABBREVIATION.search(text[max(begin, match.start() - 12) : match.start() + 1]):
            return False
    return not after.islower() or len(match["gap"]) > 1


def _is_day(text: str, match: re.Match[str], end: int) -> bool:
    """True for the stop of `5. Mai`."""
    word = _LETTERS.match(text, match.end(), min(match.end() + 20, end))
    day = _DAY.search(text, max(match.start() - 3, 0), match.start())
    return bool(word and day and word[0].lower() in MONTHS)
