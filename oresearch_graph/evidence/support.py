"""What is known of a sentence by the sources it cites, without a model.

Word for word in one of them, or all that can be looked up in one passage of at most five sentences:
figures, dates, quotations and names; the meaning is not understood. Looked up as well: enough of
its words, neighbours beside neighbours, and no word that says the opposite.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from oresearch_graph.evidence.claim_parts import Parts, checkable_parts
from oresearch_graph.evidence.figures import Figure, agrees, figures, may_be, rivals, same
from oresearch_graph.evidence.source_index import (
    SourceIndex,
    SourcePassage,
    normal_words,
    stopped,
)
from oresearch_graph.text.polarity import denial_in
from oresearch_graph.text.scripts import CJK, main_script
from oresearch_graph.text.words import content
from oresearch_graph.trace.marks import unmarked
from oresearch_graph.trace.record import ClaimStatus, Evidence

HELD: Final = 0.5
"""Share of a sentence's words in its passage, at least: fewer, and nothing is known."""
KNOWN: Final = 0.7
"""The same where one part stands nowhere: with more of its words there it may be told otherwise."""
JOINED: Final = 0.27
"""Share of its neighbouring words that are neighbours there too, at least: words in any order say
anything. One in thirty sentences whose words were shuffled reaches it."""
SAID: Final = 0.5
"""Share of its words in one sentence that is about the same thing."""
IN_A_ROW: Final = 3
"""Words side by side that are not in the passage: a clause that was added."""
_CLAUSE: Final = re.compile(r"[,;:，；：]|\b(?:and|but|because|while|although|despite|who|which)\b")
_OF_CLAUSE: Final = 1 / 3
"""Share of a clause's words in the passages, of which at least so many must stand there."""
_BESIDE: Final = 40
"""Characters on each side of a figure in which stands what it counts."""
_ABOUT: Final = re.compile(
    r"""
    (?: \b (?: about|around|some|roughly|approximately|approx\.?|nearly|almost
            | over|above|under|below
            | (?: more|less|fewer|larger|greater|higher|lower ) \s than | at \s (?: least|most )
            | up \s to | circa|ca\.?|c\. | rund|etwa|fast|knapp|über|unter|mehr\ als|weniger\ als
            | environ|près\ de|plus\ de|moins\ de|unos|casi|más\ de|menos\ de|cerca\ de )
      | [~≈<>≥≤约約近超逾] | 大约|大約|超过|超過|不到|将近 ) \s* (?: [$€£¥] )? $
    """,
    re.IGNORECASE | re.VERBOSE,
)
"""What stands before a figure that is not meant exactly."""
_ARTICLE: Final = re.compile(r"\b(?:the|an?) (?:([a-z][\w-]*) )?$", re.IGNORECASE)
_NOUN: Final = re.compile(r" ([a-z][\w-]*)")
_UNIT_CJK: Final = re.compile(rf"\d[万亿千百萬億]?([{CJK}])")


class Support(NamedTuple):
    """What is known of a sentence, what of it stands nowhere, and where the rest stands."""

    status: ClaimStatus
    missing: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()


def support(parts: Parts, indexes: Sequence[SourceIndex], language: str = "en") -> Support:
    """What the sources say of a sentence with these parts. Whatever is known of it, one passage of
    one source has to say; a part is missing where none of them has it."""
    script = main_script(parts.prose)
    legible = [index for index in indexes if index.has_text and index.script == script]
    words = content(normal_words(parts.prose))
    if not legible or not words:
        return Support("not_checkable")
    found = [(index, passage) for index in legible if (passage := index.passage(words)) is not None]
    looks = [_Look(parts, words, index, passage, language) for index, passage in found]
    missing = tuple(
        part for part in _everything(parts) if not any(look.knows(part) for look in looks)
    )
    evidence = tuple(look.evidence() for look in looks)
    of_language = all(index.language == language for index in legible)
    status = _status(looks, missing, legible=of_language and len(legible) == len(indexes))
    return Support(status, missing, evidence)


