"""The sentences of shown sources that are worth quoting: whole, readable, about the matter, and no
two alike. Wording stays as in the source, so that every quotation can be checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Final, NamedTuple

from oresearch_graph.evidence.ledger import ShownSource
from oresearch_graph.policies.extractive.phrases import CUES, Facet
from oresearch_graph.text.passages import bm25
from oresearch_graph.text.scripts import CJK, has_cjk
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from oresearch_graph.trace.escaping import PROTOCOL_TAGS

_TAG: Final = re.compile(f"</?\\s*(?:{'|'.join(PROTOCOL_TAGS)}|[a-zA-Z][\\w-]*)\\s*/?>")
_MARKS: Final = re.compile(
    rf"(?:(?<!\s)\s++|(?<=[.,;:!?。，；！？\"”])|(?<=[a-z]{{4}})|(?<=[{CJK}]))"
    r"(?:\[[1-9]\d*+(?:[,，\s]++\d++)*+\]|【\d++】)(?=[\s.,;:!?。，；！？\[]|$)"
)
_NUMBERED: Final = re.compile(r"\[\d++(?:[,，\s]++\d++)*+\]|【\d++】")
_LIST_MARK: Final = re.compile(r"^(?:[-*+•]|\d{1,3}[.)、])\s+")
_CODE: Final = re.compile(
    r">>>|::|\$ |\+=|&&|\|\||\w = \S|^\s*(?:def|class|import|from \w+ import|return"
    r"|for \w+ in|if .*:$|@\w+|\.\. )|\\\w|->|^\w+\(.*\)$|(?:\S+ \| ){2}|\]\(|https?://|-{3,}|_{5,}|\*{3,}"
)
_JUNK: Final = re.compile(
    r"""
    # the frame of a site
      cookie | all\ rights\ reserved | copyright | © | skip\ to | table\ of\ contents
    | log\ ?in\b | sign\ (?:in|up) | subscribe | newsletter | privacy\ policy | click\ here
    | previous\ (?:topic|page) | next\ (?:topic|page) | share\ this | read\ more
    # what points elsewhere
    | ^see\ (?: also\b | the\b | section ) | for\ more\ (?:information|details) | ^note:?$
    | described\ (?:below|above) | following\ (?:example|table|code)
    # headings of reference pages
    | \b (?: args|arguments|parameters|returns|raises|usage|examples? ):
    | faq\ entry | ^module\b
    | 版权所有 | 登录 | 注册 | 点击 | 上一页 | 下一页 | 目录$
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ANAPHORA: Final = re.compile(
    r"""
    ^ (?:
        this|that|these|those|it|its|they|their|he|she|such|both|here    # somebody named before
      | however|therefore|thus|then|otherwise|also|but|and|or|so         # a sentence before
      | instead|furthermore|moreover|similarly|likewise|again|note
      | in\ (?:this|that|these|such) | in\ addition | as\ (?:a\ result|above|such)
      | for\ example | e\.g | i\.e | if\ not | when\ not | if\ so
      | the\ (?: latter|former|second|first|third|same|following|above|default|other )
      | 它|这|该|此|但|而|因此|所以|另外|例如|其|因而|然而
    ) \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_COLON: Final = re.compile(
    r"(?:following|follows?|examples?|e\.g\.|like|as|this|these|below|is|are|with|if|when|by|to|code"
    r"|[^.:;!]{0,45})[,\s]*:$",
    re.IGNORECASE,
)
_ENDS: Final = re.compile(r"[.!。！][\"'”’)）」*`]*$")
_BEGINS: Final = re.compile(r"^[\"'“‘(（「《*`_]*(?:[^\W\d_]|\d|_)")
_OPENING_LOWER: Final = re.compile(r"^[*(]*[a-z]+[*]*(?:[\s,:]|$)")
_FRAGMENT: Final = re.compile(
    r"""
    ^ (?:
        returns?|creates?|raises?|gets?|sets?|runs?|makes?|calls?        # a docstring's verb
      | same\ as | like | construct | convert | wrapper | helper | subclass
      | (?: an? | the ) (?: \ (?:abstract|base|simple|mutable) )? \ \w+\ (?:for|that|of)
    ) \b
    """,
    re.IGNORECASE | re.VERBOSE,
)
_ALIKE: Final = 0.6
"""Shared terms over all terms of two sentences, above which they say the same."""
_WITHIN: Final = 0.85
"""Shared terms over the shorter one's, likewise."""
_NEAR: Final = 1.5
_RANK: Final = 1.2
_HOME: Final = 2.5
"""Points for the surroundings, the page's rank and the facet. Key-point recall on the fixed
questions: 0.62 with a home of 0.5, 0.68 with 1, 0.72 with 2 to 3; 0.59 with 3 for surroundings."""
_SURELY: Final = 0.1
"""Share of the best surroundings' BM25 under which a sentence is beside the matter."""
_SAME: Final = 2.5
_SPREAD: Final = 0.3
"""Points lost for each sentence already taken of the same source. On a folder of SQLite's
documentation reports draw on 4 sources without it, on 5 with it, on 7 with 0.6; key-point recall
is 0.68, 0.67, 0.66."""
_PER_SOURCE: Final = 4
_LEAST: Final = 0.3
"""Share of the best sentence's points under which a sentence is beside the matter."""
_CONSIDERED: Final = 80
_LONGEST_RUN: Final = 3


class Sentence(NamedTuple):
    """A quotable sentence and where it stands."""

    text: str
    source: ShownSource
    place: int
    """Which sentence of its source it is."""
    terms: frozenset[str]
    near: tuple[str, ...]
    """Terms of what stands around it: two sentences before, itself, two after."""
    leans: bool
    """It refers to the sentence before it."""


def quotable(source: ShownSource) -> list[Sentence]:
    """The readable whole sentences of a source."""
    texts = [_clean(source.text[start:end]) for start, end in sentence_spans(source.text)]
    bags = [terms(text) for text in texts]
    return [
        Sentence(
            text,
            source,
            place,
            frozenset(bags[place]),
            tuple(chain.from_iterable(bags[max(place - 2, 0) : place + 3])),
            _ANAPHORA.match(text) is not None,
        )
        for place, text in enumerate(texts)
        if is_readable(text)
    ]


def _clean(text: str) -> str:
    """One line, without list mark and the source's own citation marks; what introduces an example
    ends there, and a list item begins like a sentence. Empty where a subscript such as `a[0]`
    would be left to look like a citation."""
    flat = " ".join(text.split())
    if flat[:1] in "#>|":
        return ""
    plain = " ".join(_LIST_MARK.sub("", _MARKS.sub("", flat)).split())
    if _NUMBERED.search(plain):
        return ""
    if plain.endswith(":") and not _COLON.fullmatch(plain) and not _COLON.search(plain[-12:]):
        plain = f"{plain[:-1]}."
    if plain and not flat.startswith(plain[:8]) and len(plain.split()) >= 6:
        plain = plain[0].upper() + plain[1:]
    return plain


def is_readable(text: str) -> bool:
    """A whole sentence of prose: no code, no navigation, no question, no half."""
    low, high = (10, 160) if has_cjk(text) else (28, 420)
    if not low <= len(text) <= high or not _ENDS.search(text) or not _BEGINS.match(text):
        return False
    if _OPENING_LOWER.match(text) or _TAG.search(text) or _CODE.search(text) or _JUNK.search(text):
        return False
    if text.count("(") != text.count(")") or text.count('"') % 2 or text.count("`") % 2:
        return False
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return letters >= 0.72 * len(text) and (has_cjk(text) or len(text.split()) >= 4)


class Focus(NamedTuple):
    """What is asked for: the key terms of the subtask, those of the question, and the facet."""

    own: frozenset[str]
    whole: frozenset[str]
    facet: Facet
    siblings: tuple[Facet, ...] = ()
    """The facets of all subtasks on the same topic."""


def covers(source: ShownSource, focus: Focus) -> bool:
    """True when a source is about the matter and not merely touched by one of its words.

    More than half of the question's or of the subtask's key terms must stand in it; where only
    half do, one of them must stand in the title.
    """
    source_terms = frozenset(terms(f"{source.title}\n{source.text}"))
    title = frozenset(terms(source.title))
    for focus_terms in (_same_script(focus.own, source), _same_script(focus.whole, source)):
        share = len(focus_terms & source_terms) / len(focus_terms) if focus_terms else 0.0
        if share > 0.5 or (share == 0.5 and focus_terms & title):
            return True
    return False


def _same_script(focus_terms: frozenset[str], source: ShownSource) -> frozenset[str]:
    """For a source in an alphabet, the alphabetic terms of a CJK question."""
    if has_cjk(source.text[:2_000]):
        return focus_terms
    return frozenset(term for term in focus_terms if not has_cjk(term))


def best_sentences(sources: Iterable[ShownSource], focus: Focus, count: int) -> list[Sentence]:
    """At most `count` sentences about the focus, no two alike, together by source in its order."""
    candidates = [s for source in sources if covers(source, focus) for s in quotable(source)]
    scored = sorted(
        zip(_points(candidates, focus), candidates, strict=True),
        key=lambda item: item[0],
        reverse=True,
    )[:_CONSIDERED]
    least = _LEAST * max((points for points, _ in scored), default=0.0)
    ranked = [item for item in scored if item[0] >= least]
    places = {(s.source.id, s.place): s for s in candidates}
    best: list[Sentence] = []
    while ranked and len(best) < count:
        item = max(
            ranked, key=lambda item: item[0] - _sameness(item[1], best) - _spread(item[1], best)
        )
        ranked.remove(item)
        run = _run(item[1], places)
        if run and len(best) + len(run) <= count + 1 and _fits(run, best):
            best += [sentence for sentence in run if sentence not in best]
    return _in_order(best)


def _run(sentence: Sentence, places: Mapping[tuple[int, int], Sentence]) -> list[Sentence]:
    """The sentence, after those it refers back to; empty when one of them cannot be quoted."""
    run = [sentence]
    while run[0].leans:
        before = places.get((sentence.source.id, run[0].place - 1))
        if before is None or len(run) == _LONGEST_RUN:
            return []
        run.insert(0, before)
    return run


def _in_order(best: Sequence[Sentence]) -> list[Sentence]:
    order = {sentence.source.id: rank for rank, sentence in reversed(list(enumerate(best)))}
    return sorted(best, key=lambda sentence: (order[sentence.source.id], sentence.place))


def _fits(run: Sequence[Sentence], best: Sequence[Sentence]) -> bool:
    same = [other for other in best if other.source.id == run[0].source.id]
    fresh = [sentence for sentence in run if sentence not in best]
    return len(same) + len(fresh) <= _PER_SOURCE and not any(
        alike(sentence, other) for sentence in fresh for other in best
    )


def alike(first: Sentence, second: Sentence) -> bool:
    """True when two sentences say the same in much the same words."""
    return same_words(first.terms, second.terms)


def same_words(first: frozenset[str], second: frozenset[str]) -> bool:
    """True for two bags of terms that are nearly one, or one of which is nearly in the other."""
    shared = len(first & second)
    smaller, union = min(len(first), len(second)) or 1, len(first | second) or 1
    return shared > _ALIKE * union or shared > _WITHIN * smaller


def _spread(sentence: Sentence, best: Sequence[Sentence]) -> float:
    """What a sentence loses for each one already taken of its source: others are to be heard."""
    return _SPREAD * sum(other.source.id == sentence.source.id for other in best)


def _sameness(sentence: Sentence, best: Sequence[Sentence]) -> float:
    shared = (
        len(sentence.terms & other.terms) / (len(sentence.terms | other.terms) or 1)
        for other in best
    )
    return _SAME * max(shared, default=0.0)


def _points(candidates: Sequence[Sentence], focus: Focus) -> list[float]:
    """How much each sentence says about the focus: what stands around it first (BM25 over all
    surroundings, so that rare key terms weigh most), then its own terms, the page's rank and
    title, the facet it fits, facts, and an early place."""
    query = sorted(focus.own | focus.whole)
    ranks = {
        number: rank for rank, number in enumerate(dict.fromkeys(s.source.id for s in candidates))
    }
    around = _shares(bm25([sentence.near for sentence in candidates], query))
    alone = _shares(bm25([sorted(sentence.terms) for sentence in candidates], query))
    return [
        _NEAR * near + points + _bonus(sentence, focus) + _RANK / (1 + ranks[sentence.source.id])
        if near >= _SURELY
        else 0.0
        for sentence, near, points in zip(candidates, around, alone, strict=True)
    ]


def _shares(scores: Sequence[float]) -> list[float]:
    most = max(scores, default=0.0) or 1.0
    return [score / most for score in scores]


def _bonus(sentence: Sentence, focus: Focus) -> float:
    title = frozenset(terms(sentence.source.title))
    fact = bool(re.search(r"\d|\w\(\)|__\w+__|\"\w+\"|`", sentence.text))
    fragment = _FRAGMENT.match(sentence.text) is not None
    return (
        0.8 * max(_share(title, focus.own), _share(title, focus.whole))
        + _HOME * (home(sentence, focus.siblings) == focus.facet)
        + 0.2 * fact + 0.4 / (1 + sentence.place / 6) - 0.3 * sentence.leans - 0.5 * fragment
    )  # fmt: skip


def home(sentence: Sentence, facets: Sequence[Facet]) -> Facet | None:
    """The one facet of those of a topic that a sentence belongs to: the one with most of its cue
    words, else its passage's share. Researchers of one topic so divide its sentences, unseen by
    each other."""
    if not facets:
        return None
    words = {word.strip(".,;:()\"'") for word in sentence.text.lower().split()}
    turn = sentence.place // 3
    return max(
        (facets[(turn + i) % len(facets)] for i in range(len(facets))),
        key=lambda facet: sum(
            word in words or (has_cjk(word) and word in sentence.text) for word in CUES[facet]
        ),
    )


def _share(part: frozenset[str], whole: frozenset[str]) -> float:
    return len(part & whole) / len(whole) if whole else 0.0
