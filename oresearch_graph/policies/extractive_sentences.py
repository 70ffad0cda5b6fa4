"""The sentences of shown sources that are worth quoting: whole, readable, about the matter, and no
two alike. Wording stays as in the source, so that every quotation can be checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.scripts import has_cjk
from oresearch_graph.evidence.sentences import sentence_spans
from oresearch_graph.evidence.sources import ShownSource
from oresearch_graph.evidence.words import terms
from oresearch_graph.policies.extractive_phrases import CUES, Facet
from oresearch_graph.trace.tags import PROTOCOL_TAGS

_TAG: Final = re.compile(f"</?\\s*(?:{'|'.join(PROTOCOL_TAGS)}|[a-zA-Z][\\w-]*)\\s*/?>")
_MARKS: Final = re.compile(r"\s*(?:\[\d+(?:[,，\s]+\d+)*\]|【\d+】)")
_LIST_MARK: Final = re.compile(r"^(?:[-*+•>#|]+|\d{1,3}[.)、])\s+")
_CODE: Final = re.compile(
    r">>>|::|\$ |==|!=|\+=|&&|\|\||[{}]|\w = \S|^\s*(?:def|class|import|from \w+ import|return"
    r"|for \w+ in|if .*:$|@\w+|\.\. )|\\\w|->|^\w+\(.*\)$|(?:\S+ \| ){2}|\]\(|https?://|-{3,}|_{5,}|\*{3,}"
)
_JUNK: Final = re.compile(
    r"cookie|all rights reserved|copyright|©|skip to|table of contents|log ?in\b|sign (?:in|up)"
    r"|subscribe|newsletter|previous (?:topic|page)|next (?:topic|page)|privacy policy|click here"
    r"|share this|read more|^see (?:also\b|the\b|section)|for more (?:information|details)|^note:?$"
    r"|described (?:below|above)|following (?:example|table|code)"
    r"|\b(?:args|arguments|parameters|returns|raises|usage|examples?):|faq entry|^module\b"
    r"|版权所有|登录|注册|点击|上一页|下一页|目录$",
    re.IGNORECASE,
)
_ANAPHORA: Final = re.compile(
    r"^(?:this|that|these|those|it|its|they|their|he|she|such|however|therefore|thus|then|otherwise"
    r"|also|but|and|or|so|in (?:this|that|these|such)|for example|e\.g|i\.e|instead|furthermore"
    r"|moreover|similarly|likewise|again|here|both|the (?:latter|former|second|first|third|same"
    r"|following|above|default|other)|in addition|as (?:a result|above|such)|note|if not|when not"
    r"|if so|它|这|该|此|但|而|因此|所以|另外|例如|其|因而|然而)\b",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[.!。！][\"'”’)）」*`]*$")
_BEGINS: Final = re.compile(r"^[\"'“‘(（「《*`_]*(?:[^\W\d_]|\d|_)")
_OPENING_LOWER: Final = re.compile(r"^[*(]*[a-z]+[*]*(?:[\s,:]|$)")
_FRAGMENT: Final = re.compile(
    r"^(?:returns?|creates?|raises?|gets?|sets?|runs?|makes?|calls?|same as|like|construct|convert"
    r"|wrapper|helper|subclass"
    r"|(?:an?|the)(?: (?:abstract|base|simple|mutable))? \w+ (?:for|that|of))\b",
    re.IGNORECASE,
)
_ALIKE: Final = 0.6
_PER_SOURCE: Final = 5
_LEAST: Final = 2.2
"""Points under which a sentence is beside the matter. A sentence with half of the key terms on a
page that has them all gets 2.25 before cues; one with none of them on a page about the matter 2.4.
"""


class Sentence(NamedTuple):
    """A quotable sentence and where it stands."""

    text: str
    source: ShownSource
    place: int
    """Which sentence of its source it is."""
    terms: frozenset[str]
    near: frozenset[str]
    """Terms of the sentences around it."""
    leans: bool
    """It refers to the sentence before it."""


def quotable(source: ShownSource) -> list[Sentence]:
    """The readable whole sentences of a source."""
    spans = sentence_spans(source.text)
    texts = [_clean(source.text[start:end]) for start, end in spans]
    bags = [frozenset(terms(text)) if text else frozenset[str]() for text in texts]
    return [
        Sentence(
            text, source, place, bags[place],
            frozenset().union(*bags[max(place - 2, 0) : place + 2]),
            _ANAPHORA.match(text) is not None,
        )
        for place, text in enumerate(texts)
        if is_readable(text)
    ]  # fmt: skip


def _clean(text: str) -> str:
    return " ".join(_LIST_MARK.sub("", _MARKS.sub("", " ".join(text.split()))).split())


def is_readable(text: str) -> bool:
    """A whole sentence of prose: no code, no navigation, no question, no half."""
    low, high = (10, 160) if has_cjk(text) else (35, 420)
    if not low <= len(text) <= high or not _ENDS.search(text) or not _BEGINS.match(text):
        return False
    if _OPENING_LOWER.match(text) or _TAG.search(text) or _CODE.search(text) or _JUNK.search(text):
        return False
    if text.count("(") != text.count(")") or text.count('"') % 2 or text.count("`") % 2:
        return False
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return letters >= 0.78 * len(text) and (has_cjk(text) or len(text.split()) >= 6)


class Focus(NamedTuple):
    """What is asked for: the key terms of the subtask, those of the question, and the facet."""

    own: frozenset[str]
    whole: frozenset[str]
    facet: Facet


def covers(source: ShownSource, focus: Focus) -> bool:
    """True when a source is about the matter and not merely touched by one of its words.

    More than half of the question's or of the subtask's key terms must stand in it; where only
    half do, one of them must stand in the title.
    """
    held = frozenset(terms(f"{source.title}\n{source.text}"))
    title = frozenset(terms(source.title))
    for wanted in (_same_script(focus.own, source), _same_script(focus.whole, source)):
        share = len(wanted & held) / len(wanted) if wanted else 0.0
        if share > 0.5 or (share == 0.5 and wanted & title):
            return True
    return False


def _same_script(wanted: frozenset[str], source: ShownSource) -> frozenset[str]:
    """For a source in an alphabet, the alphabetic terms of a CJK question."""
    if has_cjk(source.text[:2_000]):
        return wanted
    return frozenset(term for term in wanted if not has_cjk(term))


def best_sentences(sources: Iterable[ShownSource], focus: Focus, count: int) -> list[Sentence]:
    """At most `count` sentences about the focus, no two alike, together by source in its order."""
    found = [s for source in sources if covers(source, focus) for s in quotable(source)]
    scored = sorted(
        ((score(sentence, focus), -i, sentence) for i, sentence in enumerate(found)), reverse=True
    )
    ranked = [(points, sentence) for points, _, sentence in scored if points >= _LEAST]
    chosen: list[Sentence] = []
    while ranked and len(chosen) < count:
        points, best = max(ranked, key=lambda item: item[0] - _sameness(item[1], chosen))
        ranked.remove((points, best))
        if _fits(best, chosen):
            chosen.append(best)
    return _in_order(chosen)


def _in_order(chosen: Sequence[Sentence]) -> list[Sentence]:
    order = {sentence.source.id: rank for rank, sentence in reversed(list(enumerate(chosen)))}
    return sorted(chosen, key=lambda sentence: (order[sentence.source.id], sentence.place))


def _fits(sentence: Sentence, chosen: Sequence[Sentence]) -> bool:
    same = [other for other in chosen if other.source.id == sentence.source.id]
    if len(same) >= _PER_SOURCE or any(alike(sentence, other) for other in chosen):
        return False
    return not sentence.leans or any(other.place == sentence.place - 1 for other in same)


def alike(first: Sentence, second: Sentence) -> bool:
    """True when two sentences say the same in much the same words."""
    smaller = min(len(first.terms), len(second.terms)) or 1
    return len(first.terms & second.terms) / smaller > _ALIKE + (0.2 if smaller < 6 else 0)


def _sameness(sentence: Sentence, chosen: Sequence[Sentence]) -> float:
    shared = (
        len(sentence.terms & other.terms) / (len(sentence.terms | other.terms) or 1)
        for other in chosen
    )
    return 2.5 * max(shared, default=0.0)


def score(sentence: Sentence, focus: Focus) -> float:
    """How much a sentence says about the focus: its own terms first, then its surroundings, the
    facet's cue words, facts, and an early place on a page about the matter."""
    title = frozenset(terms(sentence.source.title))
    about = _share(title, focus.own)
    own = max(_share(sentence.terms, focus.own), 0.4 * (about == 1.0))
    whole = _share(sentence.terms, focus.whole) + 0.5 * _share(title, focus.whole)
    around = _share(sentence.near | title, focus.own)
    if not own and not whole:
        return 0.0
    words = {word.strip(".,;:()\"'") for word in sentence.text.lower().split()}
    cues = CUES[focus.facet]
    cue = sum(1 for word in cues if word in words or (has_cjk(word) and word in sentence.text))
    fact = bool(re.search(r"\d|\w\(\)|__\w+__|\"\w+\"|`", sentence.text))
    early = 1.0 / (1 + sentence.place / 6)
    return (
        2.4 * own + 1.2 * whole + 1.0 * around + 1.0 * about
        + 0.5 * min(cue, 3) + 0.3 * fact + 0.4 * early
        - 0.8 * sentence.leans - 0.9 * (_FRAGMENT.match(sentence.text) is not None)
    )  # fmt: skip


def _share(held: frozenset[str], wanted: frozenset[str]) -> float:
    return len(held & wanted) / len(wanted) if wanted else 0.0


def focus_on(own: Sequence[str], whole: Sequence[str], facet: Facet) -> Focus:
    """A focus from key terms; the subtask's own are the question's where it has none."""
    return Focus(frozenset(own) or frozenset(whole), frozenset(whole), facet)
