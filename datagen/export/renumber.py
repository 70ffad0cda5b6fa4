"""A whole trajectory in which every citation is a number that its observations show.

Branches of a parallel run give one address several numbers (1001 in the first, 2003 in the
second), and an answer with a reference list of its own may count from 1. Read in one piece, an
address has one number: the one under which it was first shown, as a sequential run would show it.
Observations, thoughts and answers are rewritten to it; a mark beside its own repetition and a
repeated line of a reference list go. So a linear row's policy text is the policy's but for
citation numbers; the steps of a trace that is numbered so already are left as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Final

from datagen.export.edits import Edit
from datagen.export.rewriting import rewritten
from oresearch_graph.evidence.ledger import SourceHead, source_heads
from oresearch_graph.trace import ANSWER_KINDS, Source, Step, Trace
from oresearch_graph.trace.answer import Mark, ParsedAnswer, parse_answer
from oresearch_graph.trace.references import Ledger, same_address

_PART: Final = re.compile(r"(\d+)(?:\s*[–-]\s*\^?(\d+))?")
_WIDE: Final = re.compile(r"(【)(\d+)(.*)", re.DOTALL)


class Unresolved(ValueError):
    """A citation that no number shown in the trajectory stands for."""


def shown_numbers(trace: Trace) -> dict[str, int]:
    """Each address that an observation shows, with the number of its first showing.

    Raises Unresolved when a number stands for two addresses: a page may imitate a source's head.
    """
    ledger = Ledger(trace.sources or ())
    found: dict[str, int] = {}
    heads = [h for s in trace.steps if s.kind == "observation" for h in source_heads(s.text)]
    for head in heads:
        if known_head(head, ledger):
            found.setdefault(same_address(head.url), head.id)
    numbers = set(found.values())
    for head in heads:
        if head.id in numbers and not known_head(head, ledger):
            raise Unresolved(f"a page's text shows [{head.id}] for another address: {head.url}")
    return found


def known_head(head: SourceHead, ledger: Ledger) -> bool:
    """True for the head of a source that the ledger has under this number and address."""
    source = ledger.by_id.get(head.id)
    return source is not None and same_address(source.url) == same_address(head.url)


def renumbered(trace: Trace) -> Trace:
    """The trace as one piece. Raises Unresolved."""
    numbering = _Numbering(Ledger(trace.sources or ()), shown_numbers(trace))
    return rewritten(trace, lambda _, step: numbering.edits(step))


class _Numbering:
    """The edits that give every address of a trajectory its one number."""

    def __init__(self, ledger: Ledger, numbers: dict[str, int]) -> None:
        self.ledger, self.numbers = ledger, numbers

    def edits(self, step: Step) -> Iterator[Edit]:
        if step.kind == "observation":
            yield from self._heads(step.text)
        elif step.kind in ANSWER_KINDS:
            answer = parse_answer(step.text)
            yield from _marks(
                step.text, answer.marks, lambda n: self._number(n, answer.resolve(n, self.ledger))
            )
            yield from self._lines(answer)
        elif not step.is_call:
            yield from _marks(step.text, parse_answer(step.text).marks, self._known)

    def _heads(self, text: str) -> Iterator[Edit]:
        for head in source_heads(text):
            if known_head(head, self.ledger):
                number = str(self.numbers[same_address(head.url)])
                if number != str(head.id):
                    start = head.start + 1
                    yield Edit(start, text.index("]", start), number)

    def _known(self, number: int) -> int:
        """In a thought a number is a ledger id or nothing."""
        source = self.ledger.by_id.get(number)
        return number if source is None else self.numbers.get(same_address(source.url), number)

    def _number(self, number: int, source: Source | None) -> int:
        if source is None:
            raise Unresolved(f"[{number}] of an answer resolves to no source")
        shown = self.numbers.get(same_address(source.url))
        if shown is None:
            raise Unresolved(f"[{number}] stands for {source.url}, which no observation shows")
        return shown

    def _lines(self, answer: ParsedAnswer) -> Iterator[Edit]:
        """The reference list: each line's number; a line that repeats an address goes."""
        before, said = set[int](), set[int]()
        for line in answer.reference_lines:
            url, old = line.reference.url, line.reference.number
            source = self.ledger.by_address.get(same_address(url)) if url else None
            if not answer.lists_addresses:
                source = self.ledger.by_id.get(old)
            number = self._number(old, source)
            if number in said and old not in before:
                yield Edit(max(line.start - 1, 0), line.end, "")
            elif str(number) != answer.text[slice(*line.number)]:
                yield Edit(*line.number, str(number))
            before.add(old)
            said.add(number)


def _marks(text: str, marks: Sequence[Mark], number: Callable[[int], int]) -> Iterator[Edit]:
    """New numbers for the marks of a text; what became a repetition of its neighbour goes."""
    end, before, said = -1, set[int](), set[int]()
    for (start, stop), group in groupby(marks, key=lambda mark: (mark.start, mark.end)):
        old = [mark.number for mark in group]
        if end < 0 or text[end:start].strip(" \t"):
            before, said = set(), set()
        wanted = list(dict.fromkeys(m for n in old if (m := number(n)) not in said or n in before))
        if not wanted:
            yield Edit(end, stop, "")
        elif (put := _bracket(text[start:stop], old, wanted)) is not None:
            yield Edit(start, stop, put)
        before |= set(old)
        said |= set(wanted)
        end = stop


def _bracket(written: str, old: Sequence[int], new: Sequence[int]) -> str | None:
    """A bracket with its numbers replaced; None when they are as they were."""
    if list(old) == list(new):
        return None
    if wide := _WIDE.fullmatch(written):
        return f"{wide[1]}{new[0]}{wide[3]}"
    caret = "^" if written[1] == "^" else ""
    kept = [part[0] for part in _PART.finditer(written[1:-1]) if not _said(part, old)]
    inner = ", ".join([*(f"{caret}{n}" for n in new), *kept])
    return f"{written[0]}{inner}{written[-1]}"


def _said(part: re.Match[str], old: Sequence[int]) -> bool:
    """Whether a written part is among the bracket's citations; a range of years is not."""
    return int(part[1]) in old and (part[2] is None or int(part[2]) in old)
