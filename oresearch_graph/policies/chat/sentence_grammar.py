"""Sentences as GBNF: their words, the names and figures that they may have, and their marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from typing import Final, NamedTuple

from oresearch_graph.threads import Citable, Next

_RULES: Final = {
    "end": "[.!?。！？]",
    "lower": 'char+ ( "/" char+ )? | "e.g." | "i.e." | "etc."',
    "tail": """[,;:()"”%°`*]+ | ['’] "s"? | [/–-] char+""",
}
_CAPITALS: Final = "A-ZÀ-ÖØ-ÞΆΈ-ΏΑ-ΫЀ-Я"
_SMALL: Final = r"""a-zß-öø-ÿĀ-ʯʻʼΐά-ώа-ԯḀ-ỿ"$-,:;=>@\\^-`{-~‐-—‘-”„«»°µ·€£§…′″≈≤≥×±−→¿¡-"""
"""Letters and marks of a word in Latin, Greek or Cyrillic text, as a character class. Whatever else
is allowed a small model finds, where it may not write the figure that it wants: it wrote combining
strokes until all bounds were spent."""
_CJK: Final = "ぁ-ヿ㐀-鿿가-힣"
_FIGURES: Final = "0-9𝟎-𝟿٠-٩۰-۹०-९০-৯๐-๙¼-¾¹²³⁰-⁹₀-₉①-⓿⅐-ↈ０-９"
"""Small models write superscripts, fractions or the figures of another script where they may not
write one."""
_CJK_LANGUAGES: Final = frozenset(("zh", "ja", "ko"))
_OTHER_SCRIPTS: Final = frozenset((
    "am", "ar", "as", "bn", "bo", "dv", "dz", "fa", "gu", "he", "hi", "hy", "iw", "ka", "km", "kn",
    "ks", "lo", "ml", "mr", "my", "ne", "or", "pa", "ps", "sa", "sd", "si", "ta", "te", "th", "ti",
    "ug", "ur", "yi",
))  # fmt: skip
"""Languages that are written neither in Latin, Greek or Cyrillic nor in CJK characters."""
_ESCAPES: Final = {
    **{code: f"\\x{code:02X}" for code in (*range(32), 127)},
    ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n",
}  # fmt: skip
"""A grammar ends for llama.cpp at a NUL, which a page may hold."""
_OTHER_SCRIPT: Final = re.compile("[\u0530-\u1dbf\ua840-\uabff\ufb1d-\ufdff\ufe70-\ufefc]")
"""A letter of those."""
_OPEN_MARK: Final = re.compile(r"\[(\d*)$")
_TOGETHER: Final = 4
"""Of so many sources any two may stand behind one sentence; of more the pairs are too many."""
_TOGETHER_NAMES: Final = 160
"""Of all of them: each pair repeats them, and a server looks at every one of them at every word."""


def sentence(expected: Next) -> str:
    """A sentence that names only what its source does, then that source; or what two sources do,
    each its own, then both; where none was shown, one that cites nothing."""
    if not expected.sources:
        return "a0 end"
    ways = [f'a{s.id} end? " "? {literal(f"[{s.id}]")}' for s in expected.sources]
    for pair in _pairs(expected):
        one, other = (literal(f"[{number}]") for number in pair.ids)
        ways.append(f'{pair.rule}b end? " "? {one} " "? {other}')
    return f"( {' | '.join(ways)} ) end?"


class _Pair(NamedTuple):
    """Two sources about the same, to go by the question's names, that each name what the other does
    not."""

    ids: tuple[int, int]
    one: tuple[str, ...]
    other: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def rule(self) -> str:
        return f"a{self.ids[0]}x{self.ids[1]}"


def _pairs(expected: Next) -> Iterator[_Pair]:
    count = sum(len(source.names) for source in expected.sources)
    if len(expected.sources) > _TOGETHER or count > _TOGETHER_NAMES:
        return
    asked = frozenset(expected.names)
    for one, other in combinations(expected.sources, 2):
        if asked.intersection(one.names) != asked.intersection(other.names):
            continue
        names = tuple(dict.fromkeys([*_held_by_none(expected), *one.names, *other.names]))
        of_one = tuple(n for n in one.names if n not in {*expected.names, *other.names})
        of_other = tuple(n for n in other.names if n not in {*expected.names, *one.names})
        if of_one and of_other:
            yield _Pair((one.id, other.id), of_one, of_other, names)


def _held_by_none(expected: Next) -> list[str]:
    """Names of the question that no source writes. Where one does, the others are not about it: a
    small model put the neighbour's figures under the name that was asked for."""
    held = {name for source in expected.sources for name in source.names}
    return [name for name in expected.names if name not in held]


