"""The prepared trace: a trace as rows tell it, with its ledger and the numbers it shows, made once
and handed on; and the same trace in one piece.

Branches of a parallel run give one address several numbers (1001 in the first, 2003 in the
second), and an answer with a reference list of its own may count from 1. Read in one piece, an
address has one number: the one under which it was first shown, as a sequential run would show it.
Observations, thoughts and answers are rewritten to it; a mark beside its own repetition and a
repeated line of a reference list go. So a linear row's policy text is the policy's but for
citation numbers; the steps of a trace that is numbered so already are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from datagen.export.rewriting import Edit, rewritten
from oresearch_graph.evidence.ledger import SourceHead, source_heads
from oresearch_graph.trace import ANSWER_KINDS, Source, Step, Trace
from oresearch_graph.trace.answer import ParsedAnswer, parse_answer
from oresearch_graph.trace.marks import NUMBER_OR_RANGE, Mark
from oresearch_graph.trace.references import Ledger, same_address

_WIDE: Final = re.compile(r"(【)(\d+)(.*)", re.DOTALL)
Texts = dict[int, tuple[str, str]]
"""Text and hash of each source of a trace, by id; the text is empty where it is withheld."""


class Unresolved(ValueError):
    """A citation that no number shown in the trajectory stands for."""


@dataclass(frozen=True)
class PreparedTrace:
    """A trace that is to become rows."""

    trace: Trace
    ledger: Ledger
    """Its sources by id and address."""
    numbers: Mapping[str, int] | None
    """Each address that an observation shows, with the number of its first showing. None: a number
    stands for two addresses, since a page imitates a source's head."""

    @classmethod
    def of(cls, trace: Trace, ledger: Ledger | None = None) -> PreparedTrace:
        """`ledger` is that of the trace's sources, where there is one already."""
        ledger = ledger or Ledger(trace.sources or ())
        return cls(trace, ledger, _shown_numbers(trace, ledger))

    @property
    def texts(self) -> Texts:
        """What its claims rest on."""
        return {source.id: (source.text, source.sha256) for source in self.trace.sources or ()}

    @property
    def whole(self) -> PreparedTrace:
        """The trace as one piece, in which an address has one number. Raises Unresolved."""
        if self.numbers is None:
            raise Unresolved("a page's text shows a source's number for another address")
        numbering = _Numbering(self.ledger, self.numbers)
        trace = rewritten(self.trace, lambda _, step: numbering.edits(step))
        return PreparedTrace(trace, self.ledger, self.numbers)


def _shown_numbers(trace: Trace, ledger: Ledger) -> dict[str, int] | None:
    numbers: dict[str, int] = {}
    heads = [h for s in trace.steps if s.kind == "observation" for h in source_heads(s.text)]
    imitations = set[int]()
    for head in heads:
        if known_head(head, ledger):
            numbers.setdefault(same_address(head.url), head.id)
        else:
            imitations.add(head.id)
    return None if imitations & set(numbers.values()) else numbers


def known_head(head: SourceHead, ledger: Ledger) -> bool:
    """True for the head of a source that the ledger has under this number and address."""
    source = ledger.by_id.get(head.id)
    return source is not None and same_address(source.url) == same_address(head.url)


class _Numbering:
    """The edits that give every address of a trajectory its one number."""

    def __init__(self, ledger: Ledger, numbers: Mapping[str, int]) -> None:
        self.ledger, self.numbers = ledger, numbers

    def edits(self, step: Step) -> Iterator[Edit]:
        if step.kind == "observation":
            yield from self._heads(step.text)
        elif step.kind in ANSWER_KINDS:
            answer = parse_answer(step.text)
            yield from _marks(
                step.text, answer.marks, lambda n: self._number(n, answer.resolve(n, self.ledger))
            )
            for link in answer.links:
                if answer.source(link, self.ledger) is None and not answer.dangles(
                    link, self.ledger
                ):
                    continue
                self._number_of(answer.name(link), answer.source(link, self.ledger))
            yield from self._lines(answer)
        elif not step.is_call:
            yield from _marks(step.text, parse_answer(step.text).marks, self._ledger_number)

    def _heads(self, text: str) -> Iterator[Edit]:
        for head in source_heads(text):
            if known_head(head, self.ledger):
                number = str(self.numbers[same_address(head.url)])
                if number != str(head.id):
                    start = head.start + 1
                    yield Edit(start, text.index("]", start), number)

    def _ledger_number(self, number: int) -> int:
        """In a thought a number is a ledger id or nothing."""
        source = self.ledger.by_id.get(number)
        return number if source is None else self.numbers.get(same_address(source.url), number)

    def _number(self, number: int, source: Source | None) -> int:
        return self._number_of(f"[{number}]", source)

    def _number_of(self, name: str, source: Source | None) -> int:
        if source is None:
            raise Unresolved(f"{name} of an answer resolves to no source")
        first = self.numbers.get(same_address(source.url))
        if first is None:
            raise Unresolved(f"{name} stands for {source.url}, which no observation shows")
        return first

    def _lines(self, answer: ParsedAnswer) -> Iterator[Edit]:
        """The reference list: each line's number; a line that repeats an address goes."""
        old_numbers, new_numbers = set[int](), set[int]()
        for line in answer.reference_lines:
            url, old = line.reference.url, line.reference.number
            source = self.ledger.by_address.get(same_address(url)) if url else None
            if not answer.lists_addresses:
                source = self.ledger.by_id.get(old)
            number = self._number(old, source)
            if number in new_numbers and old not in old_numbers:
                yield Edit(max(line.start - 1, 0), line.end, "")
            elif str(number) != answer.text[slice(*line.number)]:
                yield Edit(*line.number, str(number))
            old_numbers.add(old)
            new_numbers.add(number)


def _marks(text: str, marks: Sequence[Mark], number: Callable[[int], int]) -> Iterator[Edit]:
    """New numbers for the marks of a text; what became a repetition of its neighbour goes."""
    end, old_numbers, new_numbers = -1, set[int](), set[int]()
    for (start, stop), group in groupby(marks, key=lambda mark: (mark.start, mark.end)):
        old = [mark.number for mark in group]
        if end < 0 or text[end:start].strip(" \t"):
            old_numbers, new_numbers = set(), set()
        new = list(
            dict.fromkeys(m for n in old if (m := number(n)) not in new_numbers or n in old_numbers)
        )
        if not new:
            yield Edit(end, stop, "")
        elif (bracket := _bracket(text[start:stop], old, new)) is not None:
            yield Edit(start, stop, bracket)
        old_numbers |= set(old)
        new_numbers |= set(new)
        end = stop


def _bracket(bracket: str, old: Sequence[int], new: Sequence[int]) -> str | None:
    """A bracket with its numbers replaced; None when they are as they were."""
    if list(old) == list(new):
        return None
    if wide := _WIDE.fullmatch(bracket):
        return f"{wide[1]}{new[0]}{wide[3]}"
    if bracket[0] not in "[［" or "(" in bracket:  # a superscript; a link within the page
        return f"[{', '.join(map(str, new))}]"
    caret = "^" if bracket[1] == "^" else ""
    others = [
        part[0] for part in NUMBER_OR_RANGE.finditer(bracket[1:-1]) if not _is_citation(part, old)
    ]
    inner = ", ".join([*(f"{caret}{n}" for n in new), *others])
    return f"{bracket[0]}{inner}{bracket[-1]}"


def _is_citation(part: re.Match[str], numbers: Sequence[int]) -> bool:
    """Whether a part is among the bracket's citations; a range of years is not."""
    return int(part[1]) in numbers and (part[2] is None or int(part[2]) in numbers)
