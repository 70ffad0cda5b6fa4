"""Traces in any number for the benches of filter and export: 50 kB a line, made as they stream.

A line is one of 64 traces of a seeded draw with its own id and question set in, so that no text of
a run is seen twice by a cache that remembers reports, and 100,000 of them (5 GB) take no memory.
Candidate `n` of every eighth template has no conclusion: a filter finds something.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final, get_args

from oresearch_graph.evidence.citations import verify_report
from oresearch_graph.evidence.ledger import query_heading, source_block
from oresearch_graph.trace import Protocol, Role, Source, Step, Trace, Usage, world_step
from oresearch_graph.trace.answer import parse_answer

TEMPLATES: Final = 64
PER_SEED: Final = 4
_ID: Final = b"s00000000.0"
_NUMBER: Final = b"00000000"
"""Stands in question, subtasks, thoughts and the report's introduction; its length stays, and so
do the spans of the claims."""
_NOUNS: Final = [
    "river", "harbour", "engine", "garden", "market", "bridge", "forest", "village", "window",
    "letter", "station", "valley", "canal", "island", "factory", "museum", "library", "railway",
    "mountain", "council", "teacher", "farmer", "doctor", "printer", "sailor", "weather", "winter",
    "summer", "morning", "journey", "history", "science", "trade", "money", "paper", "metal",
    "timber", "glass", "copper", "cotton", "wheat", "barley", "horse", "cattle", "vessel", "anchor",
    "candle", "mirror", "tower", "castle", "church", "wall", "street", "square", "corner", "border",
    "climate", "current", "season", "method", "measure", "pressure", "surface", "channel", "record",
    "archive", "pattern", "signal", "figure", "result", "element", "charter", "treaty", "survey",
    "census",
]  # fmt: skip
_QUALITIES: Final = [
    "northern", "southern", "early", "later", "narrow", "broad", "steady", "sudden", "common",
    "public", "private", "hidden", "open", "costly", "simple", "complex", "ancient", "recent",
    "foreign", "local", "heavy", "gentle", "shallow", "distant", "frequent",
]  # fmt: skip
_VERBS: Final = [
    "carried", "changed", "followed", "measured", "reached", "crossed", "supported", "described",
    "replaced", "opened", "closed", "moved", "recorded", "shaped", "reduced", "doubled", "improved",
    "delayed", "protected", "surrounded",
]  # fmt: skip
_LINKS: Final = ("of", "and", "in", "with", "for", "by", "under", "between", "near", "after")
_CALLS: Final = 4
_SUBTASKS: Final = 4


def trace_lines(count: int) -> Iterator[bytes]:
    """So many lines of a trace file, newline included, all of them different."""
    for n in range(count):
        seed, number = divmod(n, PER_SEED)
        line = _template_line(n % TEMPLATES).replace(_ID, b"s%08d.%d" % (seed, number + 1), 1)
        yield line.replace(b"#" + _NUMBER, b"#%08d" % n)


def write_many(path: Path, count: int) -> None:
    """A trace file of so many traces."""
    with path.open("wb") as file:
        file.writelines(trace_lines(count))


@cache
def _template_line(i: int) -> bytes:
    return _template(i).model_dump_json().encode() + b"\n"


def _template(i: int) -> Trace:
    draw = _Draw(random.Random(i))  # noqa: S311 - nothing secret
    subtasks = [f"{draw.phrase(5)} #{_NUMBER.decode()} {b}" for b in range(1, _SUBTASKS + 1)]
    listed = "\n".join(f"{b}. {subtask}" for b, subtask in enumerate(subtasks, start=1))
    steps = [Step(kind="subtask_list", text=f"\n{listed}\n")]
    sources: list[Source] = []
    for branch, subtask in enumerate(subtasks, start=1):
        steps.append(world_step("subtask", subtask, branch=branch))
        steps += _turns(draw, branch, sources)
    answer = _report(draw, sources, whole=i % 8 != 7)
    steps.append(Step(kind="suggested_answer", text=answer, lead="\n\n"))
    return Trace(
        id=_ID.decode(),
        question=f"How do {draw.phrase(5)} and {draw.phrase(4)} go together, #{_NUMBER.decode()}?",
        language="en",
        protocol=Protocol(prompt="0123456789abcdef"),
        steps=tuple(steps),
        sources=tuple(sources),
        citations=verify_report(parse_answer(answer), sources),
        models={"planner": "a", "researcher": "a", "summarizer": "a"},
        usage=tuple(
            Usage(role=role, model="a", calls=1, prompt_tokens=900, completion_tokens=90,
                  cost=0.002)
            for role in get_args(Role)
        ),
        created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def _turns(draw: _Draw, branch: int, sources: list[Source]) -> list[Step]:
    """A branch's turns and its answer; what they show joins `sources`."""
    steps = []
    own: list[Source] = []
    for call in range(_CALLS):
        number = _NUMBER.decode()
        thought = f"{draw.sentence()} For #{number} I want {draw.phrase(6)} ({call})."
        steps.append(Step(kind="think", text=thought, branch=branch, lead="\n\n"))
        query = draw.phrase(4)
        steps.append(Step(kind="web_search", text=query, branch=branch, lead="\n\n"))
        shown = [draw.source(branch * 1000 + len(own) + k + 1, branch) for k in range(2)]
        blocks = [source_block(source, source.text) for source in shown]
        text = "\n\n".join([query_heading(query), *blocks])
        steps.append(world_step("observation", text, branch=branch))
        own += shown
    sources += own
    steps.append(Step(kind="think", text=draw.sentence(), branch=branch, lead="\n\n"))
    answer = " ".join(_cited(source, source.id) for source in own[:4])
    listed = "\n".join(f"[{s.id}]. {s.url} - {s.title}" for s in own[:4])
    text = f"\n{answer}\n\n## References\n{listed}\n"
    steps.append(Step(kind="subtask_answer", text=text, branch=branch, lead="\n\n"))
    return steps