def _everything(parts: Parts) -> list[str]:
    return [*parts.quotes, *(figure.text for figure in parts.figures), *parts.names]


def _status(looks: Sequence[_Look], missing: Sequence[str], *, legible: bool) -> ClaimStatus:
    """`legible`: a part could have been seen in every source that is cited."""
    if any(look.quoted for look in looks):
        return "quoted"
    if any(look.found for look in looks):
        return "found"
    if missing and not legible:
        return "unchecked"
    best = max(looks, key=lambda look: look.share, default=None)
    if best is not None and best.contradicts(missing):
        return "contradicted"
    share = best.share if best is not None else 0.0
    return "missing" if len(missing) > 1 or (missing and share < KNOWN) else "unchecked"


class _Look:
    """A sentence held against the passage of one source in which most of its words stand."""

    def __init__(
        self, parts: Parts, words: Sequence[str], source: SourceIndex, passage: SourcePassage,
        language: str,
    ) -> None:  # fmt: skip
        self.parts, self.words, self.source, self.passage = parts, words, source, passage
        self.claim, self.denial = normal_words(parts.prose), denial_in(language)
        self.held = {word for word in words if source.stands_in(passage, word)}
        self.share = len(self.held) / len(set(words))
        self.named = frozenset(
            word for name in parts.names if " " in name for word in _content(name)
        )
        self.reversals = self.denial.reversals(self.claim, passage.words, self.named)

    def knows(self, part: str) -> bool:
        """True when a part stands anywhere in the source."""
        if part in self.parts.quotes:
            return self.source.quotes(part)
        figures = [figure for figure in self.parts.figures if figure.text == part]
        return any(map(self.source.states, figures)) or (not figures and self.source.names(part))

    @property
    def quoted(self) -> bool:
        """Its words stand in the passage side by side, from one stop to the next."""
        plain = stopped(self.parts.prose).strip(" .:")
        sentences = self.passage.sentences
        texts = [
            " . ".join(["", *map(stopped, each), ""])
            for each in (sentences, map(unmarked, sentences))
        ]
        return bool(plain) and any(f". {plain} {stop}" in text for stop in ".:" for text in texts)

    @property
    def found(self) -> bool:
        """All that can be looked up stands in the passage, with enough of the other words."""
        parts, passage = self.parts, self.passage
        return (
            parts.checkable
            and self.share >= HELD
            and not self.reversals
            and self._begins()
            and all(agrees(figure, passage.figures) for figure in parts.figures)
            and all(self.source.quotes(quote) for quote in parts.quotes)
            and all(self._names(name) for name in parts.names)
            and self.joined() >= JOINED
            and not self._added()
            and not any(self._displaced(n) or self._mistaken(n) for n in parts.names)
        )

    def _begins(self) -> bool:
        """The word that a sentence begins with may be a name, and stands there too."""
        first = self.claim[0]
        return first.stop or self.source.stands_in(self.passage, first.stem)

    def _names(self, name: str) -> bool:
        """True when the name stands in the passage, or its last word, and elsewhere the whole."""
        *first, last = (self.source.stands_in(self.passage, word) for word in _content(name))
        return last and (all(first) or self.source.names_together(name))

    def contradicts(self, missing: Sequence[str]) -> bool:
        """The passage says the opposite, or another figure of the same thing."""
        absent = [f for f in self.parts.figures if f.text in missing]
        return any(reversal.sure for reversal in self.reversals) or any(
            self._rivalled(figure) for figure in absent
        )

    def _rivalled(self, figure: Figure) -> bool:
        """True when a sentence that says much of this one has a figure of the kind that this one
        does not have."""
        others = [other for other in self.parts.figures if other != figure]
        distinct, counted = set(self.words), _counted(self.parts.prose, figure.text)
        before, _, _ = self.parts.prose.partition(figure.text)
        about = _ABOUT.search(before[-_BESIDE:])
        alone = all(other.unit != figure.unit for other in others)
        for sentence, words in zip(self.passage.sentences, self.passage.words, strict=True):
            if len(distinct & {word.stem for word in words}) < SAID * len(distinct):
                continue
            there = figures(sentence)
            of_unit = [f for f in there if f.unit == figure.unit]
            only = bool(figure.unit) and alone and len(of_unit) == 1
            for other in there:
                if about is not None and may_be(figure, other, about[0]):
                    continue
                beside = only or bool(counted & _counted(sentence, other.text))
                if rivals(figure, other, beside=beside) and not any(same(other, o) for o in others):
                    return True
        return False

    def joined(self) -> float:
        """Of the neighbouring words that stand in the passage, the share that are neighbours
        there; two words that say nothing are no pair."""
        forms, places = self.source.forms, self.passage.places
        words = [
            (word.stop, {spot for form in forms(word.stem) for spot in places.get(form, ())})
            for word in self.claim
        ]
        pairs = [
            (first, second)
            for (stop, first), (also_stop, second) in pairwise(word for word in words if word[1])
            if not (stop and also_stop)
        ]
        joined = sum(not second.isdisjoint({at + 1 for at in first}) for first, second in pairs)
        return joined / len(pairs) if pairs else 1.0

    def _displaced(self, name: str) -> bool:
        """True when the name stands where the passage has another: the sentence that says most of
        the rest has a name that this one has not, and not this name."""
        of_name, distinct = set(_content(name)), set(self.words)
        rest = distinct - of_name
        stems = [{word.stem for word in words} for words in self.passage.words]
        best = max(range(len(stems)), key=lambda at: len(rest & stems[at]), default=None)
        if (
            best is None
            or len(rest & stems[best]) < SAID * len(rest)
            or _content(name)[-1] in stems[best]
        ):
            return False
        others = checkable_parts(self.passage.sentences[best]).names
        return any(not distinct & set(_content(other)) for other in others)

    def _mistaken(self, name: str) -> bool:
        """True when another name stands where this one does beside its neighbour: of the Orne
        bridge, where the source has the Vell bridge and no Orne bridge."""
        before, _, behind = self.parts.prose.partition(name)
        article, noun = _ARTICLE.search(before[-_BESIDE:]), _NOUN.match(behind[:_BESIDE])
        own = set(_content(name))
        for neighbour, after in (
            (article and article[1], True),
            (article and noun and noun[1], False),
        ):
            words = [word for word in normal_words(neighbour or "") if not word.stop]
            if words and words[0].stem not in own:
                names = self.source.names_beside(words[0].stem, after=after)
                if names and names.isdisjoint(own):
                    return True
        return False

    def _added(self) -> bool:
        """True when words that the passage does not hold stand in a row, or fill a clause."""
        row = longest = 0
        for word in self.words:
            row = 0 if word in self.held else row + 1
            longest = max(longest, row)
        if longest >= IN_A_ROW:
            return True
        for clause in _CLAUSE.split(self.parts.prose):
            said = set(_content(clause)) & set(self.words)
            if len(said) > 1 and len(said & self.held) <= _OF_CLAUSE * len(said):
                return True
        return False

    def evidence(self) -> Evidence:
        """The passage, with the share of the sentence's words in it."""
        source, start, end = self.source.source, self.passage.start, self.passage.end
        return Evidence(source=source.id, start=start, end=end, quote=source.text[start:end],
                        score=round(self.share, 4))  # fmt: skip


def _content(text: str) -> list[str]:
    return content(normal_words(text))


def _counted(text: str, figure: str) -> set[str]:
    """What stands beside a figure: what it counts, or what it is the number of."""
    start = text.find(figure)
    while start > 0 and (text[start - 1].isalnum() or text[start - 1] == "."):
        start = text.find(figure, start + 1)
    if start < 0:
        return set()
    end = start + len(figure)
    before = normal_words(text[max(start - _BESIDE, 0) : start])[-1:]
    after = normal_words(text[end : end + _BESIDE])[:1]
    beside = {word.stem for word in (*before, *after) if not word.stop}
    return beside | set(_UNIT_CJK.findall(text[start : end + 2]))