def text_rules(expected: Next, language: str, question: str = "") -> dict[str, str]:
    """The rules of running text by their names: `a1001` as source 1001 has it, `a1001x2001b` as
    two have it, each its own, `a0` without one, `any…` of all; `more` behind what was cut."""
    cjk = language in _CJK_LANGUAGES
    others = f" {_CAPITALS}{'' if cjk else _CJK}{_FIGURES}<\\[\\]#\\n\\t.!?。！？/"
    free = cjk or language in _OTHER_SCRIPTS or bool(_OTHER_SCRIPT.search(question))
    articles = language in _WITH_ARTICLES and not free
    names, asked = {"a0": expected.names, "any": _names(expected)}, _held_by_none(expected)
    names |= {f"a{source.id}": (*asked, *source.names) for source in expected.sources}
    rules = {**_RULES, "char": f"[^{others}]" if free else f"[{_SMALL}]"}
    more, space = "", "" if cjk else '" "'
    for name, known in names.items():
        rules |= _word_rules(name, known, cjk=cjk, articles=articles)
    for pair in _pairs(expected):
        rules |= _pair_rules(pair, cjk=cjk, articles=articles)
    for _ in range(3 * _REST if cjk else _REST):
        more = f"( {space} anyw {more} )?"
    return {**rules, "more": more}


def _word_rules(
    name: str, names: Sequence[str], *, cjk: bool, articles: bool = False
) -> dict[str, str]:
    known = one_of(dict.fromkeys(names)) if names else "char"
    if cjk:
        word = f'char ( "/" char )? | " " | {known}'
        return {f"{name}w": word, name: f"{name}w+"}
    rules = {f"{name}k": known, f"{name}w": f"lower | {_OPENING} {name}k tail?"}
    if not articles:
        return {**rules, name: f'( [{_CAPITALS}] char* | lower | {name}k tail? ) ( " " {name}w )*'}
    starts = [text for text in names if not text[:1].isnumeric()]
    named = f" | {one_of(starts)} tail?" if starts else ""
    return {
        **rules,
        f"{name}s": f"[{_CAPITALS}] char* | lower{named}",
        f"{name}h": _head(name),
        name: f'{name}h " " {name}w " " {name}w ( " " {name}w )*',
    }


def _head(name: str) -> str:
    """How a sentence begins that is one: no figure first, and behind some names without a comma a
    plain word. Small models make no sentence of "2,298 m, 2,298 m, 2,298 m [1001].", nor of
    "Calder Mavrollo, Jorrune, Jorrune, Jorrune [1001]."."""
    names = ""
    for _ in range(_NAMES_FIRST):
        names = f'( " " {name}k ( [\'’] "s"? )? {names} )?'
    return f'{name}s {names} " " lower'


_NAMES_FIRST: Final = 4
"""Names at the head of a sentence, at most."""
_WITH_ARTICLES: Final = frozenset(("en", "de", "fr", "nl"))
"""Languages whose bare titles have three words, as in "The Quill bridge [1001]", sentences more."""
_OPENING: Final = "[(\"'“‘`*]*"


def _pair_rules(pair: _Pair, *, cjk: bool, articles: bool) -> dict[str, str]:
    name, word = pair.rule, f"{pair.rule}w"
    one, other = f"{name}y", f"{name}z"
    rules = _word_rules(name, pair.names, cjk=cjk, articles=articles)
    rules |= {one: one_of(pair.one), other: one_of(pair.other)}
    if cjk:
        both = f"( {one} {word}* {other} | {other} {word}* {one} )"
        return {**rules, f"{name}b": f"{word}* {both} {word}*"}
    rules |= {each: f"{_OPENING} {rules[each]} tail?" for each in (one, other)}
    between = f'" " ( {word} " " )*'
    start = f'( ( [{_CAPITALS}] char* | {word} ) " " ( {word} " " )* )?'
    if articles:
        start = f'{name}h " " ( {word} " " )*'
    both = f"( {one} {between} {other} | {other} {between} {one} )"
    return {**rules, f"{name}b": f'{start} {both} ( " " {word} )*'}


def _mark(sources: Sequence[Citable]) -> str:
    return one_of(f"[{source.id}]" for source in sources)


def _marks(sources: Sequence[Citable]) -> str:
    return f'" "? {_mark(sources)} ( " "? {_mark(sources)} )?'


_REST: Final = 16
"""Words that may follow where a sentence was cut: its continuation is cut by the same bound."""


def rest_of_sentence(content: str, expected: Next) -> str:
    """What ends a sentence that may be cut inside its mark, or be complete."""
    sources = expected.sources
    if (mark := _OPEN_MARK.search(content)) and sources:
        ids = [str(source.id) for source in sources]
        rests = [f"{n}]".removeprefix(mark[1]) for n in ids if n.startswith(mark[1])]
        return f"{one_of(rests or [''])} end?"
    tail = content.rstrip().rstrip(".!?。！？")
    if not sources:
        return "end?"
    if tail.endswith("]"):
        return "end?" if content.rstrip() != tail else f'( " "? {_mark(sources)} )? end?'
    names = _names(expected)
    word = content.rpartition(" ")[2]
    rests = [name.removeprefix(word) for name in names if name.startswith(word)]
    begun = f"( {one_of(rests)} | char* )" if rests and word else "char*" if word else "anyw?"
    return f"{begun} more end? {_marks(sources)} end?"


def _names(expected: Next) -> tuple[str, ...]:
    """Of the question and of every source."""
    names = [name for source in expected.sources for name in source.names]
    return tuple(dict.fromkeys([*expected.names, *names]))


def one_of(texts: Iterable[str]) -> str:
    """One of these texts."""
    return f"( {' | '.join(map(literal, texts))} )"


def literal(text: str) -> str:
    """This text."""
    return f'"{text.translate(_ESCAPES)}"'
