"""What the product makes of real small models: a table of columns, each of some questions.

    python -m tests.real.measure DIR [COLUMN …] [--print] [--read N]

An invented world, in which memory cannot help, and SQLite's own documentation; models of 1.5B and
0.5B parameters, held to the grammar or not; and datagen with three questions. Each answer is
written to DIR at once and its question not asked again, so a stopped measure goes on. Needs two
idle cores: beside other work such a model writes a twentieth of its tokens. `--print` only tells
what is there; `--read` shows so many sentences of the reports, drawn by chance, with the text that
each cites, to be read by a person.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import quote

from oresearch_graph import ResearchSettings, create_research_graph, violations
from oresearch_graph.policies.local_model import PREFIX, local_server
from oresearch_graph.text.passages import best_passages
from oresearch_graph.trace import Trace
from tests.planted_score import loops, report_sentences, score
from tests.planted_world import World, planted_world
from tests.real.datagen_run import DATAGEN, datagen_line
from tests.real.models import MISSING, Size, documentation, model_file

SEED: Final = 8128
"""Of a world that nothing was tuned on."""
DOCUMENTS: Final = (
    "What does VACUUM do to a database file in SQLite?",
    "How does SQLite lock a database file during a transaction?",
    "What is type affinity in SQLite, and how is that of a column determined?",
    "How are WITHOUT ROWID tables stored in SQLite?",
    "How does the FTS5 extension rank its results?",
    "How are foreign key constraints enabled and enforced in SQLite?",
    "What are generated columns in SQLite, and what are their limits?",
    "How does SQLite's query planner use the statistics of ANALYZE?",
    "What does SQLite's R*Tree module store, and how is it queried?",
    "How does SQLite's backup API copy a running database?",
    "What happens in SQLite when INSERT OR REPLACE meets a UNIQUE constraint?",
    "What are the limits on the size of a database in SQLite?",
)
CITED: Final = 5
"""Cited sentences of a report on documentation that is worth reading."""


@dataclass(frozen=True)
class Column:
    """Questions of one kind to one model."""

    name: str
    corpus: Literal["planted", "documents"]
    model: Size
    count: int
    constraint: Literal["auto", "off"] = "auto"


COLUMNS: Final = (
    Column("planted", "planted", "medium", 12),
    Column("documents", "documents", "medium", 12),
    Column("planted-small", "planted", "small", 4),
    Column("documents-small", "documents", "small", 4),
    Column("planted-free", "planted", "medium", 4, "off"),
    Column("documents-free", "documents", "medium", 4, "off"),
)


@dataclass(frozen=True)
class Answer:
    """One question's run."""

    trace: Trace
    seconds: float

    @property
    def pace(self) -> float:
        """Tokens that were written in a second of the model's time, the reading of prompts too."""
        seconds = sum(span.seconds for span in self.trace.spans if span.name == "model")
        tokens = sum(usage.completion_tokens or 0 for usage in self.trace.usage)
        return tokens / seconds if seconds else 0.0


