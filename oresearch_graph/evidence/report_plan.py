"""The plan of a report that a constrained model writes: its findings, as they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.text.language import detect_language
from oresearch_graph.text.repetition import TIMES, words_of
from oresearch_graph.text.scripts import has_cjk
from oresearch_graph.text.words import terms
from oresearch_graph.threads import ReportPlan, SectionPlan
from oresearch_graph.trace import Source
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.marks import Mark

_CHOICE: Final = 4
"""Sentences that may introduce a report."""


def report_plan(
    question: str,
    answers: Sequence[tuple[str, str]],
    sources: Sequence[Source],
    language: str,
) -> ReportPlan | None:
    """Of subtasks and their answers, in order: a section for each, of what its answer cites, word
    for word: small models that wrote it anew put their own findings wrong. What two answers say
    alike is said once, and no section is of that alone. None where no answer cites anything.
    Blocks: it detects languages."""
    by_id, sections = {source.id: source for source in sources}, list[list[_Statement]]()
    asked = "\n".join([question, *(subtask for subtask, _ in answers)])
    headings, said = list[str](), _Said(asked)
    for subtask, answer in answers:
        statements = []
        for statement in _statements(answer):
            if said.has(statement) or not statement.numbers <= by_id.keys():
                continue
            shown = [by_id[number] for number in statement.numbers]
            if _says_something(statement.plain, shown, asked, language):
                said.add(statement)
                statements.append(statement)
        if statements:
            sections.append(statements)
            headings.append(_heading(subtask))
    if not sections:
        return None
    ends = _ends(sections)
    cited = dict.fromkeys(n for part in sections for s in part for n in sorted(s.numbers))
    return ReportPlan(
        introductions=tuple(ends) if len(ends) > 1 else (_line(question),),
        sections=tuple(
            SectionPlan(heading=heading, statements=tuple(s.text for s in part))
            for heading, part in zip(headings, sections, strict=True)
        ),
        conclusions=tuple(ends),
        references=tuple(cited),
    )


def _ends(sections: Sequence[Sequence[_Statement]]) -> list[str]:
    """Statements that may introduce or conclude: of each section one, of one section all. What two
    statements share would stand there a third time."""
    runs = Counter(r for part in sections for s in part for r in s.runs.elements())
    own = [[s.text for s in part if all(runs[run] == 1 for run in s.runs)] for part in sections]
    found = own[0] if len(own) == 1 else [part[0] for part in own if part]
    return found[:_CHOICE] or [sections[0][0].text]


class _Statement(NamedTuple):
    text: str
    """A line, with its marks."""
    plain: str
    words: str
    numbers: set[int]

    @property
    def runs(self) -> Counter[tuple[str, ...]]:
        words = self.words.split()
        return Counter(tuple(words[at : at + _RUN]) for at in range(len(words) - _RUN + 1))


_RUN: Final = 12
"""Words side by side that two statements share only where one repeats the other."""
_NEGATIONS: Final = frozenset(
    ("not", "no", "never", "nicht", "kein", "keine", "nie", "pas", "jamais", "nunca", "non", "не")
)


class _Said:
    """What earlier statements say, and the question."""

    def __init__(self, asked: str) -> None:
        self._sentences, self._runs = set[str](), Counter[tuple[str, ...]]()
        self._words, self._terms = set[str](), set(terms(asked))

    def add(self, statement: _Statement) -> None:
        self._sentences.add(statement.words)
        self._runs += statement.runs
        self._words.update(statement.words.split())
        self._terms.update(terms(statement.plain))

    def has(self, statement: _Statement) -> bool:
        """True where a statement says the same, or shares a run of words with some and has no word
        of its own, or would say it a third time."""
        runs = statement.runs
        thrice = any(self._runs[run] + count >= TIMES for run, count in runs.items())
        if thrice or statement.words in self._sentences:
            return True
        negations = _NEGATIONS.intersection(statement.words.split())
        own = (set(terms(statement.plain)) - self._terms) | (negations - self._words)
        return not own and not runs.keys().isdisjoint(self._runs)


_MARKS: Final = re.compile(r"\[[^\[\]]*\]")
_ENDS: Final = (".", "。", "!", "?", "！", "？")
_ASKS: Final = ("?", "？")
_ADDRESS: Final = re.compile(r"\b(?:file|https?):")
_ITEM: Final = re.compile(r"^(?:[-*•]|\d{1,3}[.)])\s+")


def _statements(answer: str) -> Iterator[_Statement]:
    """Its cited sentences."""
    parsed = parse_answer(answer)
    for start, end, marks in sentences_of(parsed):
        text = _ITEM.sub("", " ".join(parsed.text[start:end].split()), count=1)
        if "<" not in text:
            plain = _MARKS.sub(" ", text)
            if not plain.rstrip().endswith(_ENDS):
                text += _ENDS[has_cjk(plain)]
            numbers = {mark.number for mark in marks if isinstance(mark, Mark)}
            if numbers:
                yield _Statement(text, plain, words_of(text), numbers)


def _says_something(statement: str, cited: Sequence[Source], asked: str, language: str) -> bool:
    """False for a question, a mere title or address, and where nothing beyond what was asked stands
    in the sources: "There is no information about the span in the given text [1001]"; in another
    language it may."""
    if statement.rstrip(" .。").endswith(_ASKS) or _ADDRESS.search(statement):
        return False
    said = set(terms(statement))
    if any(said <= set(terms(source.title)) for source in cited):
        return False
    texts = "\n".join(f"{source.title}\n{source.text}" for source in cited)
    own = said - set(terms(asked))
    return not own or not own.isdisjoint(terms(texts)) or detect_language(texts) != language


_LONGEST: Final = 80
"""Characters of a heading."""


def _heading(subtask: str) -> str:
    line = _line(subtask).rstrip(".?:;")
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def _line(text: str) -> str:
    """Text in which nothing is a tag, a mark or a heading."""
    return " ".join(text.translate(str.maketrans("<>[]#", "()()·")).split())
