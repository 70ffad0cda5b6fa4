"""How a run did in the planted world: by code, against the truth, whatever the product thinks.

    python -m tests.planted_score --seed N RUN.jsonl…

A fact counts where it stands in a sentence of the report that cites a page which holds it. An
invention is a name, a number or a date that no page holds: the first word of a sentence is no
name, what the question says is none, and small numbers in words are none. Not covered: values of
the world that a report puts in the wrong place.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from oresearch_graph.evidence.citations import sentences_of
from oresearch_graph.evidence.claim_parts import checkable_parts
from oresearch_graph.evidence.figures import agrees, stated
from oresearch_graph.text.sentences import sentence_spans
from oresearch_graph.text.words import terms
from oresearch_graph.trace import Trace, read_traces, violations
from oresearch_graph.trace.answer import parse_answer
from oresearch_graph.trace.references import Ledger
from tests.planted_world import Question, World, planted_world

_LOOP: Final = 3
"""Times that a sentence or a sequence of words makes a loop."""
_SEQUENCE: Final = 12
_SENTENCE: Final = 4
"""Words of a sentence that is worth counting."""
_MARK: Final = re.compile(r"\[[\d, ]++\]")
_WORD: Final = re.compile(r"\w+")
_JOINT: Final = re.compile(r" (?:and|for|the) ")
"""What joins two names that stand side by side."""


@dataclass(frozen=True)
class CitedSentence:
    """A sentence of a report and the files that its marks lead to."""

    text: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Invention:
    """A sentence with what no page of the world holds."""

    sentence: str
    items: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """One report against the world."""

    question: str
    outcome: str
    facts: dict[str, bool]
    """By the fact's id: does it stand where its page is cited?"""
    sentences: int
    cited: int
    """Sentences with a citation that leads to a page of the world."""
    inventions: tuple[Invention, ...]
    loops: tuple[str, ...]
    """What some step of the policy's says three times."""
    violations: tuple[str, ...]

    @property
    def hits(self) -> int:
        return sum(self.facts.values())

    @property
    def invented(self) -> float | None:
        """Share of the sentences; None without any."""
        return len(self.inventions) / self.sentences if self.sentences else None


def score(world: World, trace: Trace) -> Score:
    """Holds a trace against its question's facts. Raises ValueError where the world does not ask
    its question."""
    question = next((one for one in world.questions if one.question == trace.question), None)
    if question is None:
        raise ValueError(f"seed {world.seed} asks no such question: {trace.question[:200]}")
    sentences = list(report_sentences(trace))
    judge = _Holdings(world, question)
    return Score(
        question=question.id,
        outcome=trace.outcome,
        facts={
            fact.id: any(
                fact.stands_in(one.text) and not set(fact.pages).isdisjoint(one.files)
                for one in sentences
            )
            for fact in question.facts
        },
        sentences=len(sentences),
        cited=sum(any(file in world.pages for file in one.files) for one in sentences),
        inventions=tuple(
            Invention(one.text, items) for one in sentences if (items := judge.missing(one.text))
        ),
        loops=tuple(
            loop
            for step in trace.steps
            if step.author == "policy"
            for loop in loops(step.text)
        ),
        violations=tuple(f"{one.code}: {one.message}" for one in violations(trace)),
    )  # fmt: skip


def report_sentences(trace: Trace) -> Iterator[CitedSentence]:
    """The sentences of its report, with what each cites."""
    report = parse_answer("" if trace.answer is None else trace.answer.text)
    ledger = Ledger(trace.sources or ())
    for start, end, marks in sentences_of(report):
        sources = [report.source(mark, ledger) for mark in marks]
        files = [unquote(source.url.rpartition("/")[2]) for source in sources if source]
        text = _MARK.sub("", report.text[start:end])
        yield CitedSentence(text, tuple(dict.fromkeys(files)))


class _Holdings:
    """What each page of a world holds; the question is one page more."""

    def __init__(self, world: World, question: Question) -> None:
        texts = [*world.pages.values(), question.question]
        self.words = [frozenset(terms(text)) for text in texts]
        self.figures = [stated(text) for text in texts]

    def missing(self, sentence: str) -> tuple[str, ...]:
        """Names and figures of the sentence that no single page holds."""
        parts = checkable_parts(sentence)
        names = [name for whole in parts.names for name in _JOINT.split(whole)]
        return (
            *(name for name in names if not any(words >= set(terms(name)) for words in self.words)),
            *(one.text for one in parts.figures
              if not any(agrees(one, keys) for keys in self.figures)),
        )  # fmt: skip


def loops(text: str) -> list[str]:
    """Sentences that a text says three times, else its sequences of twelve words."""
    plain = _MARK.sub("", text)
    sentences = Counter(
        " ".join(words)
        for start, end in sentence_spans(plain)
        if len(words := _WORD.findall(plain[start:end].casefold())) >= _SENTENCE
    )
    words = _WORD.findall(plain.casefold())
    sequences = Counter(
        " ".join(words[at : at + _SEQUENCE]) for at in range(len(words) - _SEQUENCE + 1)
    )
    return _often(sentences) or _often(sequences)[:1]


def _often(counts: Counter[str]) -> list[str]:
    return [text for text, count in counts.items() if count >= _LOOP]


def table(scores: Sequence[Score]) -> str:
    """A line for each report, with what it lacks and what it invents, and one for all."""
    lines = []
    for one in scores:
        lines.append(
            f"{one.question:4} {one.outcome:9} facts {one.hits}/{len(one.facts)}"
            f"  cited {one.cited}/{one.sentences}  invented {len(one.inventions)}"
            f"  loops {len(one.loops)}  violations {len(one.violations)}"
        )
        lines += [f"     lacks {name}" for name, there in one.facts.items() if not there]
        lines += [f"     invents {', '.join(i.items)}: {i.sentence}" for i in one.inventions]
        lines += [f"     loops: {loop}" for loop in one.loops]
        lines += [f"     {violation}" for violation in one.violations]
    sentences = sum(one.sentences for one in scores)
    inventions = sum(len(one.inventions) for one in scores)
    share = f"{inventions / sentences:.0%}" if sentences else "none to count"
    lines.append(
        f"facts {sum(one.hits for one in scores)}/{sum(len(one.facts) for one in scores)}"
        f"  cited {sum(one.cited for one in scores)}/{sentences}  invented {share}"
        f"  loops {sum(bool(one.loops) for one in scores)}/{len(scores)} reports"
        f"  violations {sum(bool(one.violations) for one in scores)}/{len(scores)} reports"
    )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Prints how the traces of some files did."""
    parser = argparse.ArgumentParser(prog="tests.planted_score", description="Score traces.")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("traces", type=Path, nargs="+", metavar="RUN.jsonl")
    arguments = parser.parse_args()
    world = planted_world(arguments.seed)
    traces = [trace for path in arguments.traces for trace in read_traces(path)]
    sys.stdout.write(table([score(world, trace) for trace in traces]))


if __name__ == "__main__":
    main()