def main() -> None:
    """Ask what was not asked yet, and print the table."""
    parser = argparse.ArgumentParser(prog="tests.real.measure", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("columns", nargs="*", metavar="COLUMN")
    parser.add_argument("--print", action="store_true", dest="only_print")
    parser.add_argument("--read", type=int, default=0, metavar="N")
    options = parser.parse_args()
    names = [*(column.name for column in COLUMNS), DATAGEN]
    if unknown := set(options.columns) - set(names):
        parser.error(f"no column {', '.join(sorted(unknown))}: there are {', '.join(names)}")
    if MISSING:
        sys.exit(f"skipped: {MISSING}")
    only_print = options.only_print or options.read
    for column in COLUMNS:
        if not only_print and column.name in (options.columns or names):
            _ask(column, options.folder / column.name)
    if not only_print and DATAGEN in (options.columns or names):
        sys.stdout.write(f"{datagen_line(options.folder / DATAGEN, run=True)}\n")
    lines = _readings(options.folder, options.read) if options.read else _table(options.folder)
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _ask(column: Column, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    world, pages = planted_world(SEED), folder.parent / "world"
    if not pages.exists():
        world.write(pages)
    questions = [q.question for q in world.questions]
    corpus, questions = (
        (pages / "pages", questions)
        if column.corpus == "planted"
        else (documentation(), list(DOCUMENTS))
    )
    model = str(model_file(column.model))
    server = local_server(model)  # one for all questions
    for number, question in enumerate(questions[: column.count], start=1):
        file = folder / f"{number:02}.json"
        if not file.exists():
            answer = asyncio.run(_answer(f"{PREFIX}{model}", corpus, question, column.constraint))
            trace = answer.trace.model_dump(mode="json")
            file.write_text(json.dumps({"seconds": answer.seconds, "trace": trace}), "utf-8")
            sys.stdout.write(f"{column.name} {number}: {_line(column, answer, world)}\n")
            sys.stdout.flush()
    server.close()


async def _answer(
    model: str, corpus: Path, question: str, constraint: Literal["auto", "off"]
) -> Answer:
    settings = ResearchSettings(effort="quick", constraint=constraint)
    graph = create_research_graph(model, search=corpus, settings=settings)
    began = time.monotonic()
    trace = (await graph.ainvoke({"question": question}))["trace"]
    return Answer(trace, round(time.monotonic() - began, 1))


def _answers(folder: Path) -> Iterator[Answer]:
    for file in sorted(folder.glob("*.json")):
        row = json.loads(file.read_text("utf-8"))
        yield Answer(Trace.model_validate(row["trace"]), row["seconds"])


def _line(column: Column, answer: Answer, world: World) -> str:
    trace = answer.trace
    parts = [trace.outcome, f"{answer.seconds:.0f} s"]
    if column.corpus == "planted":
        result = score(world, trace)
        parts.append(f"facts {result.hits}/{len(result.facts)}, cited {result.cited}/"
                     f"{result.sentences}, invented {len(result.inventions)}")  # fmt: skip
    else:
        parts.append(f"cited sentences {_cited(trace)}")
    parts += [f"loops {bool(_loops(trace))}", f"violations {len(violations(trace))}"]
    return ", ".join(parts)


def _table(folder: Path) -> Iterator[str]:
    """Markdown, a row for each column that has answers."""
    world = planted_world(SEED)
    yield (
        "| | questions | failed | facts | ≥ 5 cited sentences | sentences that invent | loops "
        "| violations | seconds: median, most | tokens/s |"
    )
    yield f"|{' --- |' * 10}"
    for column in COLUMNS:
        answers = list(_answers(folder / column.name))
        if not answers:
            continue
        traces = [answer.trace for answer in answers]
        seconds = [answer.seconds for answer in answers]
        facts = invented = "–"
        if column.corpus == "planted":
            results = [score(world, trace) for trace in traces]
            hits = sum(result.hits for result in results)
            facts = f"{hits}/{sum(len(result.facts) for result in results)}"
            inventions = sum(len(result.inventions) for result in results)
            invented = f"{inventions}/{sum(result.sentences for result in results)}"
        cited = sum(_cited(trace) >= CITED for trace in traces)
        cells = [
            column.name, len(traces), sum(trace.outcome == "failed" for trace in traces), facts,
            f"{cited}/{len(traces)}", invented, sum(bool(_loops(trace)) for trace in traces),
            sum(bool(violations(trace)) for trace in traces),
            f"{statistics.median(seconds):.0f}, {max(seconds):.0f}",
            f"{statistics.median(answer.pace for answer in answers):.1f}",
        ]  # fmt: skip
        yield f"| {' | '.join(map(str, cells))} |"
    if line := datagen_line(folder / DATAGEN, run=False):
        yield f"\n{line}"


def _readings(folder: Path, count: int) -> Iterator[str]:
    """Sentences of the constrained columns' reports, each with what it cites."""
    written = [
        (column.name, trace.question, sentence, trace.sources or ())
        for column in COLUMNS
        if column.constraint == "auto"
        for trace in (answer.trace for answer in _answers(folder / column.name))
        for sentence in report_sentences(trace)
    ]
    chance = random.Random(SEED)  # noqa: S311 - chance, not a secret
    for name, question, sentence, sources in chance.sample(written, min(count, len(written))):
        yield f"\n{name}: {question}\n  {' '.join(sentence.text.split())}"
        for source in sources:
            if source.url.rpartition("/")[2] in map(quote, sentence.files):
                for passage in best_passages(source.text or "", sentence.text, 80):
                    yield f"    [{source.id}] {' '.join(passage.text.split())}"


def _cited(trace: Trace) -> int:
    return sum(bool(sentence.files) for sentence in report_sentences(trace))


def _loops(trace: Trace) -> Sequence[str]:
    return [loop for step in trace.steps if step.author == "policy" for loop in loops(step.text)]


if __name__ == "__main__":
    main()