def _cited(source: Source, number: int) -> str:
    """The source's first sentence with a citation of it."""
    return f"{source.text.partition('.')[0]} [{number}]."


def _report(draw: _Draw, sources: list[Source], *, whole: bool) -> str:
    sections = []
    for at in range(0, len(sources), 8):
        own = sources[at : at + 5]
        facts = " ".join(_cited(source, at + k + 1) for k, source in enumerate(own))
        sections.append(f"## {draw.phrase(4).capitalize()}\n{facts}")
    listed = "\n".join(f"[{n}]. {s.url} - {s.title}" for n, s in enumerate(sources, start=1))
    ending = f"## Conclusion\n{draw.sentence()}\n\n" if whole else ""
    body = "\n\n".join(sections)
    return (
        f"\n## Introduction\nThis report is about #{_NUMBER.decode()}. {draw.sentence()}\n\n"
        f"{body}\n\n{ending}## References\n{listed}\n"
    )


class _Draw:
    """Words, sentences and pages by chance, in what a language detector takes for English."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance

    def phrase(self, words: int) -> str:
        """Nouns with a quality before every other one."""
        kinds = [_QUALITIES if at % 2 == 0 else _NOUNS for at in range(words - 1)]
        return " ".join(self.chance.choice(kind) for kind in [*kinds, _NOUNS])

    def sentence(self) -> str:
        verb, link = self.chance.choice(_VERBS), self.chance.choice(_LINKS)
        return f"The {self.phrase(4)} {verb} the {self.phrase(3)} {link} the {self.phrase(2)}."

    def source(self, number: int, branch: int) -> Source:
        sentences = [self.sentence() for _ in range(3)]
        sentences[1] = f"In {self.chance.randrange(1900, 2020)} it was {self.chance.random():.3f}."
        url = f"https://{self.phrase(1)}.example.org/{self.phrase(1)}/{number}"
        return Source.of(id=number, url=url, title=self.phrase(5), text=" ".join(sentences),
                         branch=branch)  # fmt: skip
